"""Notices a trained parameter that no optimizer moves: a classifier left at its random start is easily overlooked."""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn

PATIENCE = 3  # whole steps that nobody has moved it
LAST = 10  # the step after which nobody looks any more
_SAMPLE = 64


class _Seen(NamedTuple):
    """A parameter at the first step that had a gradient for it."""

    step: int
    same: tuple[int, torch.device]
    version: int
    values: Tensor
    gradient: Tensor


class Watch:
    """Looks at the trained parameters at each of the first steps of the masks, and warns once.

    An optimizer that steps raises the parameter's version; fused ones, and those that write to ``.data``, do not, so
    some of its numbers are compared too, once there is something to warn of. It does not matter whether the parameters
    are stepped before or after the masks: what counts is that they are, between two looks.

    Args:
        names: of the trained parameters.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.step = 0
        self.told = False
        self._all = names
        self._known: dict[str, int] = {}
        self._seen: dict[str, _Seen] = {}

    def look(self, model: nn.Module) -> None:
        """Look once, at the start of a step of the masks.

        After `LAST` steps, or a warning, it only looks whether a trained parameter is another one than before, such as
        that of a new classifier, which optimizers of the old one do not move; then all begins anew for this one.

        Args:
            model: the masked one, after backward.
        """
        found = {name: id(parameter) for name in self._all if (parameter := _parameter(model, name)) is not None}
        new = tuple(name for name in found if self._known.get(name, found[name]) != found[name])
        self._known = found
        if new:
            self.names, self.step = tuple(dict.fromkeys((*self.names, *new))), 0
            self._seen = {}
        if not self.names:
            return
        self.step += 1
        there = dict(model.named_parameters(remove_duplicate=False))  # a classifier may have been taken off
        self.names = tuple(name for name in self.names if name in there and not self._moved(name, there[name]))
        resting = [name for name in self.names if self._rests(name, there[name])]
        if resting:
            warnings.warn(
                f"trained parameters must have an optimizer; {len(resting)} of them, first {resting[0]!r}, had"
                f" gradients for {PATIENCE} steps and stayed as they were; step all of masking.optimizers(...), or"
                " freeze them",
                stacklevel=5,  # behind what torch puts around a step
            )
        if resting or not self.names or self.step >= LAST:
            self.names, self._seen = (), {}

    def require_gradients(self, count: int) -> None:
        """Warn once, at the first step in which no masked parameter has a gradient: the masks stay as they are.

        Args:
            count: number of masked parameters that have one.
        """
        if count or self.told:
            return
        self.told = True
        warnings.warn(
            "a step must have gradients; none of the masked parameters has one, so no mask changes; call backward"
            " before each step, set requires_grad again where somebody has taken it off them"
            " (parameter.requires_grad_()), and where a checkpointed part begins with frozen layers use"
            " checkpoint(use_reentrant=False)",
            stacklevel=5,
        )

    def _moved(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether a parameter has changed since it was first seen, which is when it first has a gradient."""
        seen = self._seen.get(name)
        same = id(parameter), parameter.device  # a copy, or one that was moved, is another
        if seen is not None and seen.same == same:
            return seen.version != parameter._version
        if parameter.requires_grad and parameter.grad is not None:
            self._seen[name] = _Seen(self.step, same, parameter._version, _sample(parameter), _sample(parameter.grad))
        return False

    def _rests(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether a parameter has new gradients and the numbers that it had; reading them waits for a GPU."""
        seen = self._seen.get(name)
        if seen is None or self.step < seen.step + PATIENCE or not parameter.requires_grad or parameter.grad is None:
            return False
        # the same gradient is one that an earlier backward left: nothing is learnt from this parameter
        return bool((seen.values == _sample(parameter)).all()) and bool(
            (seen.gradient != _sample(parameter.grad)).any()
        )


def _parameter(model: nn.Module, name: str) -> nn.Parameter | None:
    path, _, attribute = name.rpartition(".")
    try:
        return model.get_submodule(path)._parameters.get(attribute)
    except AttributeError:
        return None


def _sample(tensor: Tensor) -> Tensor:
    flat = (tensor.to_dense() if tensor.is_sparse else tensor).detach().reshape(-1)
    return flat[:: max(flat.numel() // _SAMPLE, 1)].clone()
