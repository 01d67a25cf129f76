"""Damaged mask files: `python -m benchmarks fuzz [--files N]`. Each must be refused with one clean error, or be unhurt.

Five kinds in turn: flipped bits, cut or grown files, headers that belong to another file or declare huge sizes, pieces
of two files joined, and descriptions that lie although the checksum is right. Every file is read in full: description,
head, masks on the backbone. Memory is capped for the whole process, so an allocation of a declared size would show.
"""

import json
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from submasking import mask
from submasking.tasks import container, maskfile
from submasking.tasks.maskfile import MaskFileError, TaskFile

FILES = 100_000
MEMORY = 2**30  # bytes that reading may take beyond what the process had
HOSTILE = [2**63, 10**400, -1, 0, 1.5, 1e308, None, True, "", "float32", "\x00", [], [[]], {}, {"a": 1}, [2**40] * 4]


def network() -> nn.Sequential:
    """The backbone of all files."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        ).eval()


def original(path: Path, seed: int) -> TaskFile:
    """A whole file."""
    masking = mask(network(), "resnet")
    random = torch.Generator().manual_seed(seed)
    masking.load_masks({"0.weight": torch.rand(8, 3, 3, 3, generator=random) < 0.8})
    head = nn.Linear(8, 3)
    with torch.no_grad():
        head.weight.copy_(torch.randint(-256, 256, (3, 8), generator=random) / 64), head.bias.zero_()
        masking.model[1].running_mean.copy_(torch.randint(-256, 256, (8,), generator=random) / 64)
    return maskfile.save(path, masking, head=head, classes=["a", "b", "c"], score={"top1": 0.5}, architecture="small")


def flipped(content: bytes, other: bytes, dice: random.Random) -> bytes:
    """One to eight bits changed."""
    damaged = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 8))):
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def resized(content: bytes, other: bytes, dice: random.Random) -> bytes:
    """Cut off, cut out, grown, or doubled in part."""
    first, last = sorted(dice.randrange(len(content) + 1) for _ in range(2))
    return dice.choice((
        content[:first],
        content[:first] + content[last:],
        content + dice.randbytes(dice.randrange(1, 64)),
        content[:last] + content[first:],
        content[:first] + bytes(last - first) + content[last:],
    ))  # fmt: skip


def headed(content: bytes, other: bytes, dice: random.Random) -> bytes:
    """Another length of the header, another file's header, or a header that declares other sizes."""
    length = int.from_bytes(content[:8], "little")
    kind = dice.randrange(3)
    if kind == 0:
        declared = dice.choice((0, 1, length - 1, length + 1, 2**31, 2**40, 2**63, 2**64 - 1, dice.randrange(2**64)))
        return declared.to_bytes(8, "little") + content[8:]
    if kind == 1:
        start = int.from_bytes(other[:8], "little") + 8
        return other[:start] + content[8 + length :]
    header = json.loads(content[8 : 8 + length])
    name = dice.choice([key for key in header if key != "__metadata__"])
    field = dice.choice(("shape", "data_offsets", "dtype"))
    header[name][field] = {
        "shape": [2 ** dice.randrange(64)] * dice.randrange(4),
        "dtype": dice.choice(("F64", "I8", "BOOL", "F8")),
        "data_offsets": [dice.randrange(2**40), 2 ** dice.randrange(63)],
    }[field]
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def spliced(content: bytes, other: bytes, dice: random.Random) -> bytes:
    """A piece of another file in place of a piece of this one."""
    first, last = sorted(dice.randrange(min(len(content), len(other)) + 1) for _ in range(2))
    return content[:first] + other[first:last] + content[last:]


def lying(content: bytes, other: bytes, dice: random.Random, folder: Path) -> bytes:
    """Hostile values in the description, or noise in the coded mask or numbers, under a right checksum."""
    path = folder / "lying"
    path.write_bytes(content)
    description, tensors, *_ = container.read(path)
    parts = {name: bytes(value.data) for name, value in tensors.items()}
    if dice.random() < 0.3:
        part = dice.choice(("mask", "state", "head"))
        coded = bytearray(parts[part])
        coded[dice.randrange(len(coded))] ^= 1 << dice.randrange(8)
        parts[part] = bytes(coded[: dice.choice((None, None, dice.randrange(len(coded))))])
    else:
        replace_one(description, dice.choice(HOSTILE), dice)
    container.write(path, description, parts)
    return path.read_bytes()


