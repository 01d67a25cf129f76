"""What a training did to a network: which weights its mask switched off, or whose sign fine-tuning turned.

From the start theta^2 a mask keeps a weight while the weight that plain SGD would make of it keeps its sign (book,
appendix of proofs), so masks and fine-tuning are described by the same numbers and can be laid over each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from submasking.learning.adapt import Adapted

PARTS = 10  # by size, within each tensor
Masks = dict[str, Bool[Tensor, "..."]]


def kept(before: nn.Module, adapted: Adapted) -> Masks:
    """True where a mask keeps a weight, or where fine-tuning kept its sign; empty where nothing was trained."""
    if adapted.masking is not None:
        return {name: mask.clone() for name, mask in adapted.masking.masks().items()}
    old = dict(before.named_parameters())
    after = {name: value for name, value in adapted.trunk.named_parameters() if value.requires_grad and name in old}
    # a weight of zero has no sign to lose
    return {name: (old[name] == 0) | (old[name].sign() == value.detach().sign()) for name, value in after.items()}


def weights(before: nn.Module, masks: Masks) -> dict[str, Tensor]:
    """The untouched weights of these names."""
    old = dict(before.named_parameters())
    return {name: old[name].detach() for name in masks}


def told(before: nn.Module, adapted: Adapted) -> dict[str, Any]:
    """What a training did, in numbers.

    Args:
        before: the untouched network.
        adapted: what became of it.

    Returns:
        "layers": by name of a tensor the weights that went ("off", or their sign turned) and all there are. "sizes":
        shares of the tenths of each tensor's weights from the smallest to the largest that went. "negative": share of
        those that went which are negative. "norms": how far running means moved in standard deviations, and running
        variances in logarithms, each the mean of the absolute values over all channels.
    """
    found: dict[str, Any] = {"norms": _norms(before, adapted.trunk)}
    masks = kept(before, adapted)
    if not masks:
        return found
    old = weights(before, masks)
    gone, whole = torch.zeros(PARTS), torch.zeros(PARTS)
    negative = 0
    for name, mask in masks.items():
        order = old[name].abs().flatten().argsort()
        parts = torch.arange(len(order)) * PARTS // len(order)
        off = ~mask.flatten()
        gone.index_add_(0, parts, off[order].float())
        whole.index_add_(0, parts, torch.ones(len(order)))
        negative += int((off & (old[name].flatten() < 0)).sum())
    found["layers"] = {name: [int((~mask).sum()), mask.numel()] for name, mask in masks.items()}
    found["sizes"] = [round(float(share), 6) for share in gone / whole.clamp_min(1)]
    found["negative"] = negative / max(int(gone.sum()), 1)
    return found


def overlap(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, float]:
    """How far two sets of masks agree on what goes.

    Args:
        one: true where a weight stays, by tensor.
        other: of the same tensors.

    Returns:
        "first" and "second": shares of the weights that go in each. "both": share that goes in both. "chance": what
        that would be if each tensor's weights went independently. "agreement": (both - chance) / (most - chance),
        where most is the smaller of the two shares in each tensor: 0 for chance, 1 where one set lies in the other.

    Raises:
        ValueError: other tensors.
    """
    if one.keys() != other.keys():
        raise ValueError(
            f"masks must be of the same tensors, {min(one.keys() ^ other.keys())!r} is in one only; select both alike"
        )
    total = sum(mask.numel() for mask in one.values())
    first = second = both = chance = most = 0.0
    for name, mask in one.items():
        a, b = ~mask, ~other[name]
        of_a, of_b, count = int(a.sum()), int(b.sum()), mask.numel()
        first, second, both = first + of_a, second + of_b, both + int((a & b).sum())
        chance, most = chance + of_a * of_b / count, most + min(of_a, of_b)
    return {
        "first": first / total, "second": second / total, "both": both / total, "chance": chance / total,
        "agreement": (both - chance) / (most - chance) if most > chance else float("nan"),
    }  # fmt: skip


def _norms(before: nn.Module, after: nn.Module) -> dict[str, float]:
    new = dict(after.named_modules())
    means, spreads = [], []
    for name, module in before.named_modules():
        if (mean := getattr(module, "running_mean", None)) is not None:
            spread, other = module.running_var, new[name]
            means.append((other.running_mean - mean).abs() / (spread + module.eps).sqrt())
            spreads.append(((other.running_var + module.eps) / (spread + module.eps)).log().abs())
    if not means:
        return {}
    return {"mean": float(torch.cat(means).mean()), "variance": float(torch.cat(spreads).mean())}
