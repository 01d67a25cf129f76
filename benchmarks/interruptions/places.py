"""Mishaps of a whole grid: kills, a full disk, a folder that takes no files, a clock that jumps, a second grid.

The grid has its last notebooks to make, with what they train, since its runs are killed more cheaply alone.

Disks of a chosen size and folders that nobody can write to are file systems in memory, which root alone may mount.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from benchmarks.interruptions import kills, state
from benchmarks.interruptions.child import Child
from benchmarks.interruptions.kills import AT_ANY, FIRST, JOB, WRITING, Killed
from benchmarks.interruptions.program import Program, grid
from benchmarks.interruptions.state import PROFILE, State

# what is taken away of a whole grid, so that it has a little to do again: notebooks that no other one waits for
LATE = ("cascade-rn50-swav", "many_tasks-rn18-timm")
KILLS = 6
PLANS = 4.0  # a kill at any moment falls within so many times as long as a grid is planned
SIZES = 4  # of a disk, one after the other
GONE = tuple(f"{PROFILE}/{path}" for path in ("records/vitb32-clip/dtd", "masks/vitb32-clip/dtd", "backbones/vitb32"))
WITHOUT = shutil.ignore_patterns("*.lock", "*.log")
ROOM = (4096, 60_000)  # bytes for what is left to do
LARGE = 2**31  # bytes
FULL = "No space left on device"
CLOCKS = (-30, 10)  # years; after 2038 some file systems know no time
YEAR = 365 * 86_400.0  # seconds
SECOND = 2  # grids that are started beside the first
PAGE = 4096  # bytes; a file takes a whole number of them


class NotHereError(Exception):
    """A fault cannot be made on this machine."""


@dataclass
class Case:
    """A fault, as often as it was tried.

    Attributes:
        times: how often.
        told: times that the grid ended with its reason in what it said, and every file whole.
        how: what was done, in a few words.
        same: whether it came to the same bits at last.
        said: what was wrong, for people.
    """

    times: int = 0
    told: int = 0
    how: str = ""
    same: bool = False
    said: list[str] = field(default_factory=list)


@dataclass
class Place:
    """Where a grid works: its folder, and beside it what it says.

    Attributes:
        home: results lie in it, and what Snakemake remembers.
        logs: a folder elsewhere.
        reference: what an undisturbed grid leaves.
        alone: paths of what its runs alone leave.
    """

    home: Path
    logs: Path
    reference: State
    alone: Collection[str]

    def start(self, clock: float = 0.0) -> Program:
        """Start the grid, with a clock that is so many seconds ahead."""
        command, environment = grid(self.home / "results")
        return Program([*command, "--directory", self.home], self.logs, environment, clock=clock)

    def tried(self, case: Case, program: Program | Child, reason: str) -> None:
        """Note of a grid that must fail whether it told why, and left nothing that is no whole file."""
        case.times += 1
        code, said = program.end(), program.said()
        bad = state.wrong(state.of(self.home / "results"), self.reference)
        if code and reason in said and not bad:
            case.told += 1
        else:
            case.said.append(f"exit code {code}, {bad[:3]}, {said[-1500:]}")

    def finish(self, case: Case, clock: float = 0.0) -> Case:
        """Let the grid go on with nothing in its way; note whether it came to the same bits."""
        state.age(self.home / "results")
        program = self.start(clock)
        code = program.end()
        bad = state.wrong(state.of(self.home / "results"), self.reference, self.reference)
        case.same = not code and not bad
        if not case.same:
            case.said.append(f"at the end: exit code {code}, {bad[:5]}, {program.said()[-1500:]}")
        return case


def killed(whole: Path, place: Place, dice: Random) -> Case:
    """The grid is killed with all that it has started, or one of its processes alone."""
    began = time.perf_counter()
    late(whole, place.home)
    program = place.start()
    while program.wait(0.1) and not (place.home / "results" / PROFILE / ".grid.lock").exists():
        continue
    planned = time.perf_counter() - began
    program.kill()
    shutil.rmtree(place.home)
    place.home.mkdir()

    def start(home: Path, results: Path, stop: dict[str, object] | None = None) -> Program:
        words, environment = grid(results)
        return Program(words, home, environment, stop)

    known, span = place.reference, PLANS * planned
    ways = (AT_ANY, AT_ANY, WRITING, WRITING, FIRST, JOB)
    found = Killed(place.home, start, known, known, span, ways, dice, begin=partial(late, whole)).often(KILLS)
    times, wrong = found.kills.total(), found.wrong.total()
    how = ", ".join(f"{moment} {count}" for moment, count in sorted(found.kills.items()))
    return Case(times, times - wrong, how, same=True, said=found.said)


def full_disk_of_runs(whole: Path, place: Place, dice: Random) -> Case:
    """Runs of one model on one data set, and its backbone, on a disk that has room for a part of what they write."""
    case, results = Case(how=f"{SIZES} sizes, one after the other"), place.home / "results"
    with mounted(place.home, LARGE):
        shutil.copytree(whole, place.home, dirs_exist_ok=True, ignore=WITHOUT)
        gone = sorted(path for path in place.alone if path.startswith(GONE))  # the backbone first, as it is written
        for path in gone:
            (results / path).unlink()
        used = shutil.disk_usage(place.home).used
        for count in sorted(dice.sample(range(len(gone)), SIZES)):
            _resize(place.home, used + _size(whole / "results", gone[:count]))
            place.tried(case, kills.alone(place.logs, results), FULL)
        _resize(place.home, LARGE)
        state.age(results)
        program = kills.alone(place.logs, results)
        case.same = not program.end() and not state.wrong(state.of(results), place.reference, place.reference)
    return case


def full_disk(whole: Path, place: Place, dice: Random) -> Case:
    """The last notebooks of a grid on a disk that has room for a part of what they write."""
    case = Case(how=f"{len(ROOM)} sizes, one after the other")
    with mounted(place.home, LARGE):
        late(whole, place.home)
        used = shutil.disk_usage(place.home).used
        for room in ROOM:
            _resize(place.home, used + int(room * dice.uniform(0.5, 1.0)))
            place.tried(case, place.start(), FULL)
        _resize(place.home, LARGE)
        return place.finish(case)


def read_only(whole: Path, place: Place, dice: Random) -> Case:
    """A grid in a folder that takes no files, and then does."""
    case = Case(how="then it takes files again")
    with mounted(place.home, LARGE):
        late(whole, place.home)
        _mount("-o", "remount,ro", place.home)
        place.tried(case, place.start(), "Read-only file system")
        _mount("-o", "remount,rw", place.home)
        return place.finish(case)


def two_grids(whole: Path, place: Place, dice: Random) -> Case:
    """A second grid is started beside the first at some moments."""
    case = Case(how="at any moment")
    late(whole, place.home)
    first = place.start()
    while not (place.home / "results" / PROFILE / ".grid.lock").exists():
        first.wait(0.1)
    for _ in range(SECOND):
        if not first.wait(dice.uniform(0, 5)):
            break
        place.tried(case, place.start(), "must have one grid at work")
    first.end()
    return place.finish(case)


def clock(whole: Path, place: Place, dice: Random) -> Case:
    """A grid that is killed under one clock and goes on under another, among files of other years."""
    case = Case(told=len(CLOCKS), how="with a kill in between")  # nothing is to be told
    late(whole, place.home)
    for years in CLOCKS:
        case.times += 1
        program = place.start(clock=years * YEAR)
        program.wait(dice.uniform(5, 30))
        program.kill()
        for path in (place.home / "results").rglob("*"):
            then = dice.uniform(0, 2**31)  # seconds from 1970 to 2038
            os.utime(path, (then, then))
    return place.finish(case, clock=-YEAR)


def raising(whole: Path, place: Place, dice: Random) -> Case:
    """A record that other hands have cut in half: notebooks that read it raise, the others are executed."""
    case = Case(how="since a record is cut in half; the others go on")
    late(whole, place.home)
    records = place.home / "results" / PROFILE / "records"
    record = dice.choice(sorted((records / "rn18-timm").rglob("FS-labels100-seed0.json")))
    record.write_bytes(record.read_bytes()[: record.stat().st_size // 2])
    program = place.start()
    code, said = program.end(), program.said()
    case.times = 1
    other = f"{PROFILE}/notebooks/{LATE[0]}.ipynb"  # which does not read it
    went_on = state.of(place.home / "results").get(other) == place.reference[other]
    case.told = int(bool(code) and record.name in said and went_on)
    if not case.told:
        case.said.append(f"exit code {code}, {said[-1500:]}")
    record.unlink()  # as the message says
    return place.finish(case)


def late(whole: Path, home: Path) -> None:
    """Copy a whole grid, without what it makes last."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copytree(whole, home, dirs_exist_ok=True, ignore=WITHOUT)
    results = home / "results" / PROFILE
    shutil.rmtree(results / "analyses" / "cascade")
    (results / "grid.json").unlink()
    for stem in LATE:
        (results / "notebooks" / f"{stem}.ipynb").unlink()
        (results / "records" / "analyses" / f"{stem}.json").unlink()


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    """A file system in memory of some bytes at a folder.

    Raises:
        NotHereError: this user may not mount.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotHereError("nothing may be mounted") from error
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _resize(folder: Path, size: int) -> None:
    _mount("-o", f"remount,size={size}", folder)


def _size(folder: Path, files: Collection[str]) -> int:
    """Bytes that files take on a disk."""
    return sum(-(-(folder / path).stat().st_size // PAGE) * PAGE for path in files)


def _mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


FAULTS: dict[str, Callable[[Path, Place, Random], Case]] = {
    "disk full: runs": full_disk_of_runs,
    "disk full: make grid": full_disk,
    "read-only folder: make grid": read_only,
    "a second grid in the folder": two_grids,
    "clock and file times jump": clock,
    "a notebook raises": raising,
    "killed": killed,
}
