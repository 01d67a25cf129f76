"""The record of a run: one JSON file, written once and atomically, validated when it is read."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

SCHEMA = 1
PACKAGES = ("submasking", "torch", "torchvision", "timm", "open_clip_torch", "numpy", "scikit-learn")
_SOURCE = Path(__file__).resolve().parents[2]
# the project's folder; where the library is installed on its own, the current folder
REPOSITORY = _SOURCE if (_SOURCE / "_toc.yml").exists() else Path.cwd()


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
        metrics: finite numbers; accuracies and sparsity as shares in [0, 1].
        layers: sparsity of each masked tensor by name.
        sizes: bits and bytes of the mask, or of the fine-tuned weights, and of what travels with it.
        timings: seconds.
        series: values per epoch or per step, by name.
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
    notebook: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    device: str = "cpu"
    commit: str = ""
    created: str = ""
    schema: int = SCHEMA

    @property
    def path(self) -> Path:
        """Where the record lies below a records folder: model/dataset/method-labels<percent>-seed<k>.json."""
        return record_path(self.model, self.dataset, self.method, self.labels, self.seed)


def record_path(model: str, dataset: str, method: str, labels: float, seed: int) -> Path:
    """Relative path of a record from its identity."""
    return Path(model) / dataset / f"{method}-labels{labels:g}-seed{seed}.json"


def results_folder(profile: str) -> Path:
    """Folder of a profile's results, below `$SUBMASKING_RESULTS` or the project's `results`."""
    root = os.environ.get("SUBMASKING_RESULTS")
    return (Path(root) if root else REPOSITORY / "results") / profile


def committed_folder(profile: str) -> Path:
    """Folder of the records that are kept in the project for readers who run nothing."""
    return REPOSITORY / "book" / "records" / profile


def book_folder(profile: str = "tiny") -> Path:
    """Records that the book shows: the reader's own grid once it is whole, else the committed ones."""
    own = REPOSITORY / "results" / profile
    return own / "records" if (own / "grid.json").exists() else committed_folder(profile)


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that a reader, a crash or a full disk never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write(record: Record, folder: Path) -> Path:
    """Validate `record` and store it below `folder`; returns the file's path."""
    validate(record)
    path = folder / record.path
    write_atomically(path, json.dumps(asdict(record), indent=1, sort_keys=True, allow_nan=False) + "\n")
    return path


def read_one(path: Path) -> Record:
    """Read one record; ValueError says what is wrong with the file and what to do."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        record = Record(**values)
        validate(record)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a valid record ({error}); delete it and run its experiment again") from error
    return record


def read(folder: Path) -> list[Record]:
    """All records below `folder`, ordered by path; an empty list where there are none."""
    return [read_one(path) for path in sorted(folder.rglob("*-seed*.json"))]


def validate(record: Record) -> None:
    """ValueError where a record breaks the schema: version, labels, metrics that are not finite numbers."""
    if record.schema != SCHEMA:
        raise ValueError(f"schema must be {SCHEMA}, got {record.schema}")
    if not 0 <= record.labels <= 100:
        raise ValueError(f"labels must be a percentage in [0, 100], got {record.labels}")
    if not record.metrics:
        raise ValueError("metrics must hold at least one number")
    for name, value in record.metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"metric {name} must be a finite number, got {value!r}")


def to_frame(records: list[Record]) -> pd.DataFrame:
    """One row per record: its identity, then a column per metric."""
    identity = ("profile", "model", "dataset", "method", "labels", "seed")
    rows = [{name: getattr(record, name) for name in identity} | record.metrics for record in records]
    return pd.DataFrame(rows, columns=None if rows else list(identity))


def frame(folder: Path) -> pd.DataFrame:
    """`to_frame` of all records below `folder`."""
    return to_frame(read(folder))


def reported() -> pd.DataFrame:
    """The paper's own numbers (draft and published form), a missing cell stays missing."""
    return pd.read_csv(REPOSITORY / "book" / "data" / "reported.csv", dtype={"table": str})


def surroundings(device: str = "cpu") -> dict[str, Any]:
    """The fields of a record that say where and when it was made."""
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {"versions": versions, "device": device, "commit": commit(), "created": created}


def commit() -> str:
    """Short git commit of the project, with "+" where the working tree differs; "" outside a checkout."""
    try:
        options = {"cwd": REPOSITORY, "capture_output": True, "text": True, "check": True}
        name = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], **options).stdout.strip()  # type: ignore[call-overload]
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], **options).stdout.strip()  # type: ignore[call-overload]
    except (OSError, subprocess.CalledProcessError):
        return ""
    return name + ("+" if changed else "")
