"""Notices optimizers that hold a model's masked weights or scores and cannot learn its masks.

One over ``model.parameters()`` fine-tunes the frozen network without a word, and one over the scores that was not
attached has no gradients at all. Both look like training. Said once, after `PATIENCE` steps in which nothing has
learnt masks; looking at a step of an optimizer that is known costs a look-up.
"""

import warnings
import weakref
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

PATIENCE = 3  # steps


class Masked(Protocol):
    """What is asked of the handle of a masked model."""

    @property
    def baked(self) -> bool: ...

    def scores(self) -> dict[str, Tensor]: ...
    def parameter(self, name: str) -> nn.Parameter: ...


_handles: "weakref.WeakSet[Any]" = weakref.WeakSet()  # whose masks nothing has learnt yet
_steps: "weakref.WeakKeyDictionary[torch.optim.Optimizer, int]" = weakref.WeakKeyDictionary()
_hook: Any = None


def expect(handle: Masked) -> None:
    """Look at the steps of all optimizers until one learns the masks of this handle."""
    global _hook
    if _hook is None:
        _hook = register_optimizer_step_post_hook(_after)
    _handles.add(handle)


def learns(handle: Masked) -> None:
    """Note that something learns the masks of this handle: nobody needs to be told how."""
    _handles.discard(handle)


def _after(optimizer: torch.optim.Optimizer, *unused: Any) -> None:
    if not _handles:
        return
    count = _steps[optimizer] = _steps.get(optimizer, 0) + 1
    if count != PATIENCE:
        return
    held = {id(tensor) for group in optimizer.param_groups for tensor in group["params"]}
    for handle in list(_handles):
        if not handle.baked and (said := _fault(handle, held)):
            _handles.discard(handle)
            warnings.warn(f"masks must be learnt by an optimizer of theirs; {said}", stacklevel=5)


def _fault(handle: Masked, held: set[int]) -> str:
    try:
        scores = handle.scores()
        weights = [name for name in scores if id(handle.parameter(name)) in held]
    except (ValueError, AttributeError):  # the model has been taken apart
        return ""
    if weights:
        return (
            f"one of yours holds {len(weights)} masked parameters, first {weights[0]!r}, whose weights it changes"
            " instead; use masking.optimizers(), and an optimizer of your own over the other parameters only"
        )
    if any(id(each) in held and each.grad is None for each in scores.values()):
        return "one of yours holds scores, which get no gradients before masking.attach(optimizer)"
    return ""
