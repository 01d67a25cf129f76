"""What happens to the running statistics of norm layers while masks are learned (protocol, "The method")."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

POLICIES = ("adapt", "freeze")


class _StayInEval:
    """Stands in for a norm layer's ``train`` method, so that ``model.train()`` leaves the layer in eval mode."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def __call__(self, mode: bool = True) -> nn.Module:
        return self.layer


def keep_in_eval(model: nn.Module, policy: str) -> None:
    """Apply a policy: "adapt" changes nothing, "freeze" puts every norm with running statistics in eval mode to stay.

    Raises:
        ValueError: for another policy.
    """
    if policy not in POLICIES:
        raise ValueError(f"norms must be one of {', '.join(POLICIES)}; got {policy!r}; the paper lets them adapt")
    if policy == "freeze":
        for layer in _norms(model):
            layer.eval()
            layer.__dict__["train"] = _StayInEval(layer)


def let_train(model: nn.Module) -> None:
    """Undo `keep_in_eval`: norms follow ``model.train()`` and ``model.eval()`` again."""
    for layer in _norms(model):
        if layer.__dict__.pop("train", None) is not None:
            layer.train(model.training)


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Any]) -> None:
    """Replace the running statistics of all norms by plain averages over these batches.

    The third policy beside adapt and freeze: train with frozen statistics, then recalibrate under the final masks.

    Args:
        model: any module; it is called with each batch, its other layers in eval mode.
        batches: what the model is called with, one positional argument each; at least one batch.
    """
    layers = list(_norms(model))
    before = [(module, module.training) for module in model.modules()]
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.training, layer.momentum = True, None
    seen = sum(1 for batch in batches if model(batch) is not None)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    for module, training in before:
        module.training = training
    if not seen:
        raise ValueError("recalibration needs at least one batch; got none; pass a list, not a spent iterator")


def _norms(model: nn.Module) -> Iterable[_BatchNorm]:
    return (m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats)
