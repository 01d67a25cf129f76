"""A study of a folder: each way's rate chosen on validation images, with the same budget, then judged on test images.

A trial that has been made is read, not made again, so a study goes on where it was interrupted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from submasking.experiments.photographs import why
from submasking.experiments.photographs.trials import Place, Settings, Trial
from submasking.experiments.photographs.trials import run as run_trial
from submasking.experiments.run import identity_of
from submasking.files import atomic, identity
from submasking.learning.probe_search import best_decay
from submasking.records.photographs import FEW, PROBE, RIVAL, UNLABELLED, WAYS, chosen
from submasking.records.places import results_folder
from submasking.tasks import codec
from submasking.worlds import origin

STEP = 3.0  # between rates
RATES = (0.011, 0.033, 0.1, 0.3, 0.9, 2.7)  # of both on one axis, as `following` rounds them
SAME = (RIVAL, "FS-squared late")
ALIKE = (RIVAL, "FS late", "FS-squared late")  # whose masks, or turned signs, are laid over each other
TWICE = 2  # seeds whose masks are kept for that
FAILED = -1.0  # accuracy of a training that went out of bounds
Found = dict[str, Any]
Chosen = tuple[float, dict[float, float], dict[float, float]]  # a rate, what each that was tried gave, and a final
FINALISTS = 2  # rates that are tried once more, with another seed and, of a folder without any, other validation images


def run(
    settings: Settings,
    ways: str = "main",
    shares: tuple[float, ...] = (),
    *,
    known: Collection[tuple[str, float]] = (),
    progress: bool = True,
) -> list[Found]:
    """Choose all rates, judge all ways; a printed line each.

    Args:
        settings: of the study.
        ways: see `submasking.records.photographs.chosen`.
        shares: percent of the labels, each below 100, with which `FEW` ways are tried once more.
        known: ways with shares of the labels that are left out, since they were judged before.
        progress: show bars.

    Returns:
        One entry for each way, share of the labels and seed: "way", "rate", "seed", "share", what `trials.run` found,
        "chosen", pairs of a rate and the accuracy on the validation images, and "final", pairs of each of the best
        `FINALISTS` and its mean accuracy over two trainings, by which the rate is chosen.

    Raises:
        ValueError: the folder, the network or a setting is not what it must be, or an unknown way.
    """
    if odd := [share for share in shares if not 0 < share < 100 or shares.count(share) > 1]:
        raise ValueError(
            f"shares of the labels must lie above 0 and below 100 percent, each once, got {odd[0]:g}; leave it out, all"
            " labels are always asked for"
        )
    asked = [
        (way, 100.0) for way in chosen(ways) if not {(way, share) for share in _judging(way, shares)} <= set(known)
    ]
    asked += [(way, share) for share in shares for way in FEW if (way, share) not in known]
    if not asked:
        return []
    log = _Log(settings, asked, progress)
    log.place.require_stage()
    found = []
    probes = {share: _decay(log, share) for share in (100.0, *shares)}
    log.place.decays |= {share: decay for share, (decay, *_) in probes.items()}
    for share, probe in probes.items():
        rates = {way: probe if way == PROBE else _rates(log, way, share) for way, of in asked if of == share}
        for seed in range(settings.seeds):
            for way, (rate, tried, final) in rates.items():
                made = log.made(Trial(way, rate, seed, "test", share))
                told = {"way": way, "rate": rate, "seed": seed, "share": share, "chosen": sorted(tried.items())}
                told["final"] = sorted(final.items())
                alone = made.pop("probes", ())  # one training without labels, judged by a probe for each share of them
                found.append(told | made)
                found += [told | made | {"share": few, "predictions": given} for few, given in alone]
    return found


def _judging(way: str, shares: tuple[float, ...]) -> tuple[float, ...]:
    """Shares of the labels that a way's training with all of them is judged with: without labels by all probes."""
    return (100.0, *shares) if way in UNLABELLED else (100.0,)


def curves(settings: Settings, *, progress: bool = True) -> Found:
    """Fine-tuning and masks from the square at the same rates, on validation images.

    Returns:
        By way pairs of a rate and the accuracy, and "signs": of each rate how far the masks agree with the signs that
        fine-tuning turned, see `submasking.experiments.photographs.why.overlap`.
    """
    asked = [(way, 100.0) for way in SAME]
    log = _Log(settings, asked, progress)
    log.total = 1 + len(SAME) * len(RATES)
    log.place.decays[100.0] = _decay(log, 100.0)[0]
    found: Found = {way: [] for way in SAME} | {"signs": []}
    for rate in RATES:
        trials = [Trial(way, rate, 0, "validation") for way in SAME]
        for trial in trials:
            found[trial.way].append([rate, log.made(trial)["accuracy"]])
        if log.masks(*trials):
            found["signs"].append([rate, log.overlap(*trials)])
    return found


