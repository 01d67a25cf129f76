"""Where the classifier of a network is: what is new in a network that was pretrained on other classes."""

from collections.abc import Iterator
from typing import Any

from torch import nn

NAMES = (
    "fc", "head", "heads", "head_dist", "classifier", "classif", "last_linear", "logits", "cls_head", "linear_head",
)  # fmt: skip
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# what may stand behind the last layer of a classifier; behind an activation it is a layer among others
_WITHOUT_WEIGHTS = (nn.Dropout, nn.Flatten, nn.Identity, nn.LogSoftmax, nn.Softmax)
_PROJECTIONS = ("proj", "mlp")  # open_clip's way into the space of the texts is called head, and is pretrained


def last_layers(model: nn.Module) -> list[nn.Module]:
    """Return the last layer of each classifier of a model: a Linear, or a convolution of one pixel.

    A network of timm says itself where its classifiers are. Else they have a name that is usual for them, else a
    Linear that ends the model is one. A module around a single network is looked through.

    Args:
        model: any module.

    Returns:
        None for a model without a classifier, two for a distilled one, mostly one.
    """
    for found in (_said_by_timm(model), _named(model), _at_the_end(model)):
        if found is not None:
            return [layer for module in found for layer in list(_linear(module))[-1:]]
    wrapped = [child for child in model.children() if any(True for _ in child.parameters())]
    return last_layers(wrapped[0]) if len(wrapped) == 1 else []


def _said_by_timm(model: nn.Module) -> list[nn.Module] | None:
    ask: Any = getattr(model, "get_classifier", None)
    if callable(ask):
        said = ask()
        said = said if isinstance(said, (tuple, list)) else (said,)
        return [module for module in said if isinstance(module, nn.Module)]
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    said = config.get("classifier") if isinstance(config, dict) else None
    paths = (said,) if isinstance(said, str) else said or ()
    modules = dict(model.named_modules())
    return [modules[path] for path in paths if path in modules] or None


def _named(model: nn.Module) -> list[nn.Module] | None:
    return [child for name, child in model.named_children() if name in NAMES] or None


def _at_the_end(model: nn.Module) -> list[nn.Module] | None:
    children = [child for child in model.children() if not isinstance(child, _WITHOUT_WEIGHTS)]
    # the linear layer that ends attention is a part of it
    last = children[-1] if children and not isinstance(model, nn.MultiheadAttention) else None
    if isinstance(last, nn.Sequential):
        return _at_the_end(last)
    return [last] if isinstance(last, nn.Linear) else None


def _linear(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers of a classifier that a class can have a row of, first to last."""
    if isinstance(module, nn.Linear) or (isinstance(module, _CONVOLUTIONS) and set(module.kernel_size) == {1}):
        yield module
    for name, child in module.named_children():
        if name not in _PROJECTIONS:
            yield from _linear(child)
