"""One task in one file: everything that a task needs beside the backbone that all tasks share (draft, introduction)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from submasking.masking.handle import Masking
from submasking.masking.masks import is_masked, mask, of
from submasking.masking.whole import require_whole
from submasking.tasks import container, packing
from submasking.tasks.container import MaskFileError
from submasking.tasks.fingerprint import fingerprint
from submasking.tasks.heads import CosineHead, check_classes, check_head, check_outputs, require_width
from submasking.tasks.misfit import why

__all__ = ["MaskFileError", "TaskFile", "backbone_state", "load", "save"]

SUFFIX = ".safetensors"
_HEAD, _MASK = "head.", "mask"


@dataclass(frozen=True, eq=False)
class TaskFile:
    """A mask file that was read; the mask itself is decoded when a backbone is at hand.

    Attributes:
        backbone: "architecture", "weights" (their id), "fingerprint", "options" of the architecture.
        shapes: shape of each masked parameter by name.
        off: number of weights that are off in each.
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
        state: adapted norm buffers and trained parameters by name.
        head_state: tensors of the head.
        coded: the coded mask.
        digest: SHA-256 of the mask's bits.
        sibling: checksum of the mask file that the mask is coded against; "" for none.
        checksum: of the whole file.
        size: of the whole file, in bytes.
    """

    backbone: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    off: dict[str, int]
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
    state: dict[str, Tensor] = field(repr=False)
    head_state: dict[str, Tensor] = field(repr=False)
    checksum: str
    size: int

    def masks(
        self, weights: Mapping[str, Tensor], *, sibling: Mapping[str, Bool[Tensor, "..."]] | None = None
    ) -> dict[str, Bool[Tensor, "..."]]:
        """Decode the masks: true where a weight is on.

        Args:
            weights: the frozen weights by name; others than the masked ones are not looked at.
            sibling: the masks of the file that this one is coded against, if it is.

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
            chosen[name] = weights[name]
        if self.sibling and sibling is None:
            raise MaskFileError(f"the mask is coded against the mask file of checksum {self.sibling}; pass its masks")
        from submasking.tasks import codec  # which brings numba: only whoever decodes waits for it

        try:
            masks = codec.decode(self.coded, chosen, sibling=sibling if self.sibling else None)
        except ValueError as error:
            raise MaskFileError(
                f"the coded mask cannot be read ({error}); update submasking, or copy or train it again"
            ) from error
        if _digest(masks) != self.digest:
            raise MaskFileError(
                "the decoded mask must be the one that was saved, it is not; pass the weights and the sibling that it"
                " was saved with"
            )
        return masks

    def fits(self, state: Mapping[str, Tensor]) -> bool:
        """Whether these are the tensors of the backbone that the task belongs to."""
        return self._fingerprint(state) == self.backbone["fingerprint"]

    def require(self, state: Mapping[str, Tensor]) -> None:
        """Raise `MaskFileError` unless these are the tensors of the backbone that the task belongs to."""
        found = self._fingerprint(state)
        if found != self.backbone["fingerprint"]:
            raise MaskFileError(
                f"the task belongs to the backbone {self.backbone['architecture'] or 'of an unnamed architecture'},"
                f" weights {self.backbone['weights'] or 'without a name'}, fingerprint"
                f" {self.backbone['fingerprint'][:12]}; these weights have {found[:12]}; {why(self, state)}"
            )

    @torch.no_grad()
    def apply(self, model: nn.Module, *, sibling: Mapping[str, Bool[Tensor, "..."]] | None = None) -> Masking:
        """Lay the task on its backbone, in place: masks, norm buffers and trained parameters; the head is `head`.

        Args:
            model: the backbone, plain or masked by a task of the same selection.
            sibling: see `masks`.

        Returns:
            The handle of the masked model; its `bake` and `unbake` end the loan.

        Raises:
            MaskFileError: it is another backbone, other parameters of it are masked, or a part of the task does not
                fit; the model is as before then.
        """
        masking = _handle(model)
        state = backbone_state(masking) if masking else dict(model.state_dict())
        self.require(state)
        if masking and (
            masking.frozen().keys() != self.shapes.keys()
            or masking.rescale != self.rescale
            or not set(self.trained) <= set(masking.trained)
        ):
            raise MaskFileError(
                "other parameters of the model are masked or trained than by the task; unbake the model first"
            )
        if masking and not _keeps_shapes(masking):
            raise MaskFileError(
                "a masked model must keep its shapes; a part was replaced since; lay the task on a fresh model"
            )
        masks = self.masks(masking.frozen() if masking else state, sibling=sibling)
        self.require_room(state)
        self.require_features(model)
        if masking is None:  # from here on nothing can go wrong
            masking = mask(model, self._select, rescale=self.rescale)
        masking.load_masks(masks)
        now = masking.model.state_dict()
        for name, value in (masking.before() | self.state).items():  # nothing of an earlier task stays
            if name in now:
                now[name].copy_(value)
        return masking

    def require_room(self, state: Mapping[str, Tensor], *, any_shape: Container[str] = ()) -> None:
        """Raise `MaskFileError` unless what the task sets beside masks has a place of its shape.

        Args:
            state: tensors of the backbone by name.
            any_shape: names of tensors that may have another shape there.
        """
        for name, value in self.state.items():
            if name not in state:
                raise MaskFileError(
                    f"the task sets {name!r}, {tuple(value.shape)}, which the model has not; build it with a classifier"
                )
            if state[name].shape != value.shape and name not in any_shape:
                raise MaskFileError(
                    f"the task sets {name!r} to shape {tuple(value.shape)}, in the model it is"
                    f" {tuple(state[name].shape)}; build the model with as many classes"
                )

    def require_features(self, model: nn.Module) -> None:
        """Raise `MaskFileError` unless a linear head takes the features of a model, as far as these can be measured."""
        try:
            require_width(self.head() if self.head_kind == "linear" else None, model, self.preprocessing)
        except ValueError as error:
            raise MaskFileError(str(error)) from None

    def head(self, text_head: Callable[[Sequence[str]], Tensor | None] | None = None) -> nn.Module | None:
        """The task's head, None where it has none.

        Args:
            text_head: class names -> embeddings by the backbone's text tower, for a head of kind "cosine".
        """
        if self.head_kind == "cosine":
            embeddings = text_head(self.classes) if text_head else None
            if embeddings is None:
                raise MaskFileError("the head is made of text embeddings of the class names; pass text_head")
            head = CosineHead(embeddings, 0.0)
            head.scale = self.scale
            return head
        if not self.head_state:
            return None
        weight = self.head_state["weight"]
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in self.head_state, dtype=weight.dtype)
        linear.load_state_dict(self.head_state)
        return linear.eval()

    def sizes(self) -> dict[str, int]:
        """Bytes of the coded mask, the norm buffers and trained parameters, the head, and the whole file."""
        return {
            "coded_bytes": len(self.coded),
            "buffers_bytes": _bytes(self.state),
            "head_bytes": _bytes(self.head_state),
            "file_bytes": self.size,
        }

    def _fingerprint(self, state: Mapping[str, Tensor]) -> str:
        return fingerprint({name: tensor for name, tensor in state.items() if name not in self.trained})

    def _select(self, name: str, parameter: nn.Parameter) -> str:
        if name in self.shapes:
            return "mask"
        return "train" if name in self.trained else "freeze"


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
    now = masking.model.state_dict()
    state = {
        name: now[name]
        for name, before in masking.before().items()
        if name in now and (name in trained or not _same(now[name], before))
    }
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
            "digest": _digest(masks),
            "sibling": sibling.checksum if sibling is not None else "",
        },
        "trained": trained,
        "state": [[name, packing.type_name(value), *value.shape] for name, value in sorted(state.items())],
        "head": {"kind": kind, "scale": scale},
        "classes": list(classes),
        "preprocessing": _plain("preprocessing", preprocessing),
        "score": _scored(score),
        "provenance": _plain("provenance", provenance),
    }
    from submasking.tasks import codec

    coded = codec.encode(masks, frozen, sibling=sibling_masks if sibling is not None else None)
    tensors = {_MASK: container.as_tensor(coded)} | packing.packed(state)
    tensors |= {_HEAD + name: value for name, value in head_state.items()}
    _parsed(description, tensors, "", 0)  # what could not be read is not written
    container.write(Path(path), description, tensors)
    return load(path)