def alike(settings: Settings, found: list[Found]) -> list[Found]:
    """How far the masks of the trainings that were judged agree, with each other and with fine-tuning's signs.

    Args:
        settings: of the study.
        found: what `run` returned.

    Returns:
        For pairs of two ways of one seed, and of two seeds of one way: "ways", "seeds" and the numbers of
        `submasking.experiments.photographs.why.overlap`.
    """
    log = _Log(settings, [], False)
    trials = {
        (entry["way"], entry["seed"]): Trial(entry["way"], entry["rate"], entry["seed"], "test")
        for entry in found
        if entry["way"] in ALIKE and entry["share"] == 100 and entry["seed"] < TWICE
    }
    pairs = [
        (one, other)
        for one, other in combinations(sorted(trials), 2)
        if (one[0] == other[0]) != (one[1] == other[1])  # two seeds of one way, or two ways of one seed
    ]
    return [
        {"ways": [one[0], other[0]], "seeds": [one[1], other[1]]} | log.overlap(trials[one], trials[other])
        for one, other in pairs
        if log.masks(trials[one], trials[other])
    ]


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


def _decay(log: _Log, share: float) -> Chosen:
    trial = Trial(PROBE, 0.0, 0, "validation", share)

    def search() -> Found:
        judged = log.place.images("validation")[1]
        choice = best_decay(*log.place.probe(trial), log.place.judged(trial), judged.labels)
        shares = [[decay, share] for decay, share in choice.tried.items()]
        return {"decay": choice.decay, "accuracy": choice.tried[choice.decay], "tried": shares, "inside": choice.inside}

    found = log.kept("LP-search" if share == 100 else f"LP-search-labels{share:g}", search)
    return found["decay"], dict(found["tried"]), {}


def _rates(log: _Log, way: str, share: float) -> Chosen:
    tried: dict[float, float] = {}
    if not WAYS[way].rate:  # nothing is learnt but the head
        return 0.0, tried, {}
    while len(tried) < log.place.settings.tries:
        rate = following(tried, WAYS[way].rate)
        tried[rate] = log.made(Trial(way, rate, 0, "validation", share))["accuracy"]
    # one training on few images tells near rates apart by luck: the best ones meet again
    again = sorted(sorted(tried), key=lambda rate: -tried[rate])[: FINALISTS if len(tried) > 1 else 0]
    final = {rate: (tried[rate] + log.made(Trial(way, rate, 1, "validation", share))["accuracy"]) / 2 for rate in again}
    return best(final or tried), tried, final


class _Log:
    """The trials of a study in its folder, and how far it has come."""

    def __init__(self, settings: Settings, asked: list[tuple[str, float]], progress: bool) -> None:
        self.place, self.progress = Place(settings), progress
        self.folder = folder_of(settings)
        searches = len({share for _, share in asked})
        trained = sum(bool(WAYS[way].rate) and way != PROBE for way, _ in asked)
        finals = FINALISTS if settings.tries > 1 else 0
        self.total = searches + trained * (settings.tries + finals) + len(asked) * settings.seeds
        self.number, self.spent, self.timed = 0, 0.0, 0

    def made(self, trial: Trial) -> Found:
        """What a trial found, now or before; one whose training went out of bounds has accuracy -1."""
        mask = self.folder / f"{trial.name}.mask" if trial.seed < (TWICE if trial.split == "test" else 1) else None

        def attempt() -> Found:
            try:
                return run_trial(self.place, trial, progress=self.progress, file=mask)
            except FloatingPointError as error:
                if trial.split == "test":
                    raise
                return {"accuracy": FAILED, "failed": str(error)}

        few = [f"{share:g}" for share in sorted(self.place.decays) if share < 100]
        # a training without labels is judged by a probe for each share that is asked for: another set, another file
        judged = f"-probed{'-'.join(few)}" if few and trial.way in UNLABELLED else ""
        return self.kept(f"{trial.name}{judged}", attempt)

    def masks(self, *trials: Trial) -> bool:
        """Whether the masks of trials were kept: of a training that went out of bounds there is none."""
        return all((self.folder / f"{trial.name}.mask").exists() for trial in trials)

    def overlap(self, one: Trial, other: Trial) -> Found:
        """Of the masks of two trials, on the tensors that both have."""
        before, masks = dict(self.place.backbone.trunk.named_parameters()), []
        for trial in (one, other):
            names = json.loads((self.folder / f"{trial.name}.json").read_text(encoding="utf-8"))["why"]["layers"]
            masks.append(codec.decode((self.folder / f"{trial.name}.mask").read_bytes(), {n: before[n] for n in names}))
        both = masks[0].keys() & masks[1].keys()
        return why.overlap(*({name: mask[name] for name in sorted(both)} for mask in masks))

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
    told = settings.told | {"data": "", "weights": ""}
    del told["tries"], told["seeds"]  # more of them are the same trials and more
    told |= {"identity": identity_of("images", settings.data, settings.weights)}
    told |= {"backbone": origin.of(settings.model, "images", weights=settings.weights, options=settings.options)}
    return results_folder("images") / "photographs" / f"{Path(settings.data).resolve().name}-{identity.short(told)}"
