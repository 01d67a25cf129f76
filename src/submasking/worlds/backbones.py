"""The paper's six backbones by name: in each profile what stands in for them, pretrained once and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from submasking.files import store
from submasking.learning.backbone import Backbone
from submasking.records.names import MODEL_STAND_INS
from submasking.records.profiles import Profile, profile
from submasking.tasks.fingerprint import fingerprint
from submasking.worlds import datasets, libraries, networks, pretrain, told
from submasking.worlds.paper import models as published
from submasking.worlds.recipes import file_of, recipe

PROMPT = "{}"  # the small CLIPs learnt bare names; the paper's asks "This is a photo of a {label}."


def load(
    model: str,
    profile_name: str,
    *,
    weights: str = "",
    size: int | None = None,
    seed: int = 0,
    progress: bool = True,
    options: str = "",
) -> Backbone:
    """The backbone that a profile has for one of the paper's models.

    In smoke and tiny it is pretrained when the weights file below the profile's results folder is missing
    or came from another recipe; of the paper's own the published file is fetched.

    Args:
        model: one of `submasking.records.names.MODELS`; in profile images an architecture as
            `submasking.worlds.libraries.build` knows it.
        profile_name: name of a profile.
        weights: weights file, for profile images; "" where a package brings them.
        size: side of the images in pixels, for profile images; None takes the profile's.
        seed: of the run; smoke and tiny have a few backbones of each model, which runs take by turns.
        progress: show the progress of pretraining.
        options: of the network and its images, for profile images, see `submasking.worlds.told`; what is not said is as
            the library has it.

    Raises:
        ValueError: for an unknown model, a missing or foreign weights file.
    """
    chosen = profile(profile_name)
    if profile_name == "images":
        said = told.of(options)
        return libraries.build(
            model, Path(weights) if weights else None, options=said.get("create_model"), size=size or chosen.image_size,
            mean=said.get("mean"), std=said.get("std"),
        )  # fmt: skip
    if chosen.protocol is not None:
        switches = chosen.protocol
        return published.load(model, selection=switches.selection, statistics=switches.statistics, progress=progress)
    wanted = recipe(model, profile_name, seed=seed)
    path = file_of(model, profile_name, seed)
    described = json.dumps(wanted, sort_keys=True)
    tensors = _stored(path, described)
    if tensors is None:
        letters = datasets.load(profile_name, datasets.SOURCE, "train")
        tensors = pretrain.pretrain(wanted, letters, label=f"pretraining {model}", progress=progress)
        store.save(path, tensors, {"recipe": described})
    with torch.random.fork_rng(devices=[]):  # building a network draws weights that are not kept
        return _assembled(model, chosen, wanted, tensors)


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

    def embedded(classes: Sequence[str]) -> Tensor:
        assert text is not None
        return text(networks.tokenize(tuple(PROMPT.format(name) for name in classes)))

    return Backbone(
        trunk=trunk,
        width=networks.width(made["architecture"], chosen.image_size),
        preset="vit" if made["architecture"] == "clip-vit" else "resnet",
        mean=(pretrain.MEAN,) * 3,
        std=(pretrain.STD,) * 3,
        size=chosen.image_size,
        name=model,
        architecture=made["architecture"],
        weights=hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:12],
        fingerprint=fingerprint(trunk.state_dict()),
        stand_in=MODEL_STAND_INS[model],
        text=embedded if text else None,
        logit_scale=float(text.logit_scale.clamp(max=pretrain.MAX_LOGIT_SCALE)) if text else 0.0,
    )


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
