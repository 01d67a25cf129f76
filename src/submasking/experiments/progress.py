"""How far a grid has come, and about how long the rest takes: a line every half minute."""

from __future__ import annotations

import sys
import threading
import time

from submasking.experiments import grid
from submasking.experiments.run import Run
from submasking.worlds import origin

# rough cost of a run by method, in seconds of one core in profile tiny; only their ratios matter
COST = {"ZS": 1.0, "LP": 1.5, "FS": 6.0, "FFT": 6.0, "FS-none": 2.0, "FS-random": 2.0, "SSM": 20.0, "SSFT": 20.0}
PRETRAINING = 60.0  # the same for a backbone
WORTH_AN_ESTIMATE = 0.05  # share of the work that must be done first


class Watch:
    """Counts the records of a profile's grid in a thread of its own and prints progress to stderr.

    Args:
        profile: the profile whose grid runs.
        seeds: its seeds, as `submasking.experiments.grid.notebooks` takes them.
        every: seconds between two lines.
    """

    def __init__(self, profile: str, seeds: str = "all", every: float = 30.0) -> None:
        self.runs, self.every = grid.runs(profile, seeds), every
        self.backbones = sorted({file for run in self.runs for file in origin.pretrained(run.model, profile, run.seed)})
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def done(self) -> tuple[int, float]:
        """Number of runs that have a record, and the share of the grid's cost that is behind, backbones included."""
        finished = [run for run in self.runs if run.record_file.exists()]
        total = sum(map(_cost, self.runs)) + PRETRAINING * len(self.backbones)
        pretrained = PRETRAINING * sum(file.exists() for file in self.backbones)
        return len(finished), (sum(map(_cost, finished)) + pretrained) / total

    def line(self, begun: float, seconds: float) -> str:
        """One line of progress, `begun` being the share done when watching began, `seconds` ago."""
        count, share = self.done()
        text = f"{count} of {len(self.runs)} runs done ({100 * share:.0f} % of the work)"
        if begun + WORTH_AN_ESTIMATE <= share < 1:
            text += f", about {seconds * (1 - share) / (share - begun) / 60:.0f} min left"
        return text

    def start(self) -> None:
        """Begin to print."""
        self._thread.start()

    def stop(self) -> None:
        """Print no more."""
        self._stopped.set()

    def _watch(self) -> None:
        begun, started = self.done()[1], time.perf_counter()
        while not self._stopped.wait(self.every):
            print(self.line(begun, time.perf_counter() - started), file=sys.stderr, flush=True)


def _cost(run: Run) -> float:
    return COST[run.method if run.method in COST else run.method.partition("-")[0]]
