"""Strangers' files of every other kind: `python -m benchmarks readers `; mask files have a table of their own, fuzz.

Weights, split files, archives, pictures, records and baked checkpoints are damaged by turns: flipped bits, another
length, pieces of two files joined, and, where a file is JSON, lies in its values. Each must be read, or be refused by a
`ValueError` that names the file. A pickle that would run code is among the weights: it must not. Memory is capped.
"""

import io
import json
import os
import pickle
import random
import resource
import tarfile
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from benchmarks import fuzz
from submasking.commands import apply
from submasking.files import store
from submasking.files import weights as files
from submasking.records import photographs, results
from submasking.worlds.paper.data import archives, splits
from submasking.worlds.paper.data.catalogue import Published
from submasking.worlds.paper.remote import Remote
from submasking.worlds.pictures import decoded

SPLIT = Published("set", Remote("set.zip", ""), "set/images", classes=2, train=2, val=1, test=1)
WANTED = {"a/0.png": 0, "b/1.png": 1}
HOSTILE = [*fuzz.HOSTILE, "../../../../tmp/x", "/etc/passwd", "..\\x", "a/../../x", "\x1b[2J", "x" * 70_000]
FILES = 500  # of each kind
FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "EPS")


class Reader(NamedTuple):
    """A reader of files.

    Attributes:
        whole: (number, folder) -> content of a good file; numbers 0 and 1 give two that differ.
        read: reads a file to the end.
        lies: whether the file is JSON, whose values can lie.
    """

    whole: Callable[[int, Path], bytes]
    read: Callable[[Path], object]
    lies: bool = False


class Code:
    """What a pickle makes that runs code: a folder that must not appear."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


def _written(save: Callable[[Path], object], folder: Path) -> bytes:
    path = folder / "whole"
    save(path)
    return path.read_bytes()


def _weights(number: int) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(number)
    return {
        name: torch.randn(value.shape, generator=random).to(value.dtype)
        for name, value in fuzz.network().state_dict().items()
    }


def _torch(number: int, folder: Path, *, zipped: bool) -> bytes:
    content = {"state_dict": _weights(number), "epoch": number}
    return _written(lambda path: torch.save(content, path, _use_new_zipfile_serialization=zipped), folder)


def _coded(number: int, folder: Path) -> bytes:
    """A pickle that runs code; damaged or not, it must not run."""
    return pickle.dumps({"weight": Code(folder / "canary"), "number": number}, protocol=2)


def _split(number: int, folder: Path) -> bytes:
    entries = [[f"{name}/{k}.png", label, name] for k, (name, label) in enumerate([("a", 0), ("b", 1)] * 2)]
    parts = {"train": entries[:2], "val": entries[2:3], "test": entries[3:]}
    return json.dumps(parts if number == 0 else dict(reversed(parts.items()))).encode()


def _picture(kind: str, number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(held := io.BytesIO(), kind)
    return held.getvalue()


def _archive(number: int, folder: Path, *, packed: str) -> bytes:
    held = io.BytesIO()
    names = [f"set/images/{name}" for name in WANTED] + ["../outside", "/outside"]
    if packed == "zip":
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(name, _picture("PNG", number))
    else:
        with tarfile.open(fileobj=held, mode="w:gz") as archive:
            for name in names:
                entry, content = tarfile.TarInfo(name), _picture("PNG", number)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            link = tarfile.TarInfo("set/images/a/link")
            link.type, link.linkname = tarfile.SYMTYPE, "../../../outside"
            archive.addfile(link)
    return held.getvalue()


def _record(number: int, folder: Path) -> bytes:
    record = results.Record(
        "tiny", "rn18-timm", "dtd", "FS", 100.0, number, {"lr": 0.1}, {"top1": 0.5},
        layers={"conv.weight": 0.25}, versions={"torch": "2"}, data={"classes": 2},
    )  # fmt: skip
    return results.write(record, folder / "records").read_bytes()


def _baked(number: int, folder: Path) -> bytes:
    kept = {
        "backbone": {"architecture": "timm:test_resnet", "weights": "", "options": {}, "fingerprint": ""},
        "masked": ["0.weight"], "trained": [], "rescale": "none", "classes": ["a", "b"],
        "preprocessing": {"size": 8}, "score": {}, "provenance": {},
    }  # fmt: skip
    return _written(lambda path: store.save(path, _weights(number), {apply._KEY: json.dumps(kept)}), folder)


def _read_baked(path: Path) -> None:
    apply._described(path, store.read(path)[1])


def _study(number: int, folder: Path) -> bytes:
    return json.dumps({"schema": 1, "name": str(number), "model": "m", "settings": {}, "found": []}).encode()


def _read_archive(path: Path) -> None:
    for _, _, content in archives.pictures(path, SPLIT.inside, WANTED):
        assert len(content) <= archives.LARGEST


READERS = {
    "weights, safetensors": Reader(
        lambda number, folder: _written(lambda path: store.save(path, _weights(number), {}), folder),
        lambda path: files.load(fuzz.network(), path),
    ),
    "weights, torch.save": Reader(
        lambda number, folder: _torch(number, folder, zipped=True), lambda path: files.load(fuzz.network(), path)
    ),
    "weights, torch.save before 1.6": Reader(
        lambda number, folder: _torch(number, folder, zipped=False), lambda path: files.load(fuzz.network(), path)
    ),
    "weights, a pickle with code": Reader(_coded, lambda path: files.load(fuzz.network(), path)),
    "baked checkpoint": Reader(_baked, _read_baked),
    "split file": Reader(_split, lambda path: splits.read(path, SPLIT, "train"), lies=True),
    "archive, zip": Reader(lambda number, folder: _archive(number, folder, packed="zip"), _read_archive),
    "archive, tar": Reader(lambda number, folder: _archive(number, folder, packed="tar"), _read_archive),
    "picture": Reader(lambda number, folder: b"", lambda path: decoded(path, 8)),
    "record": Reader(_record, results.read_one, lies=True),
    "study": Reader(_study, photographs.study, lies=True),
}
PICTURES = [(kind, number) for kind in FORMATS for number in range(2)]


def lying(content: bytes, other: bytes, dice: random.Random) -> bytes:
    """A hostile value in place of one of the file's; or lists in lists, thousands deep."""
    if dice.random() < 0.05:
        return b"[" * 100_000
    whole = json.loads(content)
    fuzz.replace_one(whole, dice.choice(HOSTILE), dice)
    return json.dumps(whole).encode()


