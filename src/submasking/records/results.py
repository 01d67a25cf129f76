"""The record of a run: one JSON file, written once and atomically, validated when it is read."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from submasking.files import atomic
from submasking.records import predictions

SCHEMA = 1
READ_ONLY = "SUBMASKING_READ_ONLY"


@dataclass(frozen=True)
class Record:
    """What one run was and what it gave.

    Attributes:
        profile, model, dataset, method, labels, seed: the run's identity; `labels` is the share of the
            training labels that was used, in percent (0 for a run without labels).
        recipe: every hyper-parameter, with the pretraining of the backbone.
        stand_in: what stood in for the paper's model and data set, a sentence each.
        backbone: architecture, weights id, fingerprint, number of parameters and of masked parameters.
        data: number of classes and of training, labelled and test images.
        metrics: finite numbers; accuracies and sparsity as shares in [0, 1]; whether a probe's solver converged (1 or
            0) under the name that `converged` gives.
        layers: sparsity of each masked tensor by name.
        sizes: bits and bytes of the mask, or of the fine-tuned weights, and of what travels with it.
        timings: seconds.
        series: values per epoch or per step, by name.
        predictions: by accuracy among the metrics the class that each test image was given, packed
            (`submasking.records.predictions`); empty in records from before they were kept.
        test: "images", a hash of the test images in their order, and "labels", packed: runs in which both agree can be
            compared image by image.
        variant: short hash of what sets it apart from the grid's run of the same name: the folder and weights that it
            was on, or the settings of a try; "" for a run of a grid.
    """

    profile: str
    model: str
    dataset: str
    method: str
    labels: float
    seed: int
    recipe: dict[str, Any]
    metrics: dict[str, float]
    stand_in: dict[str, str] = field(default_factory=dict)
    backbone: dict[str, Any] = field(default_factory=dict)
    data: dict[str, int] = field(default_factory=dict)
    layers: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    series: dict[str, Any] = field(default_factory=dict)
    predictions: dict[str, str] = field(default_factory=dict)
    test: dict[str, str] = field(default_factory=dict)
    notebook: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    device: str = "cpu"
    commit: str = ""
    created: str = ""
    variant: str = ""
    schema: int = SCHEMA

    @property
    def path(self) -> Path:
        """Where the record lies below a records folder: model/dataset/method-labels<percent>-seed<k>[-variant].json."""
        return record_path(self.model, self.dataset, self.method, self.labels, self.seed, self.variant)


def record_path(model: str, dataset: str, method: str, labels: float, seed: int, variant: str = "") -> Path:
    """Relative path of a record from its identity."""
    ending = f"-{variant}" if variant else ""
    return Path(model) / dataset / f"{method}-labels{labels:g}-seed{seed}{ending}.json"


def converged(metric: str) -> str:
    """Name of the metric that says whether the probe behind an accuracy converged: "converged@10" for "lp@10"."""
    return "converged" + metric.removeprefix("top1").removeprefix("lp")


def write(record: Record, folder: Path) -> Path:
    """Validate `record` and store it below `folder`; returns the file's path."""
    validate(record)
    path = folder / record.path
    atomic.write(path, json.dumps(asdict(record), indent=1, sort_keys=True, allow_nan=False) + "\n")
    return path


def kept(record: Record, folder: Path) -> Record:
    """Store a record, and give it as the file has it: whoever asks again is given the same, its order of names too."""
    return read_one(write(record, folder))


def read_one(path: Path) -> Record:
    """Read one record; ValueError says what is wrong with the file and what to do."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        record = Record(**values)
        validate(record)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a valid record ({error}); move it away and run its experiment again"
        ) from error
    return record


def known(path: Path, recipe: dict[str, Any]) -> Record | None:
    """The record at `path` if it has this recipe, else None: then the run is still to be done.

    Raises:
        FileNotFoundError: there is none, and the environment variable SUBMASKING_READ_ONLY is set (the book build
            trains nothing).
    """
    if path.exists() and (found := read_one(path)).recipe == recipe:
        return found
    if os.environ.get(READ_ONLY):
        raise FileNotFoundError(f"no record of this recipe at {path}: run the experiment first (make book)")
    return None


def read(folder: Path) -> list[Record]:
    """All records below `folder`, ordered by path; an empty list where there are none."""
    return [read_one(path) for path in sorted(folder.rglob("*-seed*.json"))]


@cache
def _kinds() -> dict[str, type]:
    """Kind of each field; to resolve the hints takes longer than all that a record is asked."""
    return {name: get_origin(hint) or hint for name, hint in get_type_hints(Record).items()}


def validate(record: Record) -> None:
    """ValueError where a record breaks the schema: kinds, names that lead elsewhere, labels, metrics, predictions."""
    for name, kind in _kinds().items():
        value = getattr(record, name)
        if not isinstance(value, (int, float) if kind is float else kind) or (isinstance(value, bool)):
            raise ValueError(f"{name} must be of kind {kind.__name__}, got {type(value).__name__}")
    for name in ("model", "dataset", "method", "variant"):  # which make its path
        value = getattr(record, name)
        if "/" in value or "\0" in value or value in (".", "..") or not (value or name == "variant"):
            raise ValueError(f"{name} must be a name and no path, got {value!r}")
    if record.schema != SCHEMA:
        raise ValueError(f"schema must be {SCHEMA}, got {record.schema}")
    if not 0 <= record.labels <= 100:
        raise ValueError(f"labels must be a percentage in [0, 100], got {record.labels}")
    if not record.metrics:
        raise ValueError("metrics must hold at least one number")
    for name, value in record.metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"metric {name} must be a finite number, got {value!r}")
    predictions.validate(record.predictions, record.test, record.metrics)
