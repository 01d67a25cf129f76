"""What the kept work took: hours of one processor core by kind of work, and energy at a power that is assumed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from submasking.records import analyses, photographs
from submasking.records.results import Record

# of one core at work, with its share of memory, power supply and cooling: a round number above what the data sheets of
# servers come to, not a measurement
WATTS = 10.0


class Work(NamedTuple):
    """One kind of work: how many trainings or readings it was, and their hours; nan where no time was kept."""

    kind: str
    number: int
    hours: float


def runs(records: Iterable[Record]) -> list[Work]:
    """The runs of each profile, pretraining of their backbones not counted."""
    taken: dict[str, list[float]] = {}
    for record in records:
        taken.setdefault(record.profile, []).append(record.timings.get("total_s", math.nan))
    return [Work(f"runs of profile {name}", len(found), sum(found) / 3600) for name, found in taken.items()]


def search(file: Path) -> Work:
    """The trainings that learning rates were chosen by."""
    trials = json.loads(file.read_text(encoding="utf-8"))
    seconds = sum(trial.get("total_s", trial.get("train_s", math.nan)) for trial in trials)
    return Work("trainings of the search for rates", len(trials), seconds / 3600)


def readings(folder: Path) -> Work:
    """Analyses of many runs below a folder of records, the trainings that they make among them."""
    kept = [analyses.read(folder, file.stem) for file in sorted((folder / analyses.FOLDER).glob("*.json"))]
    found = [analysis.seconds for analysis in kept if analysis is not None]
    return Work("analyses of many runs", len(found), sum(found) / 3600)


def photographed(folder: Path) -> Work:
    """The trainings of the studies of photographs, whose records keep no time."""
    studies: list[dict[str, Any]] = photographs.read(folder)
    return Work("trainings on photographs", sum(len(study["found"]) for study in studies), math.nan)


def hours(work: Iterable[Work]) -> float:
    """Hours of all work whose time was kept."""
    return sum(one.hours for one in work if not math.isnan(one.hours))


def energy(hours: float) -> float:
    """Kilowatt hours that hours of one core come to at the assumed power."""
    return hours * WATTS / 1000
