"""What happens to the running statistics of norm layers while masks are learned (protocol, "The method")."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

POLICIES = ("adapt", "freeze")


class _StayInEval:
    """Stands in for a norm layer's ``train`` method, so that ``model.train()`` leaves the layer in eval mode."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def __call__(self, mode: bool = True) -> nn.Module:
        return self.layer


class _TrainAllButNorms:
    """Stands in for a model's ``train`` method: norms that took the place of others, as SyncBatchNorm, stay in eval."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, mode: bool = True) -> nn.Module:
        type(self.model).train(self.model, mode)
        _hold(self.model)
        return self.model


def keep_in_eval(model: nn.Module, policy: str) -> None:
    """Apply a policy: "adapt" changes nothing, "freeze" puts every norm with running statistics in eval mode to stay.

    Norms that are put in later are held from the next ``model.train()`` on.

    Raises:
        ValueError: for another policy.
    """
    if policy not in POLICIES:
        raise ValueError(
            f"norms must be one of {', '.join(POLICIES)}; got {policy!r}; the paper lets them adapt; to"
            " recalibrate, freeze them and call submasking.recalibrate after training"
        )
    if policy == "freeze":
        model.__dict__["train"] = _TrainAllButNorms(model)
        _hold(model)


def let_train(model: nn.Module) -> None:
    """Undo `keep_in_eval`: norms follow ``model.train()`` and ``model.eval()`` again."""
    if isinstance(model.__dict__.get("train"), _TrainAllButNorms):
        del model.__dict__["train"]
    for layer in _norms(model):
        if layer.__dict__.pop("train", None) is not None:
            layer.train(model.training)


def _hold(model: nn.Module) -> None:
    for layer in _norms(model):
        layer.eval()
        layer.__dict__["train"] = _StayInEval(layer)


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Any]) -> None:
    """Replace the running statistics of all norms by plain averages over these batches.

    The third policy beside adapt and freeze: train with frozen statistics, then recalibrate under the final masks.

    Args:
        model: any module; it is called with each batch, its other layers in eval mode; batch and instance norms that
            track statistics are recalibrated.
        batches: what the model is called with, one positional argument each; at least one batch.

    Raises:
        ValueError: if there is no batch. Then, and when the model raises, the statistics stay as they were.
    """
    layers = list(_norms(model))
    before = [(module, module.training) for module in model.modules()]
    held = [(layer.momentum, [buffer.clone() for buffer in layer.buffers(recurse=False)]) for layer in layers]
    seen = 0
    try:
        model.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.training, layer.momentum = True, None
        for batch in batches:
            if isinstance(batch, list | tuple) and len(batch) == 2 and not torch.is_floating_point(batch[1]):
                raise ValueError(
                    f"a batch must be what the model is called with; got a {type(batch).__name__} of images and labels;"
                    " pass such as (images for images, labels in loader)"
                )
            model(batch)
            seen += 1
    except BaseException:
        seen = 0
        raise
    finally:
        for layer, (momentum, buffers) in zip(layers, held, strict=True):
            layer.momentum = momentum
            for buffer, value in zip(layer.buffers(recurse=False), buffers, strict=True):
                if not seen:
                    buffer.copy_(value)
        for module, training in before:
            module.training = training
    if not seen:
        raise ValueError("recalibration needs at least one batch; got none; pass a list, not a spent iterator")


def _norms(model: nn.Module) -> Iterable[_NormBase]:
    return (m for m in model.modules() if isinstance(m, _NormBase) and m.track_running_stats)
