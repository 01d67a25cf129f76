"""One run by its identity: profile, model, data set, method, share of the labels, seed. Nothing is computed here.

A grid is planned from these alone, so nothing here needs torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submasking.records.names import METHODS, MODELS, SELF_SUPERVISED
from submasking.records.places import results_folder
from submasking.records.profiles import profile, settings
from submasking.records.results import record_path
from submasking.worlds import recipes


@dataclass(frozen=True)
class Run:
    """Identity of one run.

    Attributes:
        profile: name in `submasking.records.profiles.PROFILES`.
        model: name in `submasking.records.names.MODELS`; in profile images the timm architecture.
        dataset: one of the paper's names; in profile images a folder.
        method: one of ZS, LP, FS, FFT, SSM, SSFT.
        labels: share of the training labels that is used, in percent; 0 for SSM and SSFT.
        seed: decides order, augmentation, head and (below 100 %) which labels are kept.
        weights: weights file of the backbone, for profile images.
    """

    profile: str
    model: str
    dataset: str
    method: str
    labels: float = 100.0
    seed: int = 0
    weights: str = ""

    def __post_init__(self) -> None:
        profile(self.profile)
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {self.method!r}")
        if self.profile != "images" and self.model not in MODELS:
            raise ValueError(f"model must be one of {', '.join(MODELS)}; got {self.model!r}")
        if (self.labels == 0) != (self.method in SELF_SUPERVISED):
            raise ValueError(f"labels must be 0 for SSM and SSFT and above 0 otherwise; got {self.labels}")

    def __str__(self) -> str:
        return f"{self.model} {self.dataset_name} {self.method} {self.labels:g} % seed {self.seed}"

    @property
    def dataset_name(self) -> str:
        """Name of the data set as records and pages show it: the last folder of a path."""
        return Path(self.dataset).name

    @property
    def record_file(self) -> Path:
        """Path of the run's record."""
        identity = record_path(self.model, self.dataset_name, self.method, self.labels, self.seed)
        return results_folder(self.profile) / "records" / identity

    @property
    def checkpoint_file(self) -> Path:
        """Path of what an interrupted run goes on from."""
        return self.record_file.with_suffix(".checkpoint")

    @property
    def mask_file(self) -> Path:
        """Path of the run's mask file (FS and SSM)."""
        folder = results_folder(self.profile)
        return folder / "masks" / self.record_file.relative_to(folder / "records").with_suffix(".safetensors")

    def recipe(self) -> dict[str, Any]:
        """Every hyper-parameter of the run, with the pretraining of its backbone, as JSON stores it."""
        pretraining = recipes.recipe(self.model, self.profile, weights=self.weights)
        recipe = settings(self.profile, self.method, self.model) | {"pretraining": pretraining}
        return json.loads(json.dumps(recipe))