def load(path: str | Path) -> TaskFile:
    """Read a mask file.

    Raises:
        MaskFileError: it is missing, damaged, foreign or of another format; the message says what to do.
    """
    path = Path(path)
    description, tensors, checksum = container.read(path)
    try:
        return _parsed(description, tensors, checksum, path.stat().st_size)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise MaskFileError(
            f"{path} must be a mask file of format {container.FORMAT}, it is none ({error!r}); copy or train it again"
        ) from error


def _parsed(description: Mapping[str, Any], tensors: Mapping[str, Tensor], checksum: str, size: int) -> TaskFile:
    """The task that a description and its tensors make; what a stranger's file may hold instead is an error of many
    kinds.
    """
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
        coded=tensors[_MASK].numpy().tobytes(),
        state=packing.unpacked(description["state"], tensors),
        head_state={name.removeprefix(_HEAD): value for name, value in tensors.items() if name.startswith(_HEAD)},
        checksum=checksum,
        size=size,
    )
    _validate(task)
    return task


def backbone_state(masking: Masking) -> dict[str, Tensor]:
    """Tensors of the untouched backbone under a mask, by the names of its `state_dict`."""
    extra = masking.own_buffers()
    state = {name: value for name, value in masking.model.state_dict().items() if name not in extra}
    state.update({name: value for name, value in masking.before().items() if name in state})
    frozen = masking.frozen()
    for target in masking.targets:
        state.update(dict.fromkeys(target.names, frozen[target.name]))
    return state


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


def _digest(masks: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(masks):
        digest.update(np.packbits(masks[name].detach().cpu().contiguous().numpy()).tobytes())
    return digest.hexdigest()


def _handle(model: nn.Module) -> Masking | None:
    try:
        return of(model)
    except ValueError:
        return None


def _keeps_shapes(masking: Masking) -> bool:
    now = masking.model.state_dict()
    return all(name not in now or now[name].shape == value.shape for name, value in masking.before().items())


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and bool(torch.equal(first, second))


def _off(mask: Tensor) -> int:
    return mask.numel() - int(mask.sum())


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(value.numel() * value.element_size() for value in tensors.values())


def _version() -> str:
    from submasking import __version__

    return __version__
