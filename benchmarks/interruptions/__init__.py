"""Nothing is lost: `python -m benchmarks kills mishaps [--kills N] [--seed N]` (`make faults`).

After `make grid PROFILE=smoke`, which nothing disturbs, the runs of that grid are made anew and killed -9 at N moments,
drawn at random and amid writing, and go on each time; `submasking mask` and the saving of mask files are killed a
quarter as often. Mishaps befall `make grid` itself: it is killed, its disk is full, its folder takes no files, a second
grid starts beside it, the clock jumps, a notebook raises. After each of them every file that is there must be whole
and what the undisturbed grid has left, and at last all of it, with nothing else. For Linux; what a machine does not
allow is said in the table. A seed draws the same faults again; what they hit depends on how fast a machine is.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tqdm import tqdm

from benchmarks.interruptions import kills, places, state, trainings
from benchmarks.interruptions.kills import AT_ANY, WRITING, Found, Killed
from benchmarks.interruptions.places import Case, NotHereError, Place
from benchmarks.interruptions.state import PROFILE
from benchmarks.round_trips import NoGridError
from submasking.experiments.grid import GRID
from submasking.records.places import results_folder
from submasking.records.surroundings import commit

KILLS = 200
TRAININGS = 4  # of so many kills one is of each of the other programs
SECONDS = 3.0  # within which a kill of the runs falls: some ten of them
LEAST = TRAININGS
Rows = list[dict[str, Any]]


def killed(count: int = KILLS, seed: int = 0) -> Rows:
    """Kill programs; a row for each kind of program and moment.

    Args:
        count: kills of the grid's runs, at least `LEAST`.
        seed: draws the moments.

    Raises:
        NoGridError: there is no grid to compare with.
    """
    with _whole() as (new, whole), tqdm(desc="kills", total=count, mininterval=5.0) as bar:
        reference, dice = state.of(whole / "results"), Random(f"{seed} runs")
        told = SECONDS, (AT_ANY, WRITING), dice, bar.update
        runs = Killed(new("runs"), kills.alone, reference, state.of_runs(reference), *told)
        rows = _kills("the grid's runs", runs.often(count))
        for name, tried in (("submasking mask", trainings.training), ("saving a mask file", trainings.saving)):
            times, wrong, said = tried(max(1, count // TRAININGS), new(name), Random(f"{seed} {name}"))
            rows.append(_row(name, AT_ANY, times, wrong))
            _tell(said)
    return rows


def mishaps(seed: int = 0) -> Rows:
    """Try the mishaps; a row for each.

    Args:
        seed: draws their sizes and moments.

    Raises:
        NoGridError: there is no grid to compare with.
    """
    rows = []
    with _whole() as (new, whole):
        reference = state.of(whole / "results")
        for name, fault in tqdm(places.FAULTS.items(), desc="mishaps"):
            place = Place(new(f"{name} home"), new(f"{name} logs"), reference, state.of_runs(reference))
            rows.append(_mishap(name, partial(fault, whole, place, Random(f"{seed} {name}"))))
    return rows


@contextmanager
def _whole() -> Iterator[tuple[Callable[[str], Path], Path]]:
    """What makes new folders, and one with a copy of the undisturbed grid in its folder results."""
    results = results_folder(PROFILE)
    if not (results / GRID).is_file():
        raise NoGridError(f"a whole grid is needed in {results}; run make grid first, with PROFILE={PROFILE}")
    made = json.loads((results / GRID).read_text(encoding="utf-8"))["commit"]
    if made != commit():  # which mask files hold, so that their sizes would differ
        raise NoGridError(
            f"the grid in {results} must be of this commit, {commit() or 'none'}, it is of {made or 'none'}; move it"
            f" away and run make grid PROFILE={PROFILE}"
        )
    with tempfile.TemporaryDirectory() as folder:

        def new(name: str) -> Path:
            path = Path(folder) / "".join(letter if letter.isalnum() else "-" for letter in name)
            path.mkdir()
            return path

        whole = new("whole")
        shutil.copytree(results, whole / "results" / PROFILE, ignore=shutil.ignore_patterns("*.lock", "*.part"))
        yield new, whole


def _kills(program: str, found: Found) -> Rows:
    """A row for each moment, and one for all."""
    _tell(found.said)
    rows = [_row(program, moment, times, found.wrong[moment]) for moment, times in sorted(found.kills.items())]
    return [*rows, _row(f"{program}, all", f"{found.ended} times to the end", found.kills.total(), found.wrong.total())]


def _mishap(name: str, tried: Callable[[], Case]) -> dict[str, Any]:
    try:
        case = tried()
    except NotHereError as error:
        return _row(name, f"not tried: {error}", 0, 0)
    _tell(case.said)
    return _row(name, case.how, case.times, case.times - case.told if case.same else case.times)


def _row(program: str, moment: str, times: int, wrong: int) -> dict[str, Any]:
    return {"program": program, "moment": moment, "times": times, "right": times - wrong, "wrong": wrong}


def _tell(said: list[str]) -> None:
    for line in said:
        print(line, file=sys.stderr)
