"""What a task's network says of a fixed picture: whether it is laid on the network that it was saved from.

Weights do not say what stands between them: an activation, a stride, how features are pooled. What comes out does.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from submasking.masking.handle import Masking
from submasking.masking.structure import hooked, unhooked
from submasking.tasks.heads import image_size, tried
from submasking.tasks.stored import KEPT, LARGEST

# how far apart features may be, as a share of their length; TF32 of a GPU moves them by some tenths of a percent
APART, APART_HALF = 0.01, 0.05  # of weights of 32 bits and more, and of fewer


def picture(size: int) -> Float[Tensor, "1 3 size size"]:
    """The picture: numbers in [-1, 1) that look like noise, the same on every machine since they come of integers."""
    places = torch.arange(3 * size * size)
    return ((places * 2_654_435_761) % 2**32).double().div(2**31).sub(1).reshape(1, 3, size, size).float()


def answer(model: nn.Module, preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """What a network says of the picture, in eval mode: the "size" of it in pixels, and some "numbers" of its features.

    Args:
        model: the network, on which nothing is changed.
        preprocessing: says the "size" of an image; a network of timm knows its own.

    Returns:
        Nothing of a network that takes no pictures, gives no features, or not twice the same.
    """
    size = image_size(model, preprocessing)
    if size is None or size > LARGEST:
        return {}
    found, again = _seen(model, size), _seen(model, size)
    if found is None or again is None or not _close(found, again, model):
        return {}
    return {"size": size, "numbers": [float(f"{number:.4g}") for number in found.tolist()]}


def differs(known: Mapping[str, Any], model: nn.Module, tensors: Mapping[str, Tensor]) -> float | None:
    """How far the features of the picture are from those that are known, as a share of their length, where too far.

    Args:
        known: what `answer` has said.
        model: the network, on which nothing is changed.
        tensors: parameters and buffers by name that it has while it is asked.

    Returns:
        None where they agree, or it cannot be told.
    """
    found = _seen(_With(model, tensors), known["size"]) if known else None
    wanted = torch.tensor(known.get("numbers", []))
    if found is None or _close(found, wanted, model):
        return None
    return float((found - wanted).norm() / wanted.norm()) if len(found) == len(wanted) else math.inf


def require_without_hooks(masking: Masking, preprocessing: Mapping[str, Any]) -> None:
    """Raise `ValueError` where hooks that came after masking change what a network computes: no file holds these.

    Args:
        masking: the handle of the masked model.
        preprocessing: see `answer`.

    Warns:
        UserWarning: where there are such hooks, and it cannot be told what they do.
    """
    model = masking.model
    added = hooked(model) - masking.hooked
    if not added:
        return
    where = f"{len(added)} forward hooks, or forwards of its own, of which one is at {min(added)[0] or 'the top'!r},"
    now = answer(model, preprocessing)
    with unhooked(model, added):
        without = answer(model, preprocessing)
    if not now or not without:
        warnings.warn(
            f"a task is stored without hooks; this model has {where} since it was masked; should they change what it"
            " computes, take them off, or register them again where the task is used",
            stacklevel=3,
        )
    elif not _close(torch.tensor(now["numbers"]), torch.tensor(without["numbers"]), model):
        raise ValueError(
            f"what is saved must be what the model computes; {where} came after masking and change its features; take"
            " them off, or mask a model that has them from the start and register them wherever the task is used"
        )


class _With(nn.Module):
    """A network with other tensors than its own."""

    def __init__(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model, self.tensors = model, dict(tensors)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Any:
        return functional_call(self.model, self.tensors, (images,))


@torch.no_grad()
def _seen(model: nn.Module, size: int) -> Float[Tensor, " kept"] | None:
    """Some of the features of the picture; None where there are none, or nothing but zeros or NaN."""
    like = next(model.parameters(), None)
    if like is None:
        return None
    with torch.autocast(like.device.type, enabled=False):  # of whoever saves or lays on a task in the midst of work
        features = tried(model, picture(size).to(like))
    if features is None or not features.is_floating_point():
        return None
    some = features[0, :: max(features.shape[1] // KEPT, 1)][:KEPT].float().cpu()
    return some if bool(some.isfinite().all()) and float(some.norm()) > 0 else None


def _close(first: Tensor, second: Tensor, model: nn.Module) -> bool:
    if len(first) != len(second):
        return False
    apart = APART if next(model.parameters()).itemsize >= torch.float32.itemsize else APART_HALF
    return float((first - second).norm()) <= apart * float(second.norm())
