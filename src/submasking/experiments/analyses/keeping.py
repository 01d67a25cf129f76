"""An analysis is made once: where its file has the same parameters and the same runs, it is read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from submasking.experiments import grid, runs
from submasking.experiments.run import Run
from submasking.records import analyses, results
from submasking.records.analyses import Analysis, Row
from submasking.records.places import results_folder
from submasking.records.results import Record
from submasking.records.surroundings import surroundings

Tables = dict[str, list[Row]]


def records_of(tasks: Iterable[Run]) -> list[Record]:
    """The records of runs, which are made where they are missing."""
    return runs.run_all(tasks)


def tasks(name: str, profile: str, model: str = "", seeds: str = "all") -> list[Run]:
    """The runs of a profile's grid that an analysis reads, see `submasking.experiments.grid.ANALYSES`."""
    return grid.analysed(name, profile, model or grid.ANALYSES[name].model, seeds)


def kept(
    name: str, profile: str, model: str, records: Iterable[Record], parameters: Mapping[str, Any],
    make: Callable[[], Tables],
) -> Analysis:  # fmt: skip
    """The analysis, read where it is known, else made and written.

    Args:
        name: of the notebook.
        profile: of the runs.
        model: whose runs are read, "all" for every one.
        records: that it reads.
        parameters: all that decides what comes out beside the records; plain values.
        make: returns the tables.

    Where SUBMASKING_READ_ONLY is set (the book's build computes nothing) one is read too that read more runs or asked
    for more: its parameters say what it was made with.

    Raises:
        FileNotFoundError: there is none, and SUBMASKING_READ_ONLY is set.
    """
    asked = Analysis(name, profile, model, dict(parameters), analyses.read_by(records), {})
    folder = results_folder(profile) / "records"
    if (found := analyses.known(folder, asked)) is not None:
        return found
    if os.environ.get(results.READ_ONLY):
        shipped = analyses.read(folder, asked.stem)
        if shipped is not None and asked.runs.items() <= shipped.runs.items():
            return shipped
        raise FileNotFoundError(
            f"no analysis {asked.stem} of these runs in {folder}: run its notebook first (make book)"
        )
    started = time.perf_counter()
    made = replace(asked, tables=make(), **surroundings())
    analyses.write(replace(made, seconds=round(time.perf_counter() - started, 1)), folder)
    found = analyses.known(folder, asked)
    assert found is not None  # read back: a notebook shows what is kept, not what was rounded away
    return found
