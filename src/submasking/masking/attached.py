"""Lets any torch optimizer over the scores train the masks (draft, equation 3 with another update rule)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from submasking.masking import strays
from submasking.masking.criteria import mask_gradient
from submasking.masking.optimizer import check_finite, dense_gradient
from submasking.masking.state import MaskState


def attach(masking: MaskState, optimizer: torch.optim.Optimizer) -> None:
    """Register what an optimizer over the scores must do before and after each step: see `Masking.attach`."""
    _check_holds(masking, optimizer)
    outside: dict[str, Tensor] = {}
    optimizer.register_step_pre_hook(partial(_before_step, masking, outside))
    optimizer.register_step_post_hook(partial(_after_step, masking, outside))
    optimizer.zero_grad = partial(_zero_grad, masking, optimizer.zero_grad)  # type: ignore[method-assign]


def _zero_grad(masking: MaskState, theirs: Callable[..., None], *arguments: Any, **keywords: Any) -> None:
    """Clear the gradients of the weights with those of the scores: a batch that is discarded stays discarded."""
    theirs(*arguments, **keywords)
    if not masking.baked:
        _clear(masking)


def _check_holds(masking: MaskState, optimizer: torch.optim.Optimizer) -> None:
    held = {id(tensor) for group in optimizer.param_groups for tensor in group["params"]}
    absent = [name for name, scores in masking.scores().items() if id(scores) not in held]
    if absent:
        raise ValueError(
            f"an attached optimizer must hold every score tensor; it lacks {len(absent)}, first {absent[0]!r};"
            " make it over masking.scores().values(), anew when the model was moved, cast or loaded with assign=True"
        )


def _before_step(
    masking: MaskState, outside: dict[str, Tensor], optimizer: torch.optim.Optimizer, arguments: Any, keywords: Any
) -> Any:
    masking.require_masked()
    _check_holds(masking, optimizer)
    for target in masking.targets:
        masking.require_ours(target.name, masking.parameter(target.name))
    outside.update({name: torch.isposinf(scores) for name, scores in masking.scores().items()})
    strays.learns(masking)
    masking.watch.look(masking.model)
    given = "closure" in keywords
    closure = keywords["closure"] if given else arguments[1] if len(arguments) > 1 else None
    if closure is None:
        _pass_gradients(masking)
        return None
    evaluated = partial(_evaluate, masking, closure)
    if given:
        return arguments, {**keywords, "closure": evaluated}
    return (arguments[0], evaluated, *arguments[2:]), keywords


def _evaluate(masking: MaskState, closure: Callable[[], Any]) -> Any:
    """Call a closure under the masks of the scores as they are now; it may be called several times in a step."""
    masking.apply()
    _clear(masking)
    loss = closure()
    _pass_gradients(masking)
    return loss


@torch.no_grad()
def _pass_gradients(masking: MaskState) -> None:
    pairs = [(target.name, masking.parameter(target.name)) for target in masking.targets]
    masking.watch.require_gradients(sum(parameter.grad is not None for _, parameter in pairs))
    check_finite(pairs)
    for target in masking.targets:
        gradient = dense_gradient(masking.parameter(target.name))
        frozen, scores = masking.tensors(target.name)
        scores.grad = (
            None if gradient is None else mask_gradient(gradient, frozen, masking.criterion(scores), masking.rescale)
        )


@torch.no_grad()
def _after_step(masking: MaskState, outside: dict[str, Tensor], *unused: Any) -> None:
    for name, scores in masking.scores().items():  # weight decay has made NaN of infinity minus infinity
        scores.masked_fill_(outside.pop(name), float("inf"))
    masking.apply()
    _clear(masking)
    for scores in masking.scores().values():
        scores.grad = None


def _clear(masking: MaskState) -> None:
    for target in masking.targets:
        masking.parameter(target.name).grad = None
