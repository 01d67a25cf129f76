"""A task as it was read from its file: laid on a network, or looked at."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from submasking.masking.checks import require_module
from submasking.masking.handle import Masking
from submasking.masking.masks import mask, of
from submasking.masking.modes import forget
from submasking.masking.structure import aliases
from submasking.tasks.answer import require_same
from submasking.tasks.container import MaskFileError
from submasking.tasks.heads import CosineHead, require_width
from submasking.tasks.stored import Bits, Stored, digest


@dataclass(frozen=True, eq=False)
class TaskFile(Stored):
    """A mask file that was read; the mask itself is decoded when a backbone is at hand.

    Attributes:
        state: adapted norm buffers and trained parameters by name.
        head_state: tensors of the head.
    """

    state: dict[str, Tensor] = field(repr=False)
    head_state: dict[str, Tensor] = field(repr=False)

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
        beside = None if sibling is None else {name: _bits(~value) for name, value in sibling.items()}
        off = self.switched_off(weights, sibling=beside)
        return {name: torch.from_numpy(bits).logical_not() for name, bits in off.items()}

    @torch.no_grad()
    def apply(self, model: nn.Module | Masking, *, sibling: Mapping[str, Bool[Tensor, "..."]] | None = None) -> Masking:
        """Lay the task on its backbone, in place: masks, norm buffers and trained parameters; the head is `head`.

        How scores and norm statistics go on is no part of a task: to train it further, mask the backbone as it was
        masked (``norms="freeze"`` and the like), and lay the task on that.

        Args:
            model: the backbone, plain or masked by a task of the same selection, or the handle of that.
            sibling: see `masks`.

        Returns:
            The handle of the masked model; its `bake` and `unbake` end the loan.

        Raises:
            MaskFileError: it is another backbone, other parameters of it are masked, or a part of the task does not
                fit; the model is as before then.
        """
        model = model.model if isinstance(model, Masking) else model
        require_module(model)
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
        self.require_ties(model)
        self.require_said(model, state, masks)
        if masking is None:  # from here on nothing can go wrong
            masking = mask(model, self._select, rescale=self.rescale)
        masking.load_masks(masks)
        now = masking.model.state_dict()
        for name, value in (masking.before() | self.state).items():  # nothing of an earlier task stays
            if name in now:
                now[name].copy_(value)
        forget(model)
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

    def require_ties(self, model: nn.Module) -> None:
        """Raise `MaskFileError` unless parameters that were one when the task was saved are one in a model, too."""
        there = dict(model.named_parameters(remove_duplicate=False))
        for name, others in self.tied.items():
            apart = [other for other in others if there.get(other) is not there.get(name)]
            if apart:
                raise MaskFileError(
                    f"{apart[0]!r} was tied to {name!r} when the task was saved, and is not in this model; tie them, as"
                    " the model's constructor does"
                )

    def require_said(
        self, model: nn.Module, state: Mapping[str, Tensor], masks: Mapping[str, Bool[Tensor, "..."]]
    ) -> None:
        """Raise `MaskFileError` where the task says something else on a network than where it was saved.

        The tensors may be the same, and an activation or a stride another; see `submasking.tasks.answer`.

        Args:
            model: the network, on which nothing is changed.
            state: tensors of the backbone by name.
            masks: those of the task, decoded.
        """
        try:
            require_same(self.backbone["said"], model, state, masks, self.state, self.rescale)
        except ValueError as error:
            raise MaskFileError(str(error)) from None

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
        linear = nn.utils.skip_init(  # which draws no numbers
            nn.Linear, weight.shape[1], weight.shape[0], bias="bias" in self.head_state, dtype=weight.dtype
        )
        linear.load_state_dict(self.head_state)
        return linear.eval()

    def _select(self, name: str, parameter: nn.Parameter) -> str:
        if name in self.shapes:
            return "mask"
        return "train" if name in self.trained else "freeze"


def backbone_state(masking: Masking) -> dict[str, Tensor]:
    """Tensors of the untouched backbone under a mask, by the names of its `state_dict`."""
    extra, before, other = masking.own_buffers(), masking.before(), aliases(masking.model)
    now = masking.model.state_dict()
    state = {name: value for name, value in now.items() if other.get(name, name) not in extra}
    state.update({name: before[first] for name in state if (first := other.get(name, name)) in before})
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


def bits_digest(masks: Mapping[str, Tensor]) -> str:
    """SHA-256 of the bits of masks by name."""
    return digest({name: _bits(mask) for name, mask in masks.items()})


def _bits(mask: Tensor) -> Bits:
    return np.asarray(mask.detach().cpu().contiguous().numpy())


def _handle(model: nn.Module) -> Masking | None:
    try:
        return of(model)
    except ValueError:
        return None


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and bool(torch.equal(first, second))


def _keeps_shapes(masking: Masking) -> bool:
    now = masking.model.state_dict()
    return all(name not in now or now[name].shape == value.shape for name, value in masking.before().items())
