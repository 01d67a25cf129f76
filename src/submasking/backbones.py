"""The paper's six backbones by name: in each profile what stands in for them, pretrained once and kept."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from submasking import data, networks, pretrain, results
from submasking.data import store
from submasking.fingerprint import fingerprint
from submasking.profiles import Profile, profile

MODELS = ("rn18-timm", "rn50-timm", "rn50-torch", "rn50-swav", "rn50-clip", "vitb32-clip")
PROMPT = "{}"  # the small CLIPs learnt bare names; the paper's asks "This is a photo of a {label}."
STAND_INS = {
    "rn18-timm": "a ResNet of basic blocks trained on Latin letters with labels",
    "rn50-timm": "a ResNet of bottleneck blocks trained on Latin letters with labels, strong augmentation and "
    "label smoothing",
    "rn50-torch": "a ResNet of bottleneck blocks trained on Latin letters with labels, plain augmentation and a "
    "stepwise schedule",
    "rn50-swav": "a ResNet of bottleneck blocks trained on Latin letters without labels by SwAV",
    "rn50-clip": "open_clip's ResNet, made small, trained on Latin letters with their Unicode names as captions",
    "vitb32-clip": "open_clip's vision transformer, made small, trained on Latin letters with their Unicode names "
    "as captions",
}


@dataclass(frozen=True, eq=False)
class Backbone:
    """A pretrained network and what is known of it.

    Attributes:
        trunk: normalised images [n, 3, h, w] -> features [n, width].
        width: length of the features.
        preset: selection of `submasking.selection` that fits the architecture.
        mean, std: per RGB channel, what `normalise` takes off and divides by.
        name: the paper's name, or timm's in profile images.
        architecture: what it is.
        weights: id of the weights: hash of the pretraining recipe, or name of the weights file.
        fingerprint: SHA-256 of all tensors of the trunk.
        stand_in: what it stands in for the paper's model, a sentence; "" where it is the model itself.
        text: text tower of a CLIP.
        logit_scale: logarithm of the factor of CLIP's cosine similarities.
        head: what FS and FFT classify with: "linear", or "text" for CLIP's embeddings of the class names. The
            small CLIPs know the names of Latin letters only ("text" stays near chance on the tasks), so theirs
            is linear.
    """

    trunk: nn.Module
    width: int
    preset: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    name: str
    architecture: str
    weights: str
    fingerprint: str
    stand_in: str = ""
    text: networks.TextTower | None = None
    logit_scale: float = 0.0
    head: str = "linear"

    def normalise(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """Images in [0, 1] -> what the trunk was trained with."""
        mean, std = (images.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (images - mean) / std

    @torch.inference_mode(False)
    @torch.no_grad()
    def text_head(self, classes: Sequence[str]) -> Float[Tensor, "classes width"] | None:
        """Embedding of each class name by the text tower; None where the model has none."""
        if self.text is None:
            return None
        return self.text(networks.tokenize(tuple(PROMPT.format(name) for name in classes)))


def recipe(model: str, profile_name: str, weights: str = "") -> dict[str, Any]:
    """All that decides the backbone's weights: its pretraining, or the file for profile images.

    Raises:
        ValueError: for an unknown model or profile.
    """
    chosen = profile(profile_name)
    if profile_name == "images":
        return {"architecture": model, "weights": Path(weights).name} | chosen.pretraining
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}; got {model!r}")
    settings = chosen.pretraining["common"] | chosen.pretraining[model]
    return settings | {"network": networks.description(settings["architecture"])} | _world(chosen)


def load(model: str, profile_name: str, *, weights: str = "", progress: bool = True) -> Backbone:
    """The backbone that a profile has for one of the paper's models.

    In smoke and tiny it is pretrained when the weights file below the profile's results folder is missing
    or came from another recipe.

    Args:
        model: one of `MODELS`; in profile images the name of a timm architecture.
        profile_name: name of a profile.
        weights: safetensors file, for profile images.
        progress: show the progress of pretraining.

    Raises:
        ValueError: for an unknown model, a missing or foreign weights file.
    """
    if profile_name == "images":
        return from_file(model, Path(weights), profile(profile_name))
    wanted = recipe(model, profile_name)
    path = results.results_folder(profile_name) / "backbones" / f"{model}.safetensors"
    described = json.dumps(wanted, sort_keys=True)
    tensors = _stored(path, described)
    if tensors is None:
        letters = data.load(profile_name, data.SOURCE, "train")
        tensors = pretrain.pretrain(wanted, letters, label=f"pretraining {model}", progress=progress)
        store.save(path, tensors, {"recipe": described})
    with torch.random.fork_rng(devices=[]):  # building a network draws weights that are not kept
        return _assembled(model, profile(profile_name), wanted, tensors)


def from_file(architecture: str, weights: Path, chosen: Profile) -> Backbone:
    """A timm architecture with weights from a local safetensors file.

    The profile's `pretraining` holds what timm needs besides the name ("create_model"), and mean and std.

    Raises:
        ValueError: for an unknown architecture (close names are suggested), a missing file, or tensors
            that do not fit the architecture.
    """
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "timm.list_models() lists them"
        raise ValueError(f"model must be a timm architecture in profile images, got {architecture!r}; {hint}")
    if not weights.is_file():
        raise ValueError(f"weights must be a safetensors file, there is none at {str(weights)!r}")
    options = chosen.pretraining["create_model"]
    trunk = timm.create_model(architecture, pretrained=False, num_classes=0, **options)
    fill(trunk, store.read(weights)[0], str(weights))
    trunk.eval().to(memory_format=torch.channels_last)
    return Backbone(
        trunk=trunk,
        width=int(trunk.num_features),  # type: ignore[arg-type]
        preset="vit" if "vit" in architecture else "resnet",
        mean=tuple(chosen.pretraining["mean"]),
        std=tuple(chosen.pretraining["std"]),
        name=architecture,
        architecture=f"timm {architecture}",
        weights=weights.name,
        fingerprint=fingerprint(trunk.state_dict()),
    )


def fill(trunk: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Load tensors into a trunk; a classifier is left over, only `num_batches_tracked` may be missing.

    Raises:
        ValueError: where a tensor is missing or of another shape; the message names the first few.
    """
    expected = trunk.state_dict()
    wrong = [f"{name} is missing" for name in expected if name not in tensors and "num_batches" not in name]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if wrong:
        shown = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise ValueError(f"weights must fit the architecture, but in {source}: {shown}; check the model's name")
    trunk.load_state_dict({name: tensors[name] for name in expected if name in tensors}, strict=False)


