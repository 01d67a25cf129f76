"""A task as it was read from its file: laid on a network, or looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from submasking.masking.handle import Masking
from submasking.masking.masks import mask, of
from submasking.tasks.container import MaskFileError
from submasking.tasks.fingerprint import fingerprint
from submasking.tasks.heads import CosineHead, require_width
from submasking.tasks.misfit import why


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
        state_bytes: what `state` takes in the file.
        head_bytes: what `head_state` takes in the file.
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
    state_bytes: int
    head_bytes: int
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
        if digest(masks) != self.digest:
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
        """Bytes of the coded mask, the norm buffers and trained parameters, the head, and the whole file.

        Buffers and head are coded; "buffers_raw_bytes" and "head_raw_bytes" say what they take in memory.
        """
        return {
            "coded_bytes": len(self.coded),
            "buffers_bytes": self.state_bytes,
            "buffers_raw_bytes": raw_bytes(self.state),
            "head_bytes": self.head_bytes,
            "head_raw_bytes": raw_bytes(self.head_state),
            "file_bytes": self.size,
        }

    def _fingerprint(self, state: Mapping[str, Tensor]) -> str:
        return fingerprint({name: tensor for name, tensor in state.items() if name not in self.trained})

    def _select(self, name: str, parameter: nn.Parameter) -> str:
        if name in self.shapes:
            return "mask"
        return "train" if name in self.trained else "freeze"


def backbone_state(masking: Masking) -> dict[str, Tensor]:
    """Tensors of the untouched backbone under a mask, by the names of its `state_dict`."""
    extra = masking.own_buffers()
    state = {name: value for name, value in masking.model.state_dict().items() if name not in extra}
    state.update({name: value for name, value in masking.before().items() if name in state})
    frozen = masking.frozen()
    for target in masking.targets:
        state.update(dict.fromkeys(target.names, frozen[target.name]))
    return state


def own_state(masking: Masking) -> dict[str, Tensor]:
    """What a task sets beside its masks: the trained parameters, and the buffers that are not the backbone's any more.

    They are the model's own tensors, not copies.
    """
    now, names = masking.model.state_dict(), dict(masking.model.named_parameters())
    return {
        name: now[name]
        for name, before in masking.before().items()
        if name in now and (name in names or not _same(now[name], before))
    }


def digest(masks: Mapping[str, Tensor]) -> str:
    """SHA-256 of the bits of masks by name."""
    digest = hashlib.sha256()
    for name in sorted(masks):
        digest.update(np.packbits(masks[name].detach().cpu().contiguous().numpy()).tobytes())
    return digest.hexdigest()


def _handle(model: nn.Module) -> Masking | None:
    try:
        return of(model)
    except ValueError:
        return None


def raw_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Bytes that tensors take in memory."""
    return sum(value.numel() * value.element_size() for value in tensors.values())


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and bool(torch.equal(first, second))


def _keeps_shapes(masking: Masking) -> bool:
    now = masking.model.state_dict()
    return all(name not in now or now[name].shape == value.shape for name, value in masking.before().items())
