"""A model in masks as its optimizers see it: frozen weights, scores, and the masks that follow from them."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from submasking.masking.checks import SHARDED
from submasking.masking.criteria import Criterion, effective, write_effective
from submasking.masking.modes import forget
from submasking.masking.watch import Watch

FROZEN, SCORES = "_frozen", "_scores"
_WIDTH = torch.float32.itemsize
ROUNDED = 2**-6  # relative: two roundings to bfloat16, of weights that were cast and cast back
NEAR = 2**-12  # of the largest: what is left of adding something and taking it off again, as two steps of SAM do


class Target(NamedTuple):
    """One masked parameter: its name, every name it is tied to, its reporting group."""

    name: str
    names: tuple[str, ...]
    group: str


class MaskState:
    """The frozen weights and the scores of a masked model; `submasking.Masking` adds what is done with them.

    Both are buffers beside the parameter that they belong to (``conv1.weight_frozen``, ``conv1.weight_scores``).
    """

    def __init__(
        self,
        model: nn.Module,
        targets: tuple[Target, ...],
        criterion: Criterion,
        rescale: str,
        trained: tuple[str, ...] = (),
    ) -> None:
        self.model = model
        self.targets = targets
        self.criterion = criterion
        self.rescale = rescale
        self.trained = trained  # names of the parameters that learn as usual
        self.init = ""  # name of the start that the scores were learned from, "" where it is not known
        self.watch = Watch(trained)
        self._kept: dict[str, tuple[Tensor, Tensor]] | None = None
        self._places = {target.name: writes(self.parameter(target.name)) for target in targets}

    @property
    def baked(self) -> bool:
        """Whether the model was made plain again, by `bake` or `unbake`."""
        return self._kept is not None

    def parameter(self, name: str) -> nn.Parameter:
        """Return the model's parameter of this name, theta * M, as it is now.

        Args:
            name: of a masked parameter, one of the keys of `scores`.

        Raises:
            ValueError: if it is not where it was.
        """
        try:
            parameter = self.model.get_parameter(name)
        except AttributeError:
            raise self._gone(name) from None
        if type(parameter).__name__ == SHARDED:
            raise ValueError(
                f"a masked parameter must be whole; {name!r} was sharded after masking; use DistributedDataParallel"
            )
        frozen = getattr(*owner_of(self.model, name + FROZEN), None)  # none beside a trained one
        if frozen is not None and parameter.shape != frozen.shape:
            raise ValueError(
                f"a masked parameter must keep its shape {tuple(frozen.shape)}; {name!r} is {tuple(parameter.shape)}"
                " now, as sharding leaves it; use DistributedDataParallel, or change the model before it is masked"
            )
        return parameter

    def tensors(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the frozen weights theta and the scores S of one masked parameter, each of its shape, not copied.

        Args:
            name: of a masked parameter, one of the keys of `scores`.
        """
        if self._kept is not None:
            return self._kept[name]
        try:
            owner, attribute = owner_of(self.model, name)
            scores, frozen = owner.get_buffer(attribute + SCORES), owner.get_buffer(attribute + FROZEN)
        except AttributeError:
            raise self._gone(name) from None
        if scores.itemsize < _WIDTH:  # after model.to(torch.bfloat16): a step would round to nothing
            owner._buffers[attribute + SCORES] = scores = scores.float()
        return frozen, scores

    def frozen(self) -> dict[str, Float[Tensor, "*shape"]]:
        """Return the untouched weights theta by parameter name, not copied."""
        return {target.name: self.tensors(target.name)[0] for target in self.targets}

    def scores(self) -> dict[str, Float[Tensor, "*shape"]]:
        """Return the scores S by parameter name, not copied: what an ordinary optimizer is given (see `attach`).

        They are float32, or float64 where the weights are. Call `apply` after changing them by hand.
        """
        return {target.name: self.tensors(target.name)[1] for target in self.targets}

    def masks(self) -> dict[str, Bool[Tensor, "*shape"]]:
        """Return the masks M by parameter name: true where the weight is on."""
        return {name: self.criterion(scores) for name, scores in self.scores().items()}

    def sparsities(self) -> dict[str, float]:
        """Return, by parameter name, the share of maskable weights that are off, in [0, 1]."""
        return {name: off / max(maskable, 1) for name, (off, maskable) in self._counts().items()}

    def sparsity(self) -> float:
        """Return the share of all maskable weights that are off, in [0, 1]."""
        counts = self._counts().values()
        return sum(off for off, _ in counts) / max(sum(maskable for _, maskable in counts), 1)

    @torch.no_grad()
    def apply(self) -> None:
        """Write theta * M into the model, after scores were changed by hand.

        Raises:
            ValueError: if the model was baked.
        """
        self.require_masked()
        for target in self.targets:
            frozen, scores = self.tensors(target.name)
            parameter = self.parameter(target.name)
            write_effective(parameter, frozen, scores, self.criterion, self.rescale)
            self.wrote(target.name, parameter)
        forget(self.model)

    def wrote(self, name: str, parameter: Tensor) -> None:
        """Remember where a masked parameter is and how often it was written: what differs at the next step others did.

        Args:
            name: of a masked parameter.
            parameter: it, as it is now.
        """
        self._places[name] = writes(parameter)

    @torch.no_grad()
    def require_ours(self, name: str, parameter: Tensor) -> None:
        """Raise ``ValueError`` where others have put numbers into a masked parameter, which the next step would undo.

        That is what pruning does, and a load past the model's own `load_state_dict`. Moves, casts and copies put the
        same numbers elsewhere, or rounded ones. Where nobody has written, nothing is read but an address and a count;
        what is written through ``.data`` is not counted, and goes unnoticed until a task is saved.

        Args:
            name: of a masked parameter.
            parameter: it, before a step.
        """
        state = writes(parameter)
        if self._places.get(name) == state:
            return
        frozen, scores = self.tensors(name)
        wanted = effective(frozen, self.criterion(scores), self.rescale).to(parameter)
        off = (parameter == 0) & (wanted != 0)
        if bool(off.any()):
            raise ValueError(
                f"masks alone may switch weights off; {int(off.sum())} of {name!r} that are on were set to 0 since, as"
                " by prune.remove, and a step would bring them back; prune the model before it is masked, or after"
                " bake; or call masking.apply() to bring them back now, as after a cast that has rounded scores alike"
            )
        if not torch.allclose(parameter, wanted, rtol=ROUNDED, atol=NEAR * _largest(wanted), equal_nan=True):
            raise ValueError(
                f"masked weights must be the backbone's; others were written into {name!r} since, which a step would"
                " undo; load weights with the masked model's own load_state_dict, or before it is masked; or call"
                " masking.apply() to write the masked ones anew"
            )
        self._places[name] = state

    def _counts(self) -> dict[str, tuple[int, int]]:
        counts = {}
        for name, scores in self.scores().items():
            maskable = scores.numel() - int(torch.isposinf(scores).sum())
            counts[name] = (scores.numel() - int(self.criterion(scores).sum()), maskable)
        return counts

    def require_masked(self) -> None:
        """Raise ``ValueError`` once the model was baked or unbaked."""
        if self.baked:
            raise ValueError(
                "the model must be masked; this one was baked or unbaked; to go on with its masks, keep"
                " masking.masks(), call masking.unbake(), submasking.mask(...) as before, and load_masks with them"
            )

    def _gone(self, name: str) -> ValueError:
        after = "save before you" if self.baked else "after bake you may"
        return ValueError(
            f"a masked parameter must stay where it was; {name!r} is gone; undo that (as with prune.remove or"
            f" remove_parametrizations); {after} parametrize, prune, fuse or replace modules"
        )


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().nan_to_num(0.0, 0.0).max()) if tensor.numel() else 0.0


def writes(parameter: Tensor) -> tuple[int, int]:
    """Return where a tensor is and how often it was written, which differs once others have been there."""
    return parameter.data_ptr(), parameter._version


def owner_of(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the module that holds a parameter, and the attribute it holds it under."""
    path, _, attribute = name.rpartition(".")
    return model.get_submodule(path), attribute