def replace_one(holder: Any, value: Any, dice: random.Random) -> None:
    """Put a value in place of one that is drawn, at any depth of dictionaries and lists."""
    while True:
        key = dice.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        if not isinstance(holder[key], dict | list) or not holder[key] or dice.random() < 0.3:
            break
        holder = holder[key]
    holder[key] = value


DAMAGES: dict[str, Callable[..., bytes]] = {
    "flipped bits": flipped,
    "other length": resized,
    "other header": headed,
    "spliced": spliced,
    "lying, checksum right": lying,
}


def outcome(path: Path, whole: TaskFile, model: nn.Module) -> str:
    """What reading a file all the way gives: "refused", "unhurt", or "another task" where its checksum allows it.

    Anything else than a `MaskFileError` passes through: it is a defect.
    """
    try:
        task = maskfile.load(path)
        task.head()
        task.masks(dict(model.state_dict()))
        task.require(dict(model.state_dict()))
    except MaskFileError:
        return "refused"
    return "unhurt" if content(task) == content(whole) else "another task"


def content(task: TaskFile) -> dict[str, Any]:
    """All that a file says, its size and checksum left out, in values that can be compared."""
    said = vars(task) | {"size": None, "checksum": None}
    tensors = {name: said.pop(name) for name in ("state", "head_state")}
    lists = {kind: {name: (str(t.dtype), t.tolist()) for name, t in held.items()} for kind, held in tensors.items()}
    return said | lists


def trial(
    number: int, seed: int, folder: Path, wholes: list[tuple[bytes, TaskFile]], model: nn.Module
) -> tuple[str, str]:
    """Damage a file in the way that its number asks for; returns the kind of damage and the outcome."""
    dice = random.Random(f"{seed} {number}")
    kind = list(DAMAGES)[number % len(DAMAGES)]
    (content, whole), (other, _) = wholes[number % 2], wholes[1 - number % 2]
    damaged = DAMAGES[kind](content, other, dice, *([folder] if kind.startswith("lying") else []))
    path = folder / "damaged"
    path.write_bytes(damaged)
    found = outcome(path, whole, model)
    return kind, found


def measure(files: int = FILES, seed: int = 0) -> list[dict[str, Any]]:
    """Damage and read `files` files; one row per kind of damage, with the longest time of one file in milliseconds.

    Raises:
        Exception: the first that is no `MaskFileError`, or a file that was read as another task without a checksum.
    """
    counts: Counter[tuple[str, str]] = Counter()
    longest: dict[str, float] = dict.fromkeys(DAMAGES, 0.0)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    with tempfile.TemporaryDirectory() as name:
        folder, model = Path(name), network()
        tasks = [original(folder / str(k), k) for k in range(2)]
        wholes = [((folder / str(k)).read_bytes(), task) for k, task in enumerate(tasks)]
        resource.setrlimit(resource.RLIMIT_AS, (address_space() + MEMORY, limit[1]))
        try:
            for number in range(files):
                start = time.process_time()
                kind, found = trial(number, seed, folder, wholes, model)
                longest[kind] = max(longest[kind], time.process_time() - start)
                if found == "another task" and kind != "lying, checksum right":
                    raise AssertionError(f"file {number} of seed {seed} ({kind}) was read as another task")
                counts[kind, found] += 1
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limit)
    return [_row(kind, counts, longest[kind]) for kind in DAMAGES] + [_row("all", counts, max(longest.values()))]


def _row(kind: str, counts: Counter[tuple[str, str]], longest: float) -> dict[str, Any]:
    found = {
        name: sum(count for (k, o), count in counts.items() if o == name and kind in (k, "all"))
        for name in ("refused", "unhurt", "another task")
    }
    return {"damage": kind, "files": sum(found.values()), **found, "longest_ms": round(1000 * longest, 1)}


def address_space() -> int:
    """Bytes that this process has reserved."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
