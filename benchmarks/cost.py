"""What the paper costs, counted from measured steps: `python -m benchmarks cost` makes three tables.

cost_steps: processor seconds of a training step of each of the paper's networks (random weights and pictures, one
thread). cost_schedule: the hours that the grid, and 10,000 tasks on one ResNet-50, would take on 1, 8 and 64 devices of
that speed. cost_witness: the same simulation beside the clock, Snakemake running the paper's jobs asleep.
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from submasking.experiments import cost, grid
from submasking.experiments.run import Run
from submasking.experiments.schedule import Job, makespan
from submasking.learning import augment
from submasking.learning.adapt import adapt
from submasking.records.names import DATASETS, MODELS
from submasking.records.profiles import PUBLISHED, Optimisation
from submasking.worlds.paper import effort, models
from submasking.worlds.paper.weights import NETWORKS

Rows = list[dict[str, Any]]
BATCH = 4
DEVICES = (1, 8, 64)
TASKS, MODEL = 10_000, "rn50-swav"
FINE_TUNED = 4  # bytes of a weight that is stored as it is
ASLEEP = 150.0  # seconds that all jobs of the witness sleep together
RULES = """
JOBS = {jobs}
rule all:
    input: expand("{{name}}.done", name=JOBS)
for name, (seconds, rank) in JOBS.items():
    rule:
        name: name
        output: f"{{name}}.done"
        priority: rank
        params: seconds=seconds
        shell: "sleep {{params.seconds}}; touch {{output}}"
"""


def tables() -> Iterator[tuple[str, Rows]]:
    """Each table when it is measured."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steps = [step(model) for model in MODELS]
    finally:
        torch.set_num_threads(threads)
    yield "cost_steps", steps
    seconds = {row["model"]: row["seconds"] for row in steps}
    yield "cost_schedule", schedules(seconds)
    yield "cost_witness", [witness(seconds, devices) for devices in DEVICES]


def step(model: str) -> dict[str, Any]:
    """Processor seconds of one step: what two steps take more than one, after a first that does not count."""
    backbone, images = models.untrained(model), effort.stand_in(BATCH)
    rate = PUBLISHED["FS vitb32-clip" if backbone.head == "text" else "FS"].lr

    def taken(steps: int) -> float:
        start, plan = time.process_time(), Optimisation(rate, epochs=steps)
        adapt(backbone, images, "FS", plan, style=augment.PHOTOS, batch_size=BATCH, device="cpu", progress=False)
        return time.process_time() - start

    taken(1)
    one = taken(1)
    seconds = taken(2) - one
    runs = [run for run in grid.runs("paper") if run.model == model]
    return {
        "model": model,
        "batch": BATCH,
        "seconds": round(seconds, 3),
        "weights": NETWORKS[model].masked,
        "runs": len(runs),
        "hours": round(sum(cost.seconds(run, {model: seconds}, BATCH) for run in runs) / 3600, 1),
        "gb": round(sum(map(cost.kept_bytes, runs)) / 1e9, 3),
    }


def schedules(seconds: dict[str, float]) -> Rows:
    """One row per piece of work and number of devices."""
    works = {
        "the paper, a job a notebook": by_notebook(seconds),
        "the paper, a job a run": by_run(seconds),
        f"{TASKS:,} tasks on one ResNet-50": tasks(seconds),
    }
    kept = sum(map(cost.kept_bytes, grid.runs("paper")))
    sizes = dict.fromkeys(works, kept) | {list(works)[-1]: sum(map(cost.kept_bytes, bank()))}
    return [_row(work, jobs, devices, sizes[work]) for work, jobs in works.items() for devices in DEVICES]


def _row(work: str, jobs: dict[str, Job], devices: int, kept: int) -> dict[str, Any]:
    total, whole = sum(job.seconds for job in jobs.values()), makespan(jobs, devices)
    return {
        "work": work,
        "devices": devices,
        "jobs": len(jobs),
        "hours": round(whole / 3600, 1),
        "longest": round(max(job.seconds for job in jobs.values()) / 3600, 1),
        "busy": round(total / (devices * whole), 4),
        "gb": round(kept / 1e9, 2),
    }


def by_run(seconds: dict[str, float]) -> dict[str, Job]:
    """The paper's runs, none of which waits for another."""
    return {str(run): Job(cost.seconds(run, seconds, BATCH)) for run in grid.runs("paper")}


def by_notebook(seconds: dict[str, float]) -> dict[str, Job]:
    """The paper's notebooks; a run that two of them share is made by the one that comes before."""
    own: dict[str, float] = dict.fromkeys(grid.notebooks("paper"), 0.0)
    for run, stem in grid.makers("paper").items():
        own[stem] += cost.seconds(run, seconds, BATCH)
    return {stem: Job(one, tuple(grid.before(stem, "paper"))) for stem, one in own.items()}


def bank() -> list[Run]:
    """10,000 tasks as large as the paper's eight data sets, by turns."""
    return [Run("paper", MODEL, DATASETS[number % len(DATASETS)], "FS", seed=number) for number in range(TASKS)]


def tasks(seconds: dict[str, float]) -> dict[str, Job]:
    """Training them."""
    return {str(run): Job(cost.seconds(run, seconds, BATCH)) for run in bank()}


def witness(seconds: dict[str, float], devices: int) -> dict[str, Any]:
    """The paper's runs as jobs of Snakemake that sleep, together for `ASLEEP` seconds; simulated and by the clock."""
    whole = by_run(seconds)
    scale = ASLEEP / sum(job.seconds for job in whole.values())
    asleep = {f"job{number}": job.seconds * scale for number, job in enumerate(whole.values())}
    jobs = {name: (round(one, 3), math.ceil(1000 * one)) for name, one in asleep.items()}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Snakefile").write_text(RULES.format(jobs=jobs))
        command = [sys.executable, "-m", "snakemake", "--cores", str(devices), "--quiet", "all", "--nolock"]
        empty = {name: (0.0, rank) for name, (_, rank) in jobs.items()}
        clock = _timed(command, folder)
        for done in Path(folder).glob("*.done"):
            done.unlink()
        (Path(folder) / "Snakefile").write_text(RULES.format(jobs=empty))
        idle = _timed(command, folder)
    simulated = makespan({name: Job(one) for name, one in asleep.items()}, devices)
    return {
        "devices": devices,
        "jobs": len(jobs),
        "simulated": round(simulated, 1),
        "clock": round(clock, 1),
        "idle": round(idle, 1),
        "ratio": round((clock - idle) / simulated, 3),
    }


def _timed(command: list[str], folder: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return time.perf_counter() - start
