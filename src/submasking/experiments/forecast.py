"""What a grid still has to do, said before it starts: the runs that are due, their hours, the bytes they leave."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from submasking.experiments import cost
from submasking.experiments.run import Run
from submasking.records import results
from submasking.records.names import MODELS
from submasking.records.places import committed_folder
from submasking.records.profiles import profile
from submasking.worlds.paper.remote import words

DAY = 1440  # minutes


@dataclass(frozen=True)
class Steps:
    """Measured training steps of the paper's networks.

    Attributes:
        seconds: of a step, by model.
        batch: images in it.
        device: what they were measured on, in words.
    """

    seconds: Mapping[str, float]
    batch: int
    device: str


def shipped_steps() -> Steps:
    """Those that the page "What the paper costs" shows, of one processor core."""
    file = committed_folder("benchmarks") / "cost_steps.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    seconds = {row["model"]: row["seconds"] for row in record["rows"]}
    return Steps(seconds, record["rows"][0]["batch"], f"one core ({record['machine']['processor']})")


def checked_steps(file: Path) -> Steps:
    """Those that ``submasking check --profile paper --json`` measured on the device where it ran.

    Raises:
        ValueError: the file is not such an answer, or a network has no step in it.
    """
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        steps = Steps(by_model(said["steps"]), int(said["batch"]), str(said["device"]["name"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"check must be a file that `submasking check --profile paper --json` printed, {file} is not"
            f" ({type(error).__name__}: {error}); run that on the device and keep what it prints"
        ) from error
    if missing := [model for model in MODELS if model not in steps.seconds]:
        raise ValueError(f"check must hold a step of every network, {file} has none of {missing[0]}; run it again")
    return steps


def by_model(steps: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Mean seconds of a step of each model, of the steps that `submasking check` took; those that failed left out."""
    several: dict[str, list[float]] = {}
    for step in steps:
        if "seconds" in step:
            several.setdefault(step["model"], []).append(step["seconds"])
    return {model: fmean(seconds) for model, seconds in several.items()}


def due(runs: Iterable[Run]) -> list[Run]:
    """The runs without a record, or with one of another recipe.

    Raises:
        ValueError: a record is damaged.
    """
    return [run for run in runs if results.known(run.record_file, run.recipe()) is None]


def minutes(run: Run, steps: Steps | None) -> int:
    """Minutes to ask a cluster for: twice what a run takes by measured steps and ten more, at most a day.

    What takes longer goes on from its checkpoint in the job's next try. Without steps it is a day.
    """
    return DAY if steps is None else min(DAY, 10 + round(cost.seconds(run, steps.seconds, steps.batch) / 30))


def told(runs: list[Run], steps: Steps | None = None) -> Iterator[str]:
    """Lines that say how many of the runs are due, and what these take.

    The hours of the paper's runs come from measured steps, those of another profile from the records that the project
    ships; a profile without either has none.

    Args:
        runs: of a grid, one at least.
        steps: of the device; None takes those of one processor core.

    Raises:
        ValueError: a record is damaged.
    """
    left = due(runs)
    yield f"{len(left)} of {len(runs)} runs are due"
    if profile(runs[0].profile).protocol is not None:
        known = steps or shipped_steps()
        hours = {run: cost.seconds(run, known.seconds, known.batch) / 3600 for run in left}
        kept, device = sum(map(cost.kept_bytes, left)), known.device
    else:
        shipped = {run: committed_folder(run.profile) / run.record for run in left}
        found = {run: results.read_one(file) for run, file in shipped.items() if file.exists()}
        hours = {run: record.timings["total_s"] / 3600 for run, record in found.items()}
        kept = round(sum(record.sizes.get("file_bytes", 0) for record in found.values()))
        device = "one core, as in the shipped records"
    if hours:
        yield f"{sum(hours.values()):,.1f} hours of {device}, the longest run {max(hours.values()):,.1f}"
        yield f"task files of {words(kept)} at most"
    if without := len(left) - len(hours):
        yield f"of {without} runs nothing is known beforehand"
