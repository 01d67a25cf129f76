"""Do the same runs give the same bits: `python -m benchmarks determinism`, some minutes on two cores after `make grid`.

A few runs of profile tiny are made anew in fresh processes, on the grid's pretrained backbones: once as the grid makes
them, then with one thing changed at a time. Compared are records (timings aside), masks and predictions.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.interruptions import state
from benchmarks.round_trips import NoGridError
from submasking.experiments import runs
from submasking.experiments.run import Run
from submasking.records import places, predictions, results
from submasking.records.results import Record
from submasking.tasks import maskfile
from submasking.worlds import backbones

PROFILE, DATASET = "tiny", "dtd"
MODELS = ("rn18-timm",)
METHODS = ("LP", "FS", "FFT")
BACKWARDS = "backwards"
# what is changed, as variables of a process's environment; one instruction set stands for another processor's
WAYS: dict[str, Mapping[str, str]] = {
    "once more, in another process": {},
    "other hashes (PYTHONHASHSEED)": {"PYTHONHASHSEED": "4"},
    "runs in the opposite order": {BACKWARDS: "1"},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "a processor that knows no more than AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
}
Rows = list[dict[str, Any]]


def tasks() -> list[Run]:
    """The runs that are made."""
    return [Run(PROFILE, model, DATASET, method) for model in MODELS for method in METHODS]


def measure(ways: Mapping[str, Mapping[str, str]] = WAYS) -> Rows:
    """Return a row for each way: records and mask files, how many are the same, mask bits and predictions that differ.

    Raises:
        NoGridError: there are no pretrained backbones.
    """
    grid = places.results_folder(PROFILE)
    missing = [model for model in MODELS if not (grid / "backbones" / f"{model}-0.safetensors").exists()]
    if missing:
        raise NoGridError(
            f"backbones of {', '.join(missing)} are needed in {grid}, there are none; run make grid first"
        )
    with tempfile.TemporaryDirectory() as folder:
        first = _made(grid, Path(folder) / "first", {})
        return [
            {"way": way, **compared(first, _made(grid, Path(folder) / str(number), given))}
            for number, (way, given) in enumerate(ways.items())
        ]


def _made(grid: Path, place: Path, given: Mapping[str, str]) -> Path:
    """Results of the runs, made in a new process."""
    shutil.copytree(grid / "backbones", place / PROFILE / "backbones")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SUBMASKING_RESULTS": str(place)} | given
    subprocess.run(
        [sys.executable, "-m", "benchmarks.determinism"], check=True, stdout=subprocess.DEVNULL, env=environment
    )
    return place / PROFILE


def compared(first: Path, second: Path) -> dict[str, Any]:
    """How far the same runs in two folders of results agree."""
    both = [[results.read_one(folder / "records" / task.record) for task in tasks()] for folder in (first, second)]
    files = [[state.content(folder / "records" / task.record) for task in tasks()] for folder in (first, second)]
    masked = [task for task in tasks() if (first / "masks" / task.record.with_suffix(".safetensors")).exists()]
    named = [
        [folder / "masks" / task.record.with_suffix(".safetensors") for task in masked] for folder in (first, second)
    ]
    bits = [_differing(task, one, other) for task, one, other in zip(masked, *named, strict=True)]
    given = [_answers(one, other) for one, other in zip(*both, strict=True)]
    return {
        "records": len(both[0]),
        "same_records": sum(one == other for one, other in zip(*files, strict=True)),
        "masks": len(masked),
        "same_masks": sum(state.content(one) == state.content(other) for one, other in zip(*named, strict=True)),
        "bits": _share(bits),
        "predictions": _share(given),
        "accuracy": max(abs(one.metrics["top1"] - other.metrics["top1"]) for one, other in zip(*both, strict=True)),
    }


def _share(counts: list[tuple[int, int]]) -> float:
    return sum(differing for differing, _ in counts) / max(1, sum(count for _, count in counts))


def _differing(task: Run, first: Path, second: Path) -> tuple[int, int]:
    """Mask bits that differ, of how many."""
    frozen = dict(backbones.load(task.model, PROFILE).trunk.named_parameters())
    one, other = (maskfile.load(path).masks(frozen) for path in (first, second))
    return sum(int((one[name] != other[name]).sum()) for name in one), sum(mask.numel() for mask in one.values())


def _answers(first: Record, second: Record) -> tuple[int, int]:
    """Test images that are given another class, of how many."""
    one, other = (torch.tensor(predictions.unpack(record.predictions["top1"])) for record in (first, second))
    return int((one != other).sum()), len(one)


if __name__ == "__main__":
    runs.run_all(reversed(tasks()) if os.environ.get(BACKWARDS) else tasks())
