"""One task in one file: everything that a task needs beside the backbone that all tasks share (draft, introduction)."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from submasking.masking.checks import require_module
from submasking.masking.handle import Masking
from submasking.masking.masks import is_masked, of
from submasking.masking.modes import evaluated
from submasking.masking.state import ROUNDED
from submasking.masking.structure import aliases
from submasking.masking.whole import require_whole
from submasking.tasks import container, packing, stored
from submasking.tasks.answer import answer
from submasking.tasks.container import Content, MaskFileError
from submasking.tasks.fingerprint import fingerprint
from submasking.tasks.heads import CosineHead, check_classes, check_head, check_outputs, require_width
from submasking.tasks.taskfile import TaskFile, backbone_state, bits_digest, own_state

__all__ = ["MaskFileError", "TaskFile", "backbone_state", "load", "save"]

SUFFIX = ".safetensors"


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
        sibling_masks: its masks, decoded; needed with `sibling`.

    Returns:
        The file as `load` reads it.

    Raises:
        ValueError: the model is not masked, is not what its masks say (`submasking.masking.whole`), holds parameters
            beside the masked part, the head is of another kind or width or has not one output for each class, or a
            value cannot be stored; a file that is there stays as it is then.
    """
    _require_mapping("preprocessing", preprocessing)
    masking = _only(model, head)
    require_whole(masking)
    if not isinstance(model, Masking):
        _require_none_beside("buffers", _persistent(model), masking.model, head)
    check_classes(classes)
    check_head(head, classes)
    if head is None and len(classes):
        check_outputs(masking.model, masking.trained, classes)
    require_width(head, masking.model, preprocessing or {})
    masks, frozen = masking.masks(), masking.frozen()
    _check_sibling(sibling, sibling_masks)
    kind, head_state, scale = _described(head)
    names = dict(masking.model.named_parameters())
    trained = sorted(name for name in masking.before() if name in names)
    original = backbone_state(masking)
    state = own_state(masking)
    _require_shapes(masking, state)
    own = {*trained, *(target.name for target in masking.targets)}
    second = {name: first for name, first in aliases(masking.model).items() if first in own}
    tied = {first: [name for name, other in second.items() if other == first] for first in second.values()}
    left = {*trained, *(name for name, first in second.items() if first in trained)}
    description = {
        "library": _version(),
        "backbone": {
            "architecture": _text("architecture", architecture),
            "weights": _text("weights", weights),
            "options": _plain("options", options),
            "fingerprint": fingerprint({name: value for name, value in original.items() if name not in left}),
            "parameters": fingerprint({name: original[name] for name in names if name not in trained}),
            "said": answer(masking, preprocessing or {}),
        },
        "mask": {
            "tensors": {name: [_off(value), *value.shape] for name, value in masks.items()},
            "rescale": masking.rescale,
            "init": masking.init,
            "digest": bits_digest(masks),
            "sibling": sibling.checksum if sibling is not None else "",
        }
        | ({"tied": tied} if tied else {}),
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
    parts = {stored.MASK: coded, stored.STATE: packing.packed(state), stored.HEAD: packing.packed(head_state)}
    # what could not be read is not written
    stored.parsed(Content(description, container.as_tensors(parts), "", container.FORMAT), 0)
    container.write(Path(path), description, parts)
    return load(path)


def load(path: str | Path) -> TaskFile:
    """Read a mask file.

    Raises:
        MaskFileError: it is missing, damaged, foreign or of another format; the message says what to do.
    """
    task, state, head = stored.parts(path)
    values, head_values = ({name: value.tensor() for name, value in part.items()} for part in (state, head))
    return TaskFile(**vars(task), state=values, head_state=head_values)


def _require_shapes(masking: Masking, state: Mapping[str, Tensor]) -> None:
    """Refuse a buffer that has grown, as a memory of features does: the backbone has no place for it."""
    before, buffers = masking.before(), dict(masking.model.named_buffers())
    grown = [name for name, value in state.items() if name in buffers and value.shape != before[name].shape]
    if grown:
        raise ValueError(
            f"a buffer must keep its shape; {grown[0]!r} was {tuple(before[grown[0]].shape)} when the model was masked"
            f" and is {tuple(state[grown[0]].shape)}; make it as large from the start, or register it with"
            " persistent=False"
        )


def _check_sibling(sibling: TaskFile | None, masks: Mapping[str, Bool[Tensor, "..."]] | None) -> None:
    """Refuse masks that are not the sibling's: no reader could make anything of a mask that is coded against them."""
    if (sibling is None) != (masks is None):
        there, missing = ("sibling", "sibling_masks") if masks is None else ("sibling_masks", "sibling")
        raise ValueError(f"a sibling must come with its masks; got {there} without {missing}; pass both, or neither")
    if sibling is not None and masks is not None and bits_digest(masks) != sibling.digest:
        raise ValueError(
            f"sibling_masks must be those of the sibling, whose file has the checksum {sibling.checksum[:12]}; got"
            " others; take sibling.masks(weights)"
        )


def _described(head: nn.Module | None) -> tuple[str, dict[str, Tensor], float]:
    if head is None:
        return "", {}, 0.0
    if isinstance(head, CosineHead):
        _require_plain(head, CosineHead, head.embeddings.shape[1])
        return "cosine", {}, head.scale
    if isinstance(head, nn.Linear) and set(head.state_dict()) <= {"weight", "bias"}:
        _require_plain(head, nn.Linear, head.in_features)
        return "linear", dict(head.state_dict()), 0.0
    raise ValueError(
        f"a head must be a plain nn.Linear or a CosineHead, got {type(head).__name__}"
        f" with {', '.join(head.state_dict()) or 'nothing'}; remove a weight norm, or make it part of the model,"
        ' selected as "train", and it is stored with the task'
    )


@torch.no_grad()
def _require_plain(head: nn.Module, kind: type[nn.Module], width: int) -> None:
    """Refuse a head that computes something else than what its kind does with its tensors, which is what is stored."""
    tensor = next(chain(head.parameters(), head.buffers()))
    noise = torch.randn(8, width, generator=torch.Generator().manual_seed(0)).to(tensor)
    with evaluated(head):
        try:
            found = head(noise)
        except Exception:  # whatever somebody else's forward says of features
            found = None
    wanted = kind.forward(head, noise)
    near = ROUNDED * float(wanted.abs().max())
    same = isinstance(found, Tensor) and found.shape == wanted.shape
    if not same or not torch.allclose(found.to(wanted), wanted, atol=near):
        raise ValueError(
            f"a head must be a plain nn.Linear or a CosineHead; this {type(head).__name__} computes something else of"
            " its tensors, by a forward of its own or by hooks, which no file holds; make it part of the model,"
            ' selected as "train"'
        )


def _scored(score: Mapping[str, float] | None) -> dict[str, float]:
    _require_mapping("score", score)
    for name, value in (score or {}).items():
        try:
            finite = math.isfinite(value)
        except (TypeError, OverflowError):
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


def _require_mapping(what: str, values: object) -> None:
    if not isinstance(values, Mapping | None):
        raise ValueError(
            f"{what} must be values by name; got {values!r}; write it as {{'name': value}}, or leave it out"
        )


def _plain(what: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
    _require_mapping(what, values)
    for name, value in (values or {}).items():
        _text(f"a name in {what}", name)
        try:
            json.dumps(value, allow_nan=False, sort_keys=True)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"{what} must be what JSON can hold; {name!r} is {_shown(value)} ({error}); make it text, or a finite"
                " number"
            ) from None
    return dict(values or {})


def _shown(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # a whole number with more digits than Python writes
        return f"a {type(value).__name__}"


def _only(model: nn.Module | Masking, head: nn.Module | None) -> Masking:
    """The handle of the one masked model in a module that has nothing to learn beside it."""
    if isinstance(model, Masking):
        return model
    require_module(model)
    masking = of(model)
    inside = [module for module in model.modules() if is_masked(module)]
    if len(inside) > 1:
        raise ValueError(f"a mask file holds one masked model; this module has {len(inside)}; save each by its handle")
    _require_none_beside("parameters", dict(model.named_parameters()), masking.model, head)
    return masking


def _require_none_beside(what: str, held: Mapping[str, Tensor], masked: nn.Module, head: nn.Module | None) -> None:
    """Refuse what a shell around the masked model holds beside it and the head: no file would have it."""
    parts = [part for part in (masked, head) if part is not None]
    inside = {id(tensor) for part in parts for tensor in chain(part.parameters(), part.buffers())}
    beside = [name for name, tensor in held.items() if id(tensor) not in inside]
    if beside:
        raise ValueError(
            f"what is saved must be all that the task needs; {len(beside)} {what}, first {beside[0]!r}, are outside the"
            " masked model; pass its handle, and a classifier as head="
        )


def _persistent(model: nn.Module) -> dict[str, Tensor]:
    """Buffers that a `state_dict` has; the others the constructor gives."""
    return {
        f"{path}.{name}".lstrip("."): buffer
        for path, module in model.named_modules()
        for name, buffer in module._buffers.items()
        if buffer is not None and name not in module._non_persistent_buffers_set
    }


def _off(mask: Tensor) -> int:
    return mask.numel() - int(mask.sum())


def _version() -> str:
    from submasking import __version__

    return __version__
