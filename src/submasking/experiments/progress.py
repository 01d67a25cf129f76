"""How far a grid has come, and about how long the rest takes: a line every half minute."""

from __future__ import annotations

import sys
import threading
import time

from submasking.experiments import grid, work
from submasking.records.places import results_folder
from submasking.worlds import origin

WORTH_AN_ESTIMATE = 0.05  # share of the work that must be done first


class Watch:
    """Counts records and notebooks of a profile's grid in a thread of its own and prints progress to stderr.

    Args:
        profile: the profile whose grid runs.
        seeds: its seeds, as `submasking.experiments.grid.notebooks` takes them.
        every: seconds between two lines.
    """

    def __init__(self, profile: str, seeds: str = "all", every: float = 30.0) -> None:
        self.runs, self.every = grid.runs(profile, seeds), every
        self.backbones = sorted({file for run in self.runs for file in origin.pretrained(run.model, profile, run.seed)})
        folder = results_folder(profile) / "notebooks"
        self.notebooks = {folder / f"{stem}.ipynb": work.beside(stem, profile) for stem in grid.notebooks(profile)}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def done(self) -> tuple[int, int, float]:
        """Runs that have a record, notebooks that are there, and the share of the grid's work that is behind."""
        finished = [run for run in self.runs if run.record_file.exists()]
        there = [file for file in self.notebooks if file.exists()]
        total = sum(map(work.of, self.runs)) + work.BACKBONE * len(self.backbones) + sum(self.notebooks.values())
        behind = sum(map(work.of, finished)) + work.BACKBONE * sum(file.exists() for file in self.backbones)
        behind += sum(self.notebooks[file] for file in there)
        return len(finished), len(there), behind / total

    def line(self, begun: float, seconds: float) -> str:
        """One line of progress, `begun` being the share done when watching began, `seconds` ago."""
        runs, notebooks, share = self.done()
        text = f"{runs} of {len(self.runs)} runs, {notebooks} of {len(self.notebooks)} notebooks done"
        text += f" ({100 * share:.0f} % of the work)"
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
        begun, started = self.done()[-1], time.perf_counter()
        while not self._stopped.wait(self.every):
            print(self.line(begun, time.perf_counter() - started), file=sys.stderr, flush=True)
