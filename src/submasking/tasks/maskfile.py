"""One task in one file: everything that a task needs beside the backbone that all tasks share (draft, introduction)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Bool
from torch import Tensor, nn

from submasking.masking.handle import Masking
from submasking.masking.masks import is_masked, of
from submasking.masking.whole import require_whole
from submasking.tasks import container, packing
from submasking.tasks.container import Content, MaskFileError
from submasking.tasks.fingerprint import fingerprint
from submasking.tasks.heads import CosineHead, check_classes, check_head, check_outputs, require_width
from submasking.tasks.taskfile import TaskFile, backbone_state, digest, own_state, raw_bytes

__all__ = ["MaskFileError", "TaskFile", "backbone_state", "load", "save"]

Beside = tuple[dict[str, Tensor], dict[str, Tensor], tuple[int, int]]  # state, head, and the bytes of each in the file
SUFFIX = ".safetensors"
_MASK, _STATE, _HEAD = "mask", "state", "head"


def save(
    path: str | Path,
    model: nn.Module | Masking,
    *,
    head: nn.Module | None = None,
    classes: Sequence[str] = (),
    preprocessing: Mapping[str, Any] | None = None,
    score: Mapping[str, float] | None = None,
    architecture: str = "",
    weights: str = "",
    options: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    sibling: TaskFile | None = None,
    sibling_masks: Mapping[str, Bool[Tensor, "..."]] | None = None,
) -> TaskFile:
    """Store the task of a masked model.

    Args:
        path: the file, by custom with the suffix .safetensors.
        model: a masked model or its handle.
        head: the classifier on the features, a linear layer or a `CosineHead`.
        classes: their names, in the order of the logits.
        preprocessing: what the network expects of an image.
        score: metrics, finite numbers.
        architecture: name of the backbone.
        weights: id of its weights.
        options: options of its constructor.
        provenance: data set, method, seed, commit: anything that JSON can hold.
        sibling: a task on the same backbone that every reader will have: the mask is coded against it.
        sibling_masks: its masks, decoded.

    Returns:
        The file as `load` reads it.

    Raises:
        ValueError: the model is not masked, is not what its masks say (`submasking.masking.whole`), holds parameters
            beside the masked part, the head is of another kind or width or has not one output for each class, or a
            value cannot be stored; a file that is there stays as it is then.
    """
    masking = _only(model, head)
    require_whole(masking)
    check_classes(classes)
    check_head(head, classes)
    if head is None and classes:
        check_outputs(masking.model, masking.trained, classes)
    require_width(head, masking.model, preprocessing or {})
    masks, frozen = masking.masks(), masking.frozen()
    kind, head_state, scale = _described(head)
    names = dict(masking.model.named_parameters())
    trained = sorted(name for name in masking.before() if name in names)
    original = backbone_state(masking)
    state = own_state(masking)
    description = {
        "library": _version(),
        "backbone": {
            "architecture": _text("architecture", architecture),
            "weights": _text("weights", weights),
            "options": _plain("options", options),
            "fingerprint": fingerprint({name: value for name, value in original.items() if name not in trained}),
            "parameters": fingerprint({name: original[name] for name in names if name not in trained}),
        },
        "mask": {
            "tensors": {name: [_off(value), *value.shape] for name, value in masks.items()},
            "rescale": masking.rescale,
            "init": masking.init,
            "digest": digest(masks),
            "sibling": sibling.checksum if sibling is not None else "",
        },
        "trained": trained,
        "state": packing.listed(state),
        "head": {"kind": kind, "scale": scale, "tensors": packing.listed(head_state)},
        "classes": list(classes),
        "preprocessing": _plain("preprocessing", preprocessing),
        "score": _scored(score),
        "provenance": _plain("provenance", provenance),
    }
    from submasking.tasks import codec

    coded = codec.encode(masks, frozen, sibling=sibling_masks if sibling is not None else None)
    parts = {_MASK: coded, _STATE: packing.packed(state), _HEAD: packing.packed(head_state)}
    tensors = {name: container.as_tensor(part) for name, part in parts.items()}
    _parsed(Content(description, tensors, "", container.FORMAT), 0)  # what could not be read is not written
    container.write(Path(path), description, tensors)
    return load(path)


def load(path: str | Path) -> TaskFile:
    """Read a mask file.

    Raises:
        MaskFileError: it is missing, damaged, foreign or of another format; the message says what to do.
    """
    path = Path(path)
    content = container.read(path)
    try:
        return _parsed(content, path.stat().st_size)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise MaskFileError(
            f"{path} must be a mask file of format {content.version}, it is none ({error!r}); copy or train it again"
        ) from error


def _parsed(content: Content, size: int) -> TaskFile:
    """The task that a file holds; what a stranger's file may hold instead is an error of many kinds."""
    description = content.description
    state, head_state, sizes = (_first if content.version == 1 else _coded)(description, content.tensors)
    backbone, stored, head = description["backbone"], description["mask"], description["head"]
    task = TaskFile(
        backbone={name: backbone[name] for name in ("architecture", "weights", "fingerprint", "options")}
        | {"parameters": str(backbone.get("parameters", ""))},
        shapes={str(name): packing.shape(numbers[1:]) for name, numbers in stored["tensors"].items()},
        off={str(name): int(numbers[0]) for name, numbers in stored["tensors"].items()},
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
        coded=content.tensors[_MASK].numpy().tobytes(),
        state=state,
        head_state=head_state,
        state_bytes=sizes[0],
        head_bytes=sizes[1],
        checksum=content.checksum,
        size=size,
    )
    _validate(task)
    return task


