"""What decides the weights of a backbone, in words and numbers: a stand-in's network and its pretraining.

A run asks for this before anything is built or trained, so nothing here needs torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from submasking.records.names import MODELS
from submasking.records.places import results_folder
from submasking.records.profiles import Profile, profile
from submasking.worlds import sets

CONTEXT = 20  # tokens of a caption; the longest Unicode name of the embedded world has 17
CLIP_WIDTH = 128
_STEM = {"layers": (1, 1, 1, 1), "stem_type": "deep", "stem_width": 8, "zero_init_last": False, "num_classes": 0}
RESNET: dict[str, dict[str, Any]] = {
    "resnet18-small": {"model_name": "resnet18", "channels": (32, 64, 128, 256)} | _STEM,
    "resnet50-small": {"model_name": "resnet50", "channels": (16, 32, 64, 128)} | _STEM,
}
VISION: dict[str, dict[str, Any]] = {
    "clip-resnet": {"layers": (1, 1, 1, 1), "width": 16, "head_width": 64},
    "clip-vit": {"layers": 3, "width": 128, "head_width": 64, "patch_size": 8},
}
TEXT: dict[str, Any] = {"context_length": CONTEXT, "width": 64, "heads": 4, "layers": 2}
ARCHITECTURES = (*RESNET, *VISION)


def description(architecture: str) -> dict[str, Any]:
    """What the libraries are told to build; ValueError lists the architectures there are."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}; got {architecture!r}")
    if architecture in RESNET:
        return RESNET[architecture]
    return {"vision": VISION[architecture], "text": TEXT, "width": CLIP_WIDTH}


def recipe(model: str, profile_name: str, seed: int = 0) -> dict[str, Any]:
    """All that decides the weights of a stand-in: its pretraining.

    Args:
        model: one of `submasking.records.names.MODELS`.
        profile_name: name of a profile of the embedded world.
        seed: of the run; runs share the profile's few backbones by turns.

    Raises:
        ValueError: for an unknown model or profile.
    """
    chosen = profile(profile_name)
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}; got {model!r}")
    settings = chosen.pretraining["common"] | chosen.pretraining[model]
    return (
        settings
        | {
            "network": description(settings["architecture"]),
            "seed": which(profile_name, seed),
        }
        | _world(chosen)
    )


def which(profile_name: str, seed: int) -> int:
    """Number of the pretrained backbone, of those that a profile has of each model, that a run of this seed takes."""
    return seed % profile(profile_name).backbones


def file_of(model: str, profile_name: str, seed: int = 0) -> Path:
    """Where the pretrained weights of a stand-in are kept."""
    return results_folder(profile_name) / "backbones" / f"{model}-{which(profile_name, seed)}.safetensors"


def _world(chosen: Profile) -> dict[str, Any]:
    images = sets.recipe(sets.SOURCE.name, "train", chosen.pretraining["images"], chosen.image_size, chosen.classes)
    return {"images": chosen.pretraining["images"], "image_size": chosen.image_size, "images_hash": images}
