"""A study of a folder: each way's rate chosen on validation images, with the same budget, then judged on test images.

A trial that has been made is read, not made again, so a study goes on where it was interrupted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from submasking.experiments.photographs.trials import PROBE, WAYS, Place, Settings, Trial
from submasking.experiments.photographs.trials import run as run_trial
from submasking.experiments.run import identity_of
from submasking.files import atomic, identity
from submasking.learning.probe_search import best_decay
from submasking.records.places import results_folder
from submasking.worlds import origin

STEP = 3.0  # between rates
FAILED = -1.0  # accuracy of a training that went out of bounds
Found = dict[str, Any]
Chosen = tuple[float, dict[float, float]]  # a rate, and what each that was tried gave


def run(settings: Settings, *, progress: bool = True) -> list[Found]:
    """Choose all rates, judge all ways; a printed line each.

    Returns:
        One entry for each way and seed: "way", "rate", "seed", what `trials.run` found, and "chosen", by rate the
        accuracy on the validation images.

    Raises:
        ValueError: the folder, the network or a setting is not what it must be.
    """
    log = _Log(settings, progress)
    probe = _decay(log)
    log.place.decay = probe[0]
    chosen = {PROBE: probe} | {way: _rates(log, way) for way in WAYS if way != PROBE}
    found = []
    for seed in range(settings.seeds):
        for way, (rate, tried) in chosen.items():
            made = log.made(Trial(way, rate, seed, "test"))
            found.append({"way": way, "rate": rate, "seed": seed, "chosen": tried} | made)
    return found


def best(tried: Mapping[float, float]) -> float:
    """The rate with the highest accuracy; of equals the smallest."""
    return max(sorted(tried), key=lambda rate: tried[rate])


def following(tried: Mapping[float, float], begin: float) -> float:
    """The rate to try after those that were tried.

    Both neighbours of the first; then on beyond an end that is best, else between the best and its better neighbour.

    Args:
        tried: accuracy by rate.
        begin: the first.
    """
    if begin not in tried:
        return begin
    for rate in (begin * STEP, begin / STEP):
        if not any(_same(rate, other) for other in tried):
            return _rounded(rate)
    top, rates = best(tried), sorted(tried)
    beyond = [rates[-1] * STEP, rates[0] / STEP]
    place = rates.index(top)
    beside = sorted(rates[max(place - 1, 0) : place] + rates[place + 1 : place + 2], key=lambda rate: -tried[rate])
    between = [(top * rate) ** 0.5 for rate in beside]
    ends = [rate for rate, end in zip(beyond, (rates[-1], rates[0]), strict=True) if end == top]
    return next(_rounded(rate) for rate in ends + between + beyond if not any(_same(rate, other) for other in tried))


def _rounded(rate: float) -> float:
    return float(f"{rate:.2g}")


def _same(one: float, other: float) -> bool:
    return abs(one / other - 1) < 0.1


def _decay(log: _Log) -> Chosen:
    def search() -> Found:
        judged, views = log.place.images["validation"][1], log.place.views("validation", 0)
        choice = best_decay(log.place.features(views), views.labels, log.place.features(judged), judged.labels)
        shares = [[decay, share] for decay, share in choice.tried.items()]
        return {"decay": choice.decay, "accuracy": choice.tried[choice.decay], "tried": shares, "inside": choice.inside}

    found = log.kept("LP-search", search)
    return found["decay"], dict(found["tried"])


def _rates(log: _Log, way: str) -> Chosen:
    tried: dict[float, float] = {}
    while len(tried) < log.place.settings.tries:
        rate = following(tried, WAYS[way].rate)
        tried[rate] = log.made(Trial(way, rate, 0, "validation"))["accuracy"]
    return best(tried), tried


class _Log:
    """The trials of a study in its folder, and how far it has come."""

    def __init__(self, settings: Settings, progress: bool) -> None:
        self.place, self.progress = Place(settings), progress
        self.folder = folder_of(settings)
        trained = len(WAYS) - 1
        self.total = 1 + trained * settings.tries + len(WAYS) * settings.seeds
        self.number, self.spent, self.timed = 0, 0.0, 0

    def made(self, trial: Trial) -> Found:
        """What a trial found, now or before; one whose training went out of bounds has accuracy -1."""

        def attempt() -> Found:
            try:
                return run_trial(self.place, trial, progress=self.progress)
            except FloatingPointError as error:
                if trial.split == "test":
                    raise
                return {"accuracy": FAILED, "failed": str(error)}

        return self.kept(trial.name, attempt)

    def kept(self, name: str, make: Callable[[], Found]) -> Found:
        """What is in the file of this name; where there is none it is made."""
        file, started = self.folder / f"{name}.json", time.perf_counter()
        self.number += 1
        if file.exists():
            found, how = json.loads(file.read_text(encoding="utf-8")), "read"
        else:
            found = make()
            atomic.write(file, json.dumps(found))
            self.spent, self.timed = self.spent + time.perf_counter() - started, self.timed + 1
            how = f"{time.perf_counter() - started:.0f} s"
        left = self.spent / max(self.timed, 1) * (self.total - self.number)
        outcome = found.get("failed") or f"accuracy {found['accuracy']:.3f}"
        print(f"[{self.number}/{self.total}, {left:.0f} s left] {name} ({how}): {outcome}", flush=True)
        return found


def folder_of(settings: Settings) -> Path:
    """Where the trials of a study lie: another for other contents of the folder, weights or settings."""
    told = asdict(settings) | {"data": ""}
    del told["tries"], told["seeds"]  # more of them are the same trials and more
    told |= {"identity": identity_of("images", settings.data, settings.weights)}
    told |= {"backbone": origin.of(settings.model, "images", weights=settings.weights)}
    return results_folder("images") / "photographs" / f"{Path(settings.data).resolve().name}-{identity.short(told)}"
