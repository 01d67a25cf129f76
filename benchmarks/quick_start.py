"""Processor time until a command answers, beside `python -c "import torch"`: `python -m benchmarks quick_start`.

Each command is started anew, in turns with importing torch, so that a busy machine slows both; the fastest of each
counts. Masks drawn at random serve inspect and compare; the plan is that of a finished grid of profile smoke.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from safetensors.torch import save_file

import submasking
from submasking.tasks import maskfile
from submasking.worlds import networks

ROUNDS = 5
NETWORKS = ("resnet18-small", "timm:resnet10t")  # that of the small world, and one four times as large
TORCH = [sys.executable, "-c", "import torch"]
BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[1]


def measure() -> list[dict[str, Any]]:
    """Return a row for each command: seconds of processor time, and their ratio to importing torch."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        small, large = (_tasks(place, name) for name in NETWORKS)
        program = [BIN / "submasking"]
        commands: dict[str, list[Any]] = {
            "import torch": TORCH,
            "import submasking": [sys.executable, "-c", "import submasking"],
            "submasking --help": [*program, "--help"],
            "submasking --version": [*program, "--version"],
            "a verb that does not exist": [*program, "maks"],
            "submasking inspect": [*program, "inspect", small.first],
            f"submasking compare, {small.weights:,} weights": [*program, "compare", *small.given],
            f"submasking compare, {large.weights:,} weights": [*program, "compare", *large.given],
            "planning a finished grid": _planning(place),
            "snakemake with one rule": _smallest(place),
        }
        seconds = {name: float("inf") for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                seconds[name] = min(seconds[name], _spent(command))
    return [
        {"command": name, "seconds": round(value, 3), "ratio": round(value / seconds["import torch"], 3)}
        for name, value in seconds.items()
    ]


def _spent(command: list[Any]) -> float:
    """Processor seconds of a command and of what it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    surroundings = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([str(word) for word in command], capture_output=True, env=surroundings, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class _Tasks(NamedTuple):
    """Two mask files on one network: what compare is given, the first of them, the number of masked weights."""

    given: list[Any]
    first: Path
    weights: int


def _tasks(place: Path, name: str) -> _Tasks:
    torch.manual_seed(0)
    library, _, short = name.rpartition(":")
    model = timm.create_model(short, num_classes=0) if library else networks.trunk(name, 24)
    masking, paths = submasking.mask(model), [place / f"{short}-{what}.safetensors" for what in ("weights", 0, 1)]
    save_file(maskfile.backbone_state(masking), paths[0])
    for seed in range(2):
        random = torch.Generator().manual_seed(seed)
        masking.load_masks(
            {name: torch.rand(theta.shape, generator=random) > 0.05 for name, theta in masking.frozen().items()}
        )
        maskfile.save(paths[1 + seed], masking, architecture=name)
    count = sum(theta.numel() for theta in masking.frozen().values())
    return _Tasks([*paths[1:], "--weights", paths[0]], paths[1], count)


def _planning(place: Path) -> list[Any]:
    """Snakemake over a grid of profile smoke whose every output is there, so that nothing is to do."""
    results = place / "results"
    grid = ["env", f"SUBMASKING_RESULTS={results}", BIN / "snakemake", "--cores", "1", "--quiet", "all"]
    grid += ["--config", "profile=smoke", "--directory", place, "--snakefile", ROOT / "Snakefile"]
    for line in _said([*grid, "--summary"]).splitlines()[1:]:
        file = Path(line.partition("\t")[0])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    _said([*grid, "--touch"])
    return grid


def _said(command: list[Any]) -> str:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def _smallest(place: Path) -> list[Any]:
    """Snakemake over one rule that is done: what Snakemake itself takes."""
    (place / "done").touch()
    file = place / "Snakefile"
    file.write_text('rule all:\n    input: "done"\n')
    return [BIN / "snakemake", "--cores", "1", "--quiet", "all", "--directory", place, "--snakefile", file]
