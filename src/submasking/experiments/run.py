"""One run by its identity: profile, model, data set, method, share of the labels, seed. Nothing is computed here.

A grid is planned from these alone, so nothing here needs torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from submasking.files import identity
from submasking.records.names import METHODS, MODELS, SELF_SUPERVISED
from submasking.records.places import results_folder
from submasking.records.profiles import profile, settings
from submasking.records.results import record_path
from submasking.worlds import origin, told

SPLITS = ("train", "val", "validation", "test")  # the parts of a folder of pictures


@dataclass(frozen=True)
class Run:
    """Identity of one run.

    Attributes:
        profile: name in `submasking.records.profiles.PROFILES`.
        model: name in `submasking.records.names.MODELS`; in profile images the timm architecture.
        dataset: one of the paper's names; in profile images a folder.
        method: one of `submasking.records.names.METHODS`.
        labels: share of the training labels that is used, in percent; 0 for methods without labels (SSM, SSFT).
        seed: decides the training images that are drawn, the pretrained backbone, order, augmentation, head and (below
            100 %) which labels are kept; in profile images there is one draw and one backbone.
        weights: weights file of the backbone, for profile images.
        options: of the backbone and its images, for profile images, see `submasking.worlds.told`.
    """

    profile: str
    model: str
    dataset: str
    method: str
    labels: float = 100.0
    seed: int = 0
    weights: str = ""
    options: str = ""

    def __post_init__(self) -> None:
        profile(self.profile)
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {self.method!r}")
        if self.profile != "images" and self.model not in MODELS:
            raise ValueError(f"model must be one of {', '.join(MODELS)}; got {self.model!r}")
        require_own(self.profile, weights=self.weights, options=self.options)
        require_seed(self.seed)
        told.of(self.options)
        if (self.labels == 0) != (self.method in SELF_SUPERVISED):
            raise ValueError(
                f"labels must be 0 for {', '.join(SELF_SUPERVISED)} and above 0 otherwise; got {self.labels}"
            )

    def __str__(self) -> str:
        return f"{self.model} {self.dataset_name} {self.method} {self.labels:g} % seed {self.seed}"

    @property
    def dataset_name(self) -> str:
        """Name of the data set as records and pages show it: the last folder of a path."""
        return name_of(self.profile, self.dataset)

    @cached_property
    def identity(self) -> dict[str, str]:
        """What the run is on, by content: see `identity_of`."""
        return identity_of(self.profile, self.dataset, self.weights)

    @property
    def variant(self) -> str:
        """What tells apart runs whose names are alike; "" where the names say all."""
        own = self.identity | ({"options": told.of(self.options)} if self.options else {})
        return identity.short(own) if own else ""

    @property
    def record(self) -> Path:
        """Path of the run's record below a folder of records."""
        return record_path(self.model, self.dataset_name, self.method, self.labels, self.seed, self.variant)

    @property
    def record_file(self) -> Path:
        """Path of the run's record."""
        return results_folder(self.profile) / "records" / self.record

    @property
    def checkpoint_file(self) -> Path:
        """Path of the checkpoint of the run with this recipe; of another recipe none is found."""
        return self.record_file.with_suffix(f".{identity.short(self.recipe())}.checkpoint")

    @property
    def mask_file(self) -> Path:
        """Path of the run's mask file (FS and SSM)."""
        return results_folder(self.profile) / "masks" / self.record.with_suffix(".safetensors")

    def recipe(self) -> dict[str, Any]:
        """Every hyper-parameter of the run, with the pretraining of its backbone, as JSON stores it."""
        pretraining = origin.of(self.model, self.profile, weights=self.weights, seed=self.seed, options=self.options)
        recipe = settings(self.profile, self.method, self.model, self.labels) | {"pretraining": pretraining}
        return json.loads(json.dumps(recipe | ({"identity": self.identity} if self.identity else {})))


def require_seed(seed: int) -> None:
    """Raise `ValueError` for a seed that a generator does not take."""
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"a seed must be a whole number of at most 63 bits; got {seed}; small ones serve as well")


def require_own(profile_name: str, **given: str) -> None:
    """Raise `ValueError` where something is said of a network of one's own in a profile that brings its networks.

    Args:
        profile_name: name of a profile.
        given: by name of a parameter; "" where nothing is said.
    """
    said = [name for name, value in given.items() if value]
    if said and profile_name != "images":
        raise ValueError(
            f"{said[0]} is for profile images, the others bring their networks; got it with profile {profile_name!r};"
            " add -p profile images, or leave it out"
        )


def name_of(profile_name: str, dataset: str) -> str:
    """Name of a data set as records and pages show it: of a folder the last part of its path."""
    return Path(dataset).resolve().name if profile_name == "images" else dataset


def identity_of(profile_name: str, dataset: str, weights: str) -> dict[str, str]:
    """What a run is on, by content, where its names do not say it: a folder of pictures and a file of weights.

    A name says it in all profiles but "images": what is rendered or pretrained there is part of the recipe.

    Returns:
        "data" and "weights", SHA-256 each; empty in the other profiles.
    """
    if profile_name != "images":
        return {}
    folder, file = Path(dataset).resolve(), Path(weights)
    memory = results_folder(profile_name) / "identities" / f"{identity.short(str(folder))}.json"
    # where one is missing the run will say so: here is not the place
    content = identity.of_file(file) if file.is_file() else ""
    return {"data": identity.of_folder(folder, SPLITS, memory), "weights": content}