def _coded(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Beside:
    state, head = (tensors[name].numpy().tobytes() for name in (_STATE, _HEAD))
    read = packing.unpacked(description["state"], state), packing.unpacked(description["head"]["tensors"], head)
    return *read, (len(state), len(head))


def _first(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Beside:
    """In the first format they stand as they are."""
    state = packing.from_vectors(description["state"], tensors)
    head = {name.removeprefix("head."): value for name, value in tensors.items() if name.startswith("head.")}
    return state, head, (raw_bytes(state), raw_bytes(head))


def _validate(task: TaskFile) -> None:
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
    if task.rescale not in ("none", "variance") or task.head_kind not in ("", "linear", "cosine"):
        raise ValueError(f"rescale and head must be known kinds, got {task.rescale!r} and {task.head_kind!r}")
    if task.head_kind == "linear" and (
        set(task.head_state) - {"bias"} != {"weight"}
        or task.head_state["weight"].dim() != 2
        or not task.head_state["weight"].is_floating_point()
    ):
        raise ValueError(f"a linear head has a weight and perhaps a bias, got {sorted(task.head_state)}")


def _described(head: nn.Module | None) -> tuple[str, dict[str, Tensor], float]:
    if head is None:
        return "", {}, 0.0
    if isinstance(head, CosineHead):
        return "cosine", {}, head.scale
    if isinstance(head, nn.Linear) and set(head.state_dict()) <= {"weight", "bias"}:
        return "linear", dict(head.state_dict()), 0.0
    raise ValueError(
        f"a head must be a plain nn.Linear or a CosineHead, got {type(head).__name__}"
        f" with {', '.join(head.state_dict()) or 'nothing'}; remove a weight norm, or make it part of the model,"
        ' selected as "train", and it is stored with the task'
    )


def _scored(score: Mapping[str, float] | None) -> dict[str, float]:
    for name, value in (score or {}).items():
        try:
            finite = math.isfinite(value)
        except TypeError:
            finite = False
        if not finite:
            raise ValueError(
                f"a score must be a finite number; {name!r} is {value!r}; leave it out where it is unknown"
            )
    return {name: float(value) for name, value in (score or {}).items()}


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a text; got {value!r}; write it as one, or leave it out")
    return value


def _plain(what: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
    for name, value in (values or {}).items():
        _text(f"a name in {what}", name)
        try:
            json.dumps(value, allow_nan=False, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{what} must be what JSON can hold; {name!r} is {value!r} ({error}); make it text, or a finite number"
            ) from None
    return dict(values or {})


def _only(model: nn.Module | Masking, head: nn.Module | None) -> Masking:
    """The handle of the one masked model in a module that has nothing to learn beside it."""
    if isinstance(model, Masking):
        return model
    masking = of(model)
    inside = [module for module in model.modules() if is_masked(module)]
    if len(inside) > 1:
        raise ValueError(f"a mask file holds one masked model; this module has {len(inside)}; save each by its handle")
    held = {id(parameter) for part in (masking.model, head) if part is not None for parameter in part.parameters()}
    beside = [name for name, parameter in model.named_parameters() if id(parameter) not in held]
    if beside:
        raise ValueError(
            f"what is saved must be all that the task needs; {len(beside)} parameters, first {beside[0]!r}, are outside"
            " the masked model; pass its handle, and a classifier as head="
        )
    return masking


def _off(mask: Tensor) -> int:
    return mask.numel() - int(mask.sum())


def _version() -> str:
    from submasking import __version__

    return __version__
