"""A task as its file holds it, read and checked without torch: what a command needs that only looks at tasks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from submasking.files.raw import Raw
from submasking.tasks import container, unpacking
from submasking.tasks.container import Content, MaskFileError
from submasking.tasks.fingerprint import fingerprint
from submasking.tasks.misfit import why

if TYPE_CHECKING:
    from torch import Tensor

Bits = NDArray[np.bool_]
Beside = tuple[dict[str, Raw], dict[str, Raw], tuple[int, int]]  # state, head, and the bytes of each in the file
MASK, STATE, HEAD = "mask", "state", "head"
KEPT = 8  # sums of the features that a network has of a picture, see `submasking.tasks.answer`
LARGEST = 2048  # side of that picture in pixels: no file of a stranger makes a network see more


@dataclass(frozen=True, eq=False)
class Stored:
    """What a mask file holds but for the numbers of its state and head.

    Attributes:
        backbone: "architecture", "weights" (their id), "fingerprint", "options" of the architecture, and "said", what
            the task's network says of a fixed picture (`submasking.tasks.answer`), {} where that is not known.
        shapes: shape of each masked parameter by name.
        off: number of weights that are off in each.
        tied: other names of those that had several when the task was saved.
        rescale: "none" or "variance", see `submasking.masking.criteria.effective`.
        init: name of the start that the scores were learned from (`submasking.masking.scores`), "" if it is not known.
        trained: parameters that were trained beside the masks, and so belong to the task, not to the backbone.
        classes: names, in the order of the logits.
        preprocessing: what the network expects of an image: "size", "mean", "std".
        score: metrics of the task by name.
        provenance: data set, method, seed, commit and so on.
        library: version of submasking that wrote it.
        head_kind: "linear", "cosine" (its class embeddings come from the backbone's text tower) or "".
        scale: factor of the cosine similarities, for a head of kind "cosine".
        coded: the coded mask.
        digest: SHA-256 of the mask's bits.
        sibling: checksum of the mask file that the mask is coded against; "" for none.
        state_bytes: what adapted norm buffers and trained parameters take in the file.
        head_bytes: what the tensors of the head take in the file.
        state_raw_bytes: what the former take in memory.
        head_raw_bytes: what the latter take in memory.
        checksum: of the whole file.
        size: of the whole file, in bytes.
    """

    backbone: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    off: dict[str, int]
    tied: dict[str, tuple[str, ...]]
    rescale: str
    init: str
    trained: tuple[str, ...]
    classes: tuple[str, ...]
    preprocessing: dict[str, Any]
    score: dict[str, float]
    provenance: dict[str, Any]
    library: str
    head_kind: str
    scale: float
    digest: str
    sibling: str
    coded: bytes = field(repr=False)
    state_bytes: int
    head_bytes: int
    state_raw_bytes: int
    head_raw_bytes: int
    checksum: str
    size: int

    def switched_off(
        self, weights: Mapping[str, Tensor | Raw], *, sibling: Mapping[str, Bits] | None = None
    ) -> dict[str, Bits]:
        """Decode the masks: true where a weight is off.

        Args:
            weights: the frozen weights by name; others than the masked ones are not looked at.
            sibling: the same of the file that this one is coded against, if it is.

        Raises:
            MaskFileError: the weights or the sibling are not those that the mask was coded with.
        """
        chosen = {}
        for name, shape in self.shapes.items():
            if name not in weights or tuple(weights[name].shape) != shape:
                there = tuple(weights[name].shape) if name in weights else "missing"
                raise MaskFileError(
                    f"the mask is for a backbone with {name!r} of shape {shape}, here it is {there};"
                    f" it needs {self.backbone['architecture'] or 'another architecture'}"
                )
            chosen[name] = _floats(weights[name])
        if self.sibling and sibling is None:
            raise MaskFileError(
                f"the mask is coded against the mask file of checksum {self.sibling}; pass that file's masks as"
                " sibling= of TaskFile.apply, TaskFile.masks or Bank.add; for a shelf or a command, lay it on its"
                " backbone so, and save that anew without a sibling"
            )
        from submasking.tasks import codec  # which brings numba: only whoever decodes waits for it

        try:
            off = codec.decoded(self.coded, chosen, sibling if self.sibling else None)
        except ValueError as error:
            raise MaskFileError(
                f"the coded mask cannot be read ({error}); update submasking, or copy or train it again"
            ) from error
        if digest({name: ~bits for name, bits in off.items()}) != self.digest:
            raise MaskFileError(
                "the decoded mask must be the one that was saved, it is not; pass the weights and the sibling that it"
                " was saved with"
            )
        return off

    def fits(self, state: Mapping[str, Tensor | Raw]) -> bool:
        """Whether these are the tensors of the backbone that the task belongs to."""
        return self._fingerprint(state) == self.backbone["fingerprint"]

    def require(self, state: Mapping[str, Tensor | Raw]) -> None:
        """Raise `MaskFileError` unless these are the tensors of the backbone that the task belongs to."""
        found = self._fingerprint(state)
        if found != self.backbone["fingerprint"]:
            raise MaskFileError(
                f"the task belongs to the backbone {self.backbone['architecture'] or 'of an unnamed architecture'},"
                f" weights {self.backbone['weights'] or 'without a name'}, fingerprint"
                f" {self.backbone['fingerprint'][:12]}; these weights have {found[:12]}; {why(self, state)}"
            )

    def sizes(self) -> dict[str, int]:
        """Bytes of the coded mask, the norm buffers and trained parameters, the head, and the whole file.

        Buffers and head are coded; "buffers_raw_bytes" and "head_raw_bytes" say what they take in memory.
        """
        return {
            "coded_bytes": len(self.coded),
            "buffers_bytes": self.state_bytes,
            "buffers_raw_bytes": self.state_raw_bytes,
            "head_bytes": self.head_bytes,
            "head_raw_bytes": self.head_raw_bytes,
            "file_bytes": self.size,
        }

    def _fingerprint(self, state: Mapping[str, Tensor | Raw]) -> str:
        own = {*self.trained, *(other for name in self.trained for other in self.tied.get(name, ()))}
        return fingerprint({name: tensor for name, tensor in state.items() if name not in own})


def read(path: str | Path) -> Stored:
    """Read a mask file without torch; errors are those of `submasking.tasks.maskfile.load`."""
    return parts(path)[0]


def parts(path: str | Path) -> tuple[Stored, dict[str, Raw], dict[str, Raw]]:
    """What a mask file holds, the tensors of its state, and those of its head.

    Raises:
        MaskFileError: it is missing, damaged, foreign or of another format; the message says what to do.
    """
    path = Path(path)
    content = container.read(path)
    try:
        return parsed(content, path.stat().st_size)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise MaskFileError(
            f"{path} must be a mask file of format {content.version}, it is none ({error!r}); copy or train it again"
        ) from error


def parsed(content: Content, size: int) -> tuple[Stored, dict[str, Raw], dict[str, Raw]]:
    """What `parts` returns, of a file's content; what a stranger's may hold instead is an error of many kinds."""
    description = content.description
    state, head_state, sizes = (_first if content.version == 1 else _coded)(description, content.tensors)
    backbone, stored, head = description["backbone"], description["mask"], description["head"]
    task = Stored(
        backbone={name: backbone[name] for name in ("architecture", "weights", "fingerprint", "options")}
        | {"parameters": str(backbone.get("parameters", "")), "said": dict(backbone.get("said", {}))},
        shapes={str(name): unpacking.shape(numbers[1:]) for name, numbers in stored["tensors"].items()},
        off={str(name): int(numbers[0]) for name, numbers in stored["tensors"].items()},
        tied={str(name): tuple(map(str, others)) for name, others in stored.get("tied", {}).items()},
        rescale=stored["rescale"],
        init=stored.get("init", ""),
        trained=tuple(description["trained"]),
        classes=tuple(str(name) for name in description["classes"]),
        preprocessing=dict(description["preprocessing"]),
        score={str(name): float(value) for name, value in description["score"].items()},
        provenance=dict(description["provenance"]),
        library=str(description["library"]),
        head_kind=head["kind"],
        scale=float(head["scale"]),
        digest=stored["digest"],
        sibling=stored["sibling"],
        coded=bytes(content.tensors[MASK].data),
        state_bytes=sizes[0],
        head_bytes=sizes[1],
        state_raw_bytes=_raw_bytes(state),
        head_raw_bytes=_raw_bytes(head_state),
        checksum=content.checksum,
        size=size,
    )
    _validate(task, head_state)
    return task, state, head_state


def _coded(description: Mapping[str, Any], tensors: Mapping[str, Raw]) -> Beside:
    state, head = (bytes(tensors[name].data) for name in (STATE, HEAD))
    read = unpacking.unpacked(description["state"], state), unpacking.unpacked(description["head"]["tensors"], head)
    return *read, (len(state), len(head))


def _first(description: Mapping[str, Any], tensors: Mapping[str, Raw]) -> Beside:
    """In the first format they stand as they are."""
    state = unpacking.from_vectors(description["state"], tensors)
    head = {name.removeprefix("head."): value for name, value in tensors.items() if name.startswith("head.")}
    return state, head, (_raw_bytes(state), _raw_bytes(head))


def _validate(task: Stored, head: Mapping[str, Raw]) -> None:
    for what, value in (
        ("rescale", task.rescale),
        ("init", task.init),
        ("digest", task.digest),
        ("sibling", task.sibling),
    ):
        if not isinstance(value, str):
            raise TypeError(f"{what} must be a text, got {value!r}")
    if not isinstance(task.backbone["fingerprint"], str) or not isinstance(task.backbone["options"], dict):
        raise TypeError("the backbone must have a fingerprint and options")
    _check_answer(task.backbone["said"])
    if task.rescale not in ("none", "variance") or task.head_kind not in ("", "linear", "cosine"):
        raise ValueError(f"rescale and head must be known kinds, got {task.rescale!r} and {task.head_kind!r}")
    if task.head_kind == "linear" and (
        set(head) - {"bias"} != {"weight"} or len(head["weight"].shape) != 2 or "float" not in head["weight"].kind
    ):
        raise ValueError(f"a linear head has a weight and perhaps a bias, got {sorted(head)}")


def _check_answer(known: Mapping[str, Any]) -> None:
    """Refuse what is neither nothing nor the size of a picture and some numbers, see `submasking.tasks.answer`."""
    if not known:
        return
    size, numbers = known["size"], known["numbers"]
    if type(size) is not int or not 0 < size <= LARGEST or not 0 < len(numbers) <= KEPT:
        raise ValueError(f"an answer must have the size of its picture and some numbers: got {size!r} and {numbers!r}")
    if not all(type(number) is float and math.isfinite(number) for number in numbers):
        raise ValueError(f"an answer must have finite numbers: got {numbers!r}")


def digest(masks: Mapping[str, Bits]) -> str:
    """SHA-256 of the bits of masks by name, true where a weight is on."""
    digest = hashlib.sha256()
    for name in sorted(masks):
        digest.update(np.packbits(masks[name]).tobytes())
    return digest.hexdigest()


def _floats(value: Tensor | Raw) -> NDArray[np.float32]:
    if isinstance(value, Raw):
        return value.floats()
    return np.asarray(value.detach().cpu().float().contiguous().numpy())


def _raw_bytes(tensors: Mapping[str, Raw]) -> int:
    """Bytes that tensors take in memory."""
    return sum(math.prod(value.shape) * unpacking.SIZES[value.kind] for value in tensors.values())
