"""One run: a profile, a model, a data set, a method, a share of the labels and a seed -> one record.

A run whose record is there, with the same recipe, is not run again. Sections 4 and 5 of the paper.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submasking import backbones, results
from submasking.methods import METHODS, SELF_SUPERVISED
from submasking.profiles import profile, settings
from submasking.results import Record, record_path

READ_ONLY = "SUBMASKING_READ_ONLY"


@dataclass(frozen=True)
class Run:
    """Identity of one run.

    Attributes:
        profile: name in `submasking.profiles.PROFILES`.
        model: name in `submasking.backbones.MODELS`; in profile images the timm architecture.
        dataset: one of the paper's names; in profile images a folder.
        method: one of ZS, LP, FS, FFT, SSM, SSFT.
        labels: share of the training labels that is used, in percent; 0 for SSM and SSFT.
        seed: decides order, augmentation, head and (below 100 %) which labels are kept.
        weights: safetensors file of the backbone, for profile images.
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
        if self.profile != "images" and self.model not in backbones.MODELS:
            raise ValueError(f"model must be one of {', '.join(backbones.MODELS)}; got {self.model!r}")
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
        return results.results_folder(self.profile) / "records" / identity

    @property
    def mask_file(self) -> Path:
        """Path of the run's mask file (FS and SSM)."""
        return (
            results.results_folder(self.profile)
            / "masks"
            / self.record_file.relative_to(results.results_folder(self.profile) / "records").with_suffix(".safetensors")
        )

    def recipe(self) -> dict[str, Any]:
        """Every hyper-parameter of the run, with the pretraining of its backbone, as JSON stores it."""
        pretraining = backbones.recipe(self.model, self.profile, weights=self.weights)
        recipe = settings(self.profile, self.method, self.model) | {"pretraining": pretraining}
        return json.loads(json.dumps(recipe))


def run(task: Run, *, notebook: dict[str, Any] | None = None, progress: bool = True) -> Record:
    """The record of `task`: read where it exists with the same recipe, else computed and written.

    Raises:
        FileNotFoundError: there is no such record and the environment variable SUBMASKING_READ_ONLY is set
            (the book build trains nothing).
    """
    recipe, file = task.recipe(), task.record_file
    if file.exists():
        record = results.read_one(file)
        if record.recipe == recipe:
            return record
    if os.environ.get(READ_ONLY):
        raise FileNotFoundError(f"no record of this recipe at {file}: run the experiment first (make book)")
    started = time.perf_counter()
    found = METHODS[task.method](task, progress)
    found["timings"]["total_s"] = time.perf_counter() - started
    record = Record(
        profile=task.profile,
        model=task.model,
        dataset=task.dataset_name,
        method=task.method,
        labels=task.labels,
        seed=task.seed,
        recipe=recipe,
        notebook=notebook or {},
        **found,
        **results.surroundings(),
    )
    results.write(record, results.results_folder(task.profile) / "records")
    return record


def run_all(tasks: Iterable[Run], *, notebook: dict[str, Any] | None = None) -> list[Record]:
    """Run every task, one printed line each, past those that fail.

    Raises:
        RuntimeError: after the last task, naming every run that failed and why.
    """
    tasks, records, failures, started = list(tasks), [], [], time.perf_counter()
    for number, task in enumerate(tasks, 1):
        try:
            record = run(task, notebook=notebook, progress=False)
            records.append(record)
            outcome = "  ".join(f"{name} {value:.3f}" for name, value in sorted(record.metrics.items()))
        except Exception as error:  # one bad run must not cost the others
            failures.append(f"{task}: {type(error).__name__}: {error}")
            outcome = f"FAILED: {error}"
        left = (time.perf_counter() - started) / number * (len(tasks) - number)
        print(f"[{number}/{len(tasks)}, {left:.0f} s left] {task}: {outcome}", flush=True)
    if failures:
        raise RuntimeError(f"{len(failures)} of {len(tasks)} runs failed:\n" + "\n".join(failures))
    return records
