"""Rivals of a mask: few weights that learn beside, or instead of, a frozen network.

Norm-only tuning, BitFit (arXiv:2106.10199), and from peft LoRA (arXiv:2106.09685) and LoRA of one bit, whose
factors are signs times a scale per tensor while they learn (after arXiv:2307.16867).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from submasking.learning.adapt import Adapted, adapt
from submasking.learning.augment import Style
from submasking.learning.backbone import Backbone
from submasking.learning.images import ImageSet
from submasking.masking.selection import resolve
from submasking.records.profiles import Optimisation

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
RANK, RANK_OF_ONE_BIT = 4, 16
ADAPTER = ".lora_"  # in the names of what peft adds


@dataclass(frozen=True)
class Rival:
    """One way to add little to a frozen network.

    Attributes:
        kind: "norms" and "biases" learn what there is, "lora" adds factors of `rank`.
        rank: of the factors.
        one_bit: whether factors are signs times a scale per tensor.
    """

    kind: str
    rank: int = 0
    one_bit: bool = False


RIVALS = {
    "norms": Rival("norms"),
    "biases": Rival("biases"),
    "LoRA": Rival("lora", RANK),
    "one-bit LoRA": Rival("lora", RANK_OF_ONE_BIT, one_bit=True),
}


class OneBit(nn.Module):
    """Signs times their mean size; the gradient passes through."""

    def forward(self, weight: Tensor) -> Tensor:
        """Weight of any shape -> the same shape, of one size."""
        return weight + (weight.sign() * weight.abs().mean() - weight).detach()


def prepared(
    backbone: Backbone, rival: Rival, seed: int, without: Collection[str] = ()
) -> tuple[Backbone, Callable[[str, nn.Parameter], str]]:
    """A copy of the backbone that holds what the rival adds, and the selection of what learns in it.

    Args:
        backbone: the network.
        rival: what is to be added.
        seed: of what is added.
        without: names of parameters beside which nothing is added.
    """
    trunk = copy.deepcopy(backbone.trunk)
    masked = [name for name, decision in resolve(backbone.preset, trunk).items() if decision.action == "mask"]
    if rival.kind == "norms":
        chosen = {
            f"{name}.{own}"
            for name, module in trunk.named_modules()
            if isinstance(module, NORMS)
            for own, _ in module.named_parameters(recurse=False)
        }
    elif rival.kind == "biases":
        chosen = {name for name, _ in trunk.named_parameters() if name.rpartition(".")[2].endswith("bias")}
    else:
        layers = sorted({_layer(name) for name in masked if name not in without})
        trunk = _with_adapters(trunk, rival, layers, seed)
        chosen = {name for name, _ in trunk.named_parameters() if ADAPTER in name}
    return replace(backbone, trunk=trunk), lambda name, parameter: "mask" if name in chosen else "freeze"


def _layer(parameter: str) -> str:
    """Name of the layer that peft knows a parameter by; attention is one layer with its output projection."""
    return parameter.rpartition(".")[0].removesuffix(".out_proj")


def _with_adapters(trunk: nn.Module, rival: Rival, layers: list[str], seed: int) -> nn.Module:
    import peft  # an extra: whoever asks for no adapter does not need it

    config = peft.LoraConfig(r=rival.rank, lora_alpha=rival.rank, target_modules=layers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(config, trunk)
    if rival.one_bit:
        for name, module in list(trunk.named_modules()):
            if ADAPTER in name and hasattr(module, "weight"):
                parametrize.register_parametrization(module, "weight", OneBit())
    return trunk


def learned(
    backbone: Backbone, images: ImageSet, rival: Rival, plan: Optimisation, *, batch_size: int, style: Style,
    seed: int, device: str, label: str,
) -> Adapted:  # fmt: skip
    """Train a rival with a new head."""
    start, select = prepared(backbone, rival, seed)
    return adapt(
        start, images, "FFT", plan, select=select, style=style, batch_size=batch_size, seed=seed, device=device,
        label=label, progress=False,
    )  # fmt: skip