def _world(chosen: Profile) -> dict[str, Any]:
    images = data.glyphs.recipe(data.SOURCE, "train", chosen.pretraining["images"], chosen.image_size, chosen.classes)
    return {"images": chosen.pretraining["images"], "image_size": chosen.image_size, "images_hash": images}


def _stored(path: Path, described: str) -> dict[str, Tensor] | None:
    """Tensors kept at `path` if they came from the described recipe."""
    if not path.exists():
        return None
    try:
        tensors, metadata = store.read(path)
    except ValueError:
        return None
    return tensors if metadata.get("recipe") == described else None


def _assembled(model: str, chosen: Profile, made: dict[str, Any], tensors: dict[str, Tensor]) -> Backbone:
    text = None
    if made["kind"] == "clip":
        trunk, text = networks.clip(made["architecture"], chosen.image_size)
        text.load_state_dict(_below("text.", tensors))
        text.eval().requires_grad_(False)
    else:
        trunk = networks.trunk(made["architecture"], chosen.image_size)
    trunk.load_state_dict(_below("trunk.", tensors))
    trunk.eval().to(memory_format=torch.channels_last)
    return Backbone(
        trunk=trunk,
        width=networks.width(made["architecture"], chosen.image_size),
        preset="vit" if made["architecture"] == "clip-vit" else "resnet",
        mean=(pretrain.MEAN,) * 3,
        std=(pretrain.STD,) * 3,
        name=model,
        architecture=made["architecture"],
        weights=hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:12],
        fingerprint=fingerprint(trunk.state_dict()),
        stand_in=STAND_INS[model],
        text=text,
        logit_scale=float(text.logit_scale.clamp(max=pretrain.MAX_LOGIT_SCALE)) if text else 0.0,
    )


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
