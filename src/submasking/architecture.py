"""A user's own backbone: a timm or open_clip network, or a stand-in of this project, by name and weights."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from submasking import networks, pretrain
from submasking.backbones import fill
from submasking.data import store

Values = tuple[float, float, float]
DEFAULT_SIZE = 224
_PREFIXES = ("", "trunk.", "visual.")  # of the trunk's tensors in a weights file


@dataclass(frozen=True, eq=False)
class Network:
    """A backbone that is ready for use.

    Attributes:
        trunk: normalised images [n, 3, size, size] -> features [n, width].
        width: length of the features.
        preset: selection that fits.
        mean, std: what images are normalised with, per RGB channel.
        size: side of the images in pixels.
    """

    trunk: nn.Module
    width: int
    preset: str
    mean: Values
    std: Values
    size: int

    def normalise(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """Images in [0, 1] -> what the trunk expects."""
        mean, std = (images.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (images - mean) / std


def build(
    architecture: str,
    weights: Path | None,
    *,
    options: Mapping[str, Any] | None = None,
    size: int | None = None,
    mean: Values | None = None,
    std: Values | None = None,
) -> Network:
    """Build a backbone and load its weights.

    Args:
        architecture: "timm:NAME" or just NAME, "open_clip:NAME", or one of `submasking.networks.ARCHITECTURES`.
        weights: safetensors file; None asks timm or open_clip for the pretrained ones, which may download them.
        options: passed to the constructor of timm.
        size: side of the images in pixels; None takes the architecture's.
        mean: per channel, of images in [0, 1]; None takes the architecture's.
        std: likewise.

    Raises:
        ValueError: an unknown name (close ones are named), weights that do not fit or cannot be had.
    """
    library, _, name = architecture.rpartition(":")
    if library == "open_clip":
        network = _open_clip(name, weights)
    elif name in networks.ARCHITECTURES:
        trunk = networks.trunk(name, size or DEFAULT_SIZE)
        width, mean_of, std_of = networks.width(name, size or DEFAULT_SIZE), pretrain.MEAN, pretrain.STD
        network = Network(trunk, width, "", (mean_of,) * 3, (std_of,) * 3, DEFAULT_SIZE)
    elif library in ("", "timm"):
        network = _timm(name, weights, dict(options or {}))
    else:
        raise ValueError(f"a model is timm:NAME or open_clip:NAME, got {architecture!r}")
    if weights is not None:
        fill(network.trunk, _trunk_tensors(weights, network.trunk), str(weights))
    elif name in networks.ARCHITECTURES:
        raise ValueError(f"{name} has no published weights; pass a weights file")
    network.trunk.eval().to(memory_format=torch.channels_last)
    attentive = any(isinstance(module, nn.LayerNorm) for module in network.trunk.modules())
    preset = "vit" if attentive else "resnet"
    return Network(network.trunk, network.width, preset, mean or network.mean, std or network.std, size or network.size)


def _timm(name: str, weights: Path | None, options: dict[str, Any]) -> Network:
    if not timm.is_model(name):
        raise ValueError(f"timm has no model {name!r}{_close(name, timm.list_models())}")
    try:
        trunk = timm.create_model(name, pretrained=weights is None, num_classes=0, **options)
    except Exception as error:  # whatever a download or a constructor raises
        raise ValueError(_unavailable(name, error, weights)) from error
    config = timm.data.resolve_model_data_config(trunk)
    width: Any = trunk.num_features
    return Network(trunk, int(width), "", config["mean"], config["std"], int(config["input_size"][-1]))


def _open_clip(name: str, weights: Path | None) -> Network:
    if name not in open_clip.list_models():
        raise ValueError(f"open_clip has no model {name!r}{_close(name, open_clip.list_models())}")
    tags = open_clip.list_pretrained_tags_by_model(name)
    try:
        visual = open_clip.create_model(name, pretrained=tags[0] if weights is None and tags else None).visual
    except Exception as error:  # whatever a download raises
        raise ValueError(_unavailable(name, error, weights)) from error
    mean, std = (tuple(getattr(visual, f"image_{kind}")) for kind in ("mean", "std"))
    return Network(visual, int(visual.output_dim), "", mean, std, int(visual.image_size[0]))


def _close(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {', '.join(close)}?" if close else ""


def _unavailable(name: str, error: Exception, weights: Path | None) -> str:
    if weights is None:
        return f"the pretrained weights of {name} cannot be had ({error}); pass a weights file with --weights"
    return f"{name} cannot be built with these options ({error})"


def _trunk_tensors(weights: Path, trunk: nn.Module) -> dict[str, Tensor]:
    if not weights.is_file():
        raise ValueError(f"weights must be a safetensors file, there is none at {str(weights)!r}")
    tensors, _ = store.read(weights)
    first = next(iter(trunk.state_dict()))
    prefix = next((prefix for prefix in _PREFIXES if prefix + first in tensors), "")
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
