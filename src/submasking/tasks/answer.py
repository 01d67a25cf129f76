"""What a task's network says of a fixed picture: whether it is laid on the network that it was saved from.

Weights do not say what stands between them: an activation, a stride, how features are pooled. What comes out does.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from submasking.masking.criteria import effective
from submasking.masking.handle import Masking
from submasking.masking.structure import Hook, hooked, unhooked
from submasking.tasks.heads import ASSUMED, image_size, tried
from submasking.tasks.stored import KEPT, LARGEST

# how far apart features may be, as a share of their length, of weights of 32 bits and more and of fewer: bfloat16 was
# seen to move them by .06 at most, and TF32 of a GPU, with 3 more binary digits, moves them by an eighth of that
APART, APART_HALF = 0.02, 0.1
SAME = 1e-4  # a GPU adds in another order each time


def picture(size: int) -> Float[Tensor, "1 3 size size"]:
    """The picture: numbers in [-1, 1) that look like noise, the same on every machine since they come of integers."""
    return _noise(3 * size * size).reshape(1, 3, size, size).float()


def answer(masking: Masking, preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """What a masked network says of the picture, in eval mode and without hooks that came after masking.

    Args:
        masking: its handle; on the network nothing is changed.
        preprocessing: says the "size" of an image; a network of timm knows its own; else one is assumed.

    Returns:
        The "size" of the picture in pixels and "numbers", sums of all features with signs; nothing of a network that
        takes no pictures, gives no features, or not twice the same.

    Raises:
        ValueError: those hooks change the features, so that no file holds what the network computes.

    Warns:
        UserWarning: where there are such hooks, and it cannot be told what they do.
    """
    model = masking.model
    size, added = image_size(model, preprocessing) or ASSUMED[0], hooked(model) - masking.hooked
    large = size > LARGEST
    with unhooked(model, added):
        found, again = (None if large else _seen(model, size, seed=seed) for seed in range(2))
    # much closer than another network is: what draws a little at each call would be refused now and then
    same = found is not None and again is not None and torch.allclose(found, again, rtol=0, atol=SAME * found.norm())
    if added:
        _require_same(model, added, found if same else None, None if large else _seen(model, size))
    if found is None or not same:
        return {}
    return {"size": size, "numbers": [float(f"{number:.4g}") for number in found.tolist()]}


def require_same(
    known: Mapping[str, Any],
    model: nn.Module,
    frozen: Mapping[str, Tensor],
    masks: Mapping[str, Bool[Tensor, "..."]],
    state: Mapping[str, Tensor],
    rescale: str,
) -> None:
    """Raise `ValueError` where a task says something else on a network than it did where it was saved.

    Args:
        known: what `answer` has said there.
        model: the network, on which nothing is changed.
        frozen: tensors of the backbone by name; they are asked in the types that the network has now.
        masks: those of the task.
        state: what the task sets beside them.
        rescale: "none" or "variance".
    """
    if not known:
        return
    now = model.state_dict()
    masked = {name: effective(frozen[name], on.to(frozen[name].device), rescale) for name, on in masks.items()}
    tensors = {
        name: value.to(now[name].device, now[name].dtype if value.is_floating_point() else value.dtype)
        for name, value in {**frozen, **masked, **state}.items()
        if name in now
    }
    apart = differs(known, model, tensors)
    if apart is not None:
        raise ValueError(
            "a task must say what it said where it was saved; this network has the same tensors, but its features of a"
            f" fixed picture are {apart:.0%} of their length away: another activation, stride, pooling or the like"
            " stands between the tensors; build it as it was when it was masked, or, to lay the masks on this one"
            " anyway, call submasking.mask and load_masks with TaskFile.masks"
        )


def differs(known: Mapping[str, Any], model: nn.Module, tensors: Mapping[str, Tensor]) -> float | None:
    """How far the features of the picture are from those that are known, as a share of their length, where too far.

    Args:
        known: what `answer` has said.
        model: the network, on which nothing is changed.
        tensors: parameters and buffers by name that it has while it is asked.

    Returns:
        None where they agree, or it cannot be told.
    """
    found = _seen(model, known["size"], tensors) if known else None
    wanted = torch.tensor(known.get("numbers", []), dtype=torch.float64)
    if found is None or _close(found, wanted, model):
        return None
    return float((found - wanted).norm() / wanted.norm()) if len(found) == len(wanted) else math.inf


def _require_same(model: nn.Module, added: frozenset[Hook], without: Tensor | None, now: Tensor | None) -> None:
    """Refuse hooks that change the features."""
    where = f"{len(added)} forward hooks, or forwards of its own, of which one is at {min(added)[0] or 'the top'!r},"
    if without is None or now is None:
        warnings.warn(
            f"a task is stored without hooks; this model has {where} since it was masked; should they change what it"
            " computes, take them off, or register them again where the task is used",
            stacklevel=4,
        )
    elif not _close(without, now, model):
        raise ValueError(
            f"what is saved must be what the model computes; {where} came after masking and change its features; take"
            " them off, or mask a model that has them from the start and register them wherever the task is used"
        )


@torch.no_grad()
def _seen(
    model: nn.Module, size: int, tensors: Mapping[str, Tensor] | None = None, *, seed: int = 0
) -> Float[Tensor, " kept"] | None:
    """Sums of the features of the picture; None where there are none, or nothing but zeros or NaN."""
    like = next(model.parameters(), None)
    if like is None:
        return None
    own = hooked(model, all_own=True) - hooked(model)  # computes in another type
    # of whoever saves a task, or lays it on, in the midst of work
    with torch.autocast(like.device.type, enabled=False), unhooked(model, own):
        features = tried(model, picture(size).to(like), tensors, seed=seed)
    if features is None or not features.is_floating_point():
        return None
    width = features.shape[1]
    signs = _noise(KEPT * width).reshape(KEPT, width).sign()
    sums = signs @ features[0].double().cpu()
    return sums if bool(sums.isfinite().all()) and float(sums.norm()) > 0 else None


def _noise(count: int) -> Float[Tensor, " count"]:
    """Numbers in [-1, 1) without a pattern: places, multiplied and folded twice as hashes do."""
    mixed = torch.arange(1, count + 1) * 2_654_435_761 % 2**32
    for shift, factor in ((16, 2_246_822_519), (13, 3_266_489_917)):
        mixed = (mixed ^ (mixed >> shift)) * factor % 2**32
    return (mixed ^ (mixed >> 16)).double().div(2**31).sub(1)


def _close(first: Tensor, second: Tensor, model: nn.Module) -> bool:
    apart = APART if next(model.parameters()).itemsize >= torch.float32.itemsize else APART_HALF
    return len(first) == len(second) and float((first - second).norm()) <= apart * float(second.norm())
