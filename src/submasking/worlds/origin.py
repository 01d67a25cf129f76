"""Where the weights of a backbone come from, in every profile: all that decides them, in words and numbers.

A run asks for this before anything is built, fetched or trained, so nothing here needs torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from submasking.records.profiles import profile
from submasking.worlds import packaged, recipes, told
from submasking.worlds.paper.weights import published


def of(model: str, profile_name: str, weights: str = "", seed: int = 0, options: str = "") -> dict[str, Any]:
    """What decides a backbone's weights: its pretraining, a published file, or one of one's own.

    Args:
        model: one of `submasking.records.names.MODELS`; in profile images an architecture.
        profile_name: name of a profile.
        weights: the file for profile images; "" where a package brings them.
        seed: of the run; runs of the embedded world share the profile's few backbones by turns.
        options: of the network and its images, for profile images, see `submasking.worlds.told`.

    Raises:
        ValueError: for an unknown model or profile, or where a package is needed that is not there.
    """
    chosen = profile(profile_name)
    if chosen.protocol is not None:
        found = published(model)
        return {"architecture": found.architecture, "weights": found.file.name, "digest": found.file.digest}
    if profile_name != "images":
        return recipes.recipe(model, profile_name, seed=seed)
    if model != packaged.NAME:
        own: dict[str, Any] = {"architecture": model, "weights": Path(weights).name if weights else "pretrained"}
        return own | told.of(options)
    name = Path(weights).name if weights else packaged.file().name
    own = {"architecture": packaged.NAME, "weights": name, "create_model": packaged.OPTIONS}
    return own | {"mean": packaged.MEAN, "std": packaged.STD} | told.of(options)


def pretrained(model: str, profile_name: str, seed: int = 0) -> list[Path]:
    """The file of weights that a grid makes before a run: none where they are published or one's own."""
    made_here = profile(profile_name).protocol is None and profile_name != "images"
    return [recipes.file_of(model, profile_name, seed)] if made_here else []