def trial(name: str, number: int, seed: int, folder: Path, wholes: list[bytes]) -> str:
    """Damage a file in the way that its number asks for, and read it: "read" or "refused".

    Raises:
        Exception: the first that is no `ValueError` which names the file.
        AssertionError: code of the file was run, or something was written.
    """
    dice, reader, path = random.Random(f"{seed} {name} {number}"), READERS[name], folder / "stranger"
    damages = [fuzz.flipped, fuzz.resized, fuzz.spliced] + [lying] * reader.lies
    content, other = dice.sample(wholes, 2)
    path.write_bytes(damages[number % len(damages)](content, other, dice) if number >= len(damages) else content)
    before = sorted(folder.rglob("*"))
    try:
        reader.read(path)
        found = "read"
    except ValueError as error:
        if str(path) not in str(error):
            raise AssertionError(f"{name}, file {number} of seed {seed}: {error!r} does not name the file") from error
        found = "refused"
    assert sorted(folder.rglob("*")) == before, f"{name}, file {number} of seed {seed} left something behind"
    return found


def measure(count: int = FILES, seed: int = 0) -> list[dict[str, Any]]:
    """Damage and read `count` files of each kind; one row per kind, with the longest time of one in milliseconds."""
    rows = []
    limit = resource.getrlimit(resource.RLIMIT_AS)
    with tempfile.TemporaryDirectory() as place, patch("subprocess.Popen", side_effect=AssertionError("a program ran")):
        for name, reader in READERS.items():
            folder, found, longest = Path(place) / str(len(rows)), Counter[str](), 0.0
            folder.mkdir()
            wholes = [reader.whole(number, folder) for number in range(2)]
            if name == "picture":
                wholes = [_picture(kind, number) for kind, number in PICTURES]
            resource.setrlimit(resource.RLIMIT_AS, (fuzz.address_space() + fuzz.MEMORY, limit[1]))
            try:
                for number in range(count):
                    start = time.process_time()
                    found[trial(name, number, seed, folder, wholes)] += 1
                    longest = max(longest, time.process_time() - start)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, limit)
            rows.append({
                "reader": name, "files": count, "refused": found["refused"], "read": found["read"],
                "longest_ms": round(1000 * longest, 1),
            })  # fmt: skip
    return rows
