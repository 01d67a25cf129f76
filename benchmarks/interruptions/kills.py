"""A grid that is killed again and again, and goes on each time."""

import shutil
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from benchmarks.interruptions import state
from benchmarks.interruptions.child import Child
from benchmarks.interruptions.program import Program
from benchmarks.interruptions.state import PROFILE, State
from submasking.experiments import runs, sole
from submasking.experiments.grid import runs as runs_of

PATIENCE = 900.0  # seconds in which a grid writes something
LONGEST = 4  # at most so many files are written before one at which the program is stopped
AT_ANY, WRITING, FIRST, JOB = "at any moment", "writing", "its first process alone", "a job alone"
# what a file is, by the first part of its path that says so
FILES = {
    "backbones": "a backbone", "data": "a set of images", "masks": "a mask", "records": "a record",
    "analyses": "a training of an analysis", "figures": "a figure", "notebooks": "a notebook",
}  # fmt: skip


@dataclass
class Found:
    """Kills by their moment.

    Attributes:
        kills: how many.
        wrong: those after which a file was not what it must be, and all of a grid that did not end in the same bits.
        ended: grids that came to their end in the same bits.
        said: what was wrong, for people.
    """

    kills: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    said: list[str] = field(default_factory=list)


@dataclass
class Killed:
    """A grid that is to be killed.

    Attributes:
        place: an empty folder; results lie in its folder of that name.
        start: (place, results, stop) -> the grid at work, from its beginning or from where it was.
        reference: what an undisturbed one leaves.
        needed: paths of that which must be there at the end.
        span: seconds from a start within which a kill at any moment falls.
        ways: of killing, drawn as often as they stand here.
        dice: draws them.
        count: told of each kill.
        begin: puts into the place what a grid begins with.
    """

    place: Path
    start: Callable[..., Program | Child]
    reference: State
    needed: Collection[str]
    span: float
    ways: tuple[str, ...]
    dice: Random
    count: Callable[[], object] = lambda: None
    begin: Callable[[Path], object] = lambda place: None

    @property
    def results(self) -> Path:
        return self.place / "results"

    def often(self, kills: int) -> Found:
        """Kill it so many times; then let it come to its end, as each time before when no kill came in between."""
        found, moments = Found(), list[str]()
        self.begin(self.place)
        while sum(found.kills.values()) < kills:
            moment = self._kill()
            if moment is None:
                self._judge_end(found, moments)
                moments = []
                for folder in (self.results, self.place / ".snakemake"):
                    shutil.rmtree(folder, ignore_errors=True)
                self.begin(self.place)
                continue
            found.kills[moment] += 1
            self.count()
            if bad := state.wrong(state.of(self.results), self.reference):
                found.wrong[moment] += 1
                found.said.append(f"killed {moment}: {', '.join(bad[:3])}")
            else:
                moments.append(moment)
            state.age(self.results)
        last = self.start(self.place, self.results)
        if last.end():
            found.said.append(last.said()[-2000:])
        self._judge_end(found, moments)
        return found

    def _kill(self) -> str | None:
        """Let it go on and kill it at a moment; which, or None where it has ended before."""
        way, stop = self.dice.choice(self.ways), None
        if way == WRITING:
            stop = {
                "event": self.dice.choice(("open", "rename")),
                "folder": str(self.results),
                "number": self.dice.randint(1, LONGEST),
                "delay": self.dice.choice((0.0, self.dice.uniform(0, 0.01))),
            }
        program = self.start(self.place, self.results, stop)
        if not program.wait(PATIENCE if stop else self.dice.uniform(0, self.span)):
            return None
        if way == FIRST:
            program.kill_first()
            return way
        if way == JOB:
            while not program.kill_job():
                if not program.wait(0.2):
                    return None
            program.wait(self.dice.uniform(0, 3))  # the grid notices
        program.kill()
        return f"writing {self._file(program)}" if stop else way

    def _file(self, program: Program | Child) -> str:
        parts = Path(program.told.read_text()).relative_to(self.results).parts
        return next((FILES[part] for part in parts if part in FILES), "anything else")

    def _judge_end(self, found: Found, moments: list[str]) -> None:
        bad = state.wrong(state.of(self.results), self.reference, self.needed)
        found.ended += not bad
        if bad:
            found.wrong.update(moments)
            found.said.append(f"at the end: {', '.join(bad[:5])}")


def alone(place: Path, results: Path, stop: dict[str, object] | None = None) -> Child:
    """The grid's runs one after the other in one process, without notebooks."""

    def work() -> None:
        sole.hold_grid(results / PROFILE)
        runs.run_all(runs_of(PROFILE))

    return Child(work, place, {"SUBMASKING_RESULTS": str(results)}, stop)
