"""Masks that are updated while backward still runs, so that no more than a few gradients are held at once."""

import weakref
from functools import partial
from typing import Any

import torch
from torch import Tensor

from submasking.masking.optimizer import MaskSGD, check_finite
from submasking.masking.state import MaskState


class MaskSGDInBackward(MaskSGD):
    """`MaskSGD` that does the step of a tensor as soon as backward has its gradient, and then drops the gradient.

    So the gradients of all masked weights are never held at once, as much memory as these weights take, and the masks
    are the same. A step takes longer, and nothing can be done to the gradients between backward and step: clipping and
    ``GradScaler`` find none, each step has one backward, in one process.

    Args:
        masking, lr, momentum, compiled: as for `MaskSGD`.

    Raises:
        ValueError: as `MaskSGD`; in backward, if a gradient is not finite (tensors that backward reached before have
            taken their step by then), if a second backward comes before the step, or if several processes train.
    """

    def __init__(self, masking: MaskState, lr: float = 50.0, momentum: float = 0.9, *, compiled: bool = False) -> None:
        super().__init__(masking, lr, momentum, compiled=compiled)
        self._listen()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "masking" in state:  # a copy, whose parameters have no hooks; load_state_dict comes here too
            self._listen()

    def _listen(self) -> None:
        self._done: set[str] = set()
        self.register_step_post_hook(_ended)
        own = weakref.ref(self)  # an optimizer that is dropped stops learning
        for target in self.masking.targets:
            self.masking.parameter(target.name).register_post_accumulate_grad_hook(partial(_reached, own, target.name))

    @torch.no_grad()
    def reached(self, name: str, parameter: Tensor) -> None:
        """Do the step of one tensor in backward."""
        if self.masking.baked:
            return
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            raise ValueError(
                f"in_backward=True must train in one process; got {torch.distributed.get_world_size()}, whose gradients"
                " are not averaged yet when masks would be updated; use masking.optimizer(in_backward=False)"
            )
        if name in self._done:
            raise ValueError(
                f"in_backward=True must have one backward per step; a second one reached {name!r}; call step() after"
                " each; or accumulate gradients with masking.optimizer(in_backward=False), when nothing holds this"
                " optimizer any more, nor a scheduler of it"
            )
        if parameter.grad is None:
            raise ValueError(
                f"a gradient must be there for its hook; another optimizer in backward took that of {name!r}; use one"
                " of them"
            )
        inner = self._inner(name, parameter)
        check_finite([(name, parameter)], [inner])
        self.masking.require_ours(name, parameter)
        self._take(name, parameter, inner)
        parameter.grad = None
        self._done.add(name)

    def _received(self, live: list[tuple[str, Tensor]]) -> int:
        return len(self._done)  # by now their gradients are dropped


def _reached(own: "weakref.ref[MaskSGDInBackward]", name: str, parameter: Tensor) -> None:
    optimizer = own()
    if optimizer is not None:
        optimizer.reached(name, parameter)


def _ended(optimizer: torch.optim.Optimizer, *unused: Any) -> None:
    optimizer._done.clear()  # type: ignore[attr-defined]
