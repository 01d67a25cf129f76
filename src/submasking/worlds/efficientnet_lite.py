"""The packaged EfficientNet-Lite0 as timm's network: the names of one are turned into those of the other by rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from submasking.files import weights as files
from submasking.worlds import packaged

# The package numbers its norms from 0, timm from 1; a first block has no expansion, so its names mean other layers.
_AROUND = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_EXPANDED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def build(options: Mapping[str, Any], path: Path | None) -> nn.Module:
    """The network with its classifier of 1000 ImageNet classes.

    Args:
        options: what timm is told besides the network's own.
        path: the package's file of weights, where every tensor must find its place and every place its tensor; None
            leaves the weights as they are drawn.

    Raises:
        ValueError: the file holds other tensors.
        TypeError: an option that the network does not have.
    """
    network = timm.create_model(packaged.NETWORK, pretrained=False, **(packaged.OPTIONS | dict(options)))
    if path is not None:
        try:
            network.load_state_dict(renamed(files.read(path), network), strict=True)
        except RuntimeError as error:  # torch names what is missing, left over or of another shape
            said = " ".join(str(error).split())
            raise ValueError(f"{path} must hold the weights of {packaged.NAME}; {said}; install it again") from error
    return network


def renamed(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The package's tensors under timm's names.

    Args:
        tensors: by the package's names; blocks are counted through.
        network: timm's; its blocks are counted within their stage.

    Raises:
        ValueError: a name that no rule knows, or two tensors for one place.
    """
    places = [f"blocks.{stage}.{block}" for stage, block in _blocks(network)]
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        place = _place(name, tensors, places)
        if place in found:
            raise ValueError(f"{packaged.NAME} must have one tensor for {place}, {name} is a second; install it again")
        found[place] = value
    return found


def _blocks(network: nn.Module) -> Iterator[tuple[int, int]]:
    for stage, blocks in enumerate(network.get_submodule("blocks").children()):
        for block, _ in enumerate(blocks.children()):
            yield stage, block


def _place(name: str, tensors: Mapping[str, Tensor], places: list[str]) -> str:
    """Timm's name of one of the package's tensors."""
    first, _, rest = name.partition(".")
    if first in _AROUND:
        return f"{_AROUND[first]}.{rest}"
    number, _, inside = rest.partition(".")
    layer, _, what = inside.partition(".")
    rules = _EXPANDED if f"_blocks.{number}._expand_conv.weight" in tensors else _PLAIN
    if first != "_blocks" or not number.isdecimal() or int(number) >= len(places) or layer not in rules:
        raise ValueError(f"{packaged.NAME} has no tensor that would be called {name!r}; install its package again")
    return f"{places[int(number)]}.{rules[layer]}.{what}"
