"""Choose the learning rates of profile tiny on validation images, with the same budget for every method.

    python -m benchmarks.learning_rates                     all that is missing, on as many cores as there are
    python -m benchmarks.learning_rates SSM SSFT            these methods only
    python -m benchmarks.learning_rates --model rn50-timm   this model only

Searches with the same share of the labels have the same number of trials, each on two data sets with a draw of training
images that no run of the grid has; the mean top-1 decides, of methods without labels that of the probe with 10 % of the
labels. A search begins with four rates and one head rate and goes on where the best lies at an edge of the rates tried,
then likewise with the rate of the head; what is left it spends between the best rate and its better neighbour. The
record learning_rates.json keeps all that was tried; what has been tried is not run again. No test image is touched.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import pairwise
from statistics import fmean
from typing import Any, NamedTuple

from submasking.files import atomic
from submasking.records import places, profiles
from submasking.records.names import MODELS
from submasking.report import tuning

BUDGET = {100.0: 11, 10.0: 13, 0.0: 11}  # trials of a search, by the share of the labels
SEED = 100  # of the training images, labels, order and head
STEP = 10**0.5
RECORD = places.committed_folder("tiny") / "learning_rates.json"
Rates = tuple[float, float]  # of what the method trains, and of the head


class Search(NamedTuple):
    """One search: a method for one model and one share of the labels, and where it begins.

    The rate of the head is that of projection and prototypes where there are no labels. A linear probe (LP) has no
    rates: its weight decay is searched in place of the first, and there is no other (0). A control that trains nothing
    but a head (FS-none) has that rate in place of the first.
    """

    method: str
    model: str
    labels: float
    begin: float
    head: float

    @property
    def step(self) -> float:
        """Factor between neighbours: what a probe is good for changes more slowly with its decay than masks' rates."""
        return STEP**2 if self.method == "LP" else STEP

    @property
    def datasets(self) -> tuple[str, ...]:
        return ("cifar100", "dtd") if self.labels == 100 else ("cifar100", "sun397")


_BEGIN = {"FS": 15.0, "FS-magnitude": 5.0, "FS-squared": 0.1, "FFT": 0.03}
_BEGIN_VIT = {"FS": 10.0, "FS-magnitude": 3.0, "FS-squared": 0.03, "FFT": 0.01}
# for the models that came last: the four rates span all that won for the three before
_BEGIN_LAST = {"FS": 47.0, "FS-squared": 0.1, "FFT": 0.03}
# the rates of the first world are the second, third and second of the four
_BEGIN_UNLABELLED = {"SSM": 6.3, "SSM-squared": 0.3, "SSFT": 0.158}
_LAST = ("rn50-timm", "rn50-torch", "rn50-clip")
PROBED = (*((model, 100.0) for model in MODELS), ("rn50-swav", 10.0))
# begun at .03 this one spent its budget on the way down, and its best was its lowest; so it was begun anew
_BEGIN_LOWER = {("FFT", "rn50-clip"): 0.0003}
# of each network the four rates span what a short search of before had found, .1 to 1
_BEGIN_RIVALS = {"norms": 0.1, "biases": 0.032, "LoRA": 0.032, "one-bit LoRA": 0.032}
RIVALS = tuple(
    Search(way, model, 100.0, lr, 0.1) for model in ("rn18-timm", "vitb32-clip") for way, lr in _BEGIN_RIVALS.items()
)
CONTROLS = tuple(Search("FS-none", model, labels, 0.0032, 0.0) for model, labels in
                 (*((model, 100.0) for model in profiles.TINY.control_models), ("rn50-swav", 10.0)))  # fmt: skip
PROBES = tuple(Search("LP", model, labels, 0.01, 0.0) for model, labels in PROBED)
SEARCHES = (
    *(Search(method, "rn50-swav", 100.0, lr, 0.1) for method, lr in _BEGIN.items()),
    *(Search(method, "rn18-timm", 100.0, lr, 0.1) for method, lr in _BEGIN.items()),
    *(Search(method, "vitb32-clip", 100.0, lr, 0.1) for method, lr in _BEGIN_VIT.items()),
    *(Search(method, "rn50-swav", 10.0, lr, 0.1) for method, lr in _BEGIN.items() if method != "FS-magnitude"),
    *(Search(method, "rn50-swav", 0.0, lr, 0.6) for method, lr in _BEGIN_UNLABELLED.items()),
    *(
        Search(method, model, 100.0, _BEGIN_LOWER.get((method, model), lr), 0.1)
        for model in _LAST
        for method, lr in _BEGIN_LAST.items()
    ),
)
EVERY = (*SEARCHES, *PROBES, *RIVALS, *CONTROLS)


def search(
    begin: float, head: float, budget: int, score: Callable[[Rates], float], step: float = STEP
) -> dict[Rates, float]:
    """Try `budget` rates, the next by what the last gave; returns the score of each, -inf where training failed."""
    tried: dict[Rates, float] = {}

    def attempt(lr: float, head_lr: float) -> None:
        rates = (float(f"{lr:.2g}"), float(f"{head_lr:.2g}"))
        if rates not in tried and len(tried) < budget:
            tried[rates] = score(rates)

    for power in range(4):
        attempt(begin * step**power, head)
    while len(tried) < budget:
        before = len(tried)
        (lr, head_lr), rates = max(tried, key=lambda each: tried[each]), sorted({each[0] for each in tried})
        heads = sorted({each[1] for each in tried})
        if lr in (rates[0], rates[-1]):  # at an edge: go on beyond it
            attempt(lr / step if lr == rates[0] else lr * step, head_lr)
        elif head_lr and head_lr in (heads[0], heads[-1]):
            for factor in [1 / STEP] * (head_lr == heads[0]) + [STEP] * (head_lr == heads[-1]):
                attempt(lr, head_lr * factor)
        else:  # between the best and its better neighbour; where rounding leaves nothing there, ever farther away
            place = rates.index(lr)
            neighbours = (rates[place - 1], rates[place + 1])
            known = {each: max(tried[pair] for pair in tried if pair[0] == each) for each in neighbours}
            between = [((lr * near) ** 0.5, head_lr) for near in sorted(neighbours, key=lambda each: -known[each])]
            between += [(lr, (head_lr * near) ** 0.5) for near in heads if near != head_lr]
            gaps = sorted(pairwise(rates), key=lambda gap: abs(math.log(gap[0] * gap[1] / lr**2)))
            between += [((low * high) ** 0.5, head_lr) for low, high in gaps]
            for pair in between:
                if len(tried) == before:
                    attempt(*pair)
        if len(tried) == before:  # nothing lies between
            break
    return tried


def trial(chosen: Search, rates: Rates, dataset: str, profile: profiles.Profile = profiles.TINY) -> dict[str, Any]:
    """One run with the given learning rates, judged on the validation images."""
    from submasking.experiments.analyses import equal_storage, rivals
    from submasking.experiments.methods import METHODS
    from submasking.experiments.run import Run

    given: dict[str, Any] = {"lr": rates[0], "head_lr": rates[1]}
    if chosen.method == "LP":
        changed: dict[str, Any] = {"decays": {chosen.model: rates[0]}}
    elif chosen.method == "FS-none":
        plan = dataclasses.replace(profile.method(chosen.method, chosen.model, chosen.labels), head_lr=rates[0])
        changed = {"methods": {chosen.method: plan}}
        given |= {"epochs": plan.epochs}
    else:
        plan = dataclasses.replace(profile.method(chosen.method, chosen.model, chosen.labels), **given)
        changed = {"methods": {chosen.method: plan}}
        given |= {"epochs": plan.epochs, "warmup": plan.warmup}
    profiles.PROFILES[profile.name] = dataclasses.replace(profile, evaluated_on="validation", **changed)
    rival = chosen.method in rivals.RIVALS  # which is no method of the grid
    method = equal_storage.MASK if rival else chosen.method
    task = Run(profile.name, chosen.model, dataset, method, chosen.labels, SEED)
    try:
        found = equal_storage.judged(task, chosen.method) if rival else METHODS[method](task, False)
        outcome = {"metrics": found["metrics"], **found.get("series", {}), **found["timings"]}
    except FloatingPointError as error:
        outcome = {"failed": str(error)}
    identity = {"method": chosen.method, "model": chosen.model, "labels": chosen.labels, "dataset": dataset}
    return identity | given | outcome


def run(chosen: Search, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All trials of a search; those that are known are not run again."""
    import torch

    torch.set_num_threads(1)
    trials: list[dict[str, Any]] = []

    def score(rates: Rates) -> float:
        found = []
        for dataset in chosen.datasets:
            wanted = (chosen.method, chosen.model, chosen.labels, dataset, *rates)
            same = [entry for entry in known if identity(entry) == wanted]
            trials.append(same[0] if same else trial(chosen, rates, dataset))
            found.append(trials[-1])
        print(chosen.method, chosen.model, f"{chosen.labels:g} %", *rates, f"{mean(found):.4f}", flush=True)
        return mean(found)

    search(chosen.begin, chosen.head, BUDGET[chosen.labels], score, chosen.step)
    return trials


def mean(entries: Sequence[dict[str, Any]]) -> float:
    """What trials of one search at the same rates are judged by; -inf where one of them failed."""
    return fmean(each.get("metrics", {}).get(tuning.judged_by(each["method"]), float("-inf")) for each in entries)


def identity(entry: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one trial from another."""
    return tuple(entry[name] for name in ("method", "model", "labels", "dataset", "lr", "head_lr"))


def keep(trials: list[dict[str, Any]]) -> None:
    """Add trials to the record, in place of earlier ones of the same settings."""
    merged = {identity(entry): entry for entry in [*record(), *trials]}
    ordered = [merged[key] for key in sorted(merged)]
    atomic.write(RECORD, "[\n" + ",\n".join(json.dumps(entry, sort_keys=True) for entry in ordered) + "\n]\n")


def selected(methods: Sequence[str], model: str | None) -> list[Search]:
    """The searches of these methods (none named: of all) and of this model; ValueError where there is none of one."""
    searches = [each for each in EVERY if model in (None, each.model)]
    offered = sorted({each.method for each in searches})
    unknown = [name for name in methods if name not in offered]
    if not searches:
        raise ValueError(
            f"model must be one of {', '.join(dict.fromkeys(each.model for each in SEARCHES))}; got {model!r}"
        )
    if unknown:
        raise ValueError(f"methods must be among {', '.join(offered)}; got {', '.join(unknown)}")
    return [each for each in searches if not methods or each.method in methods]


def record() -> list[dict[str, Any]]:
    """All trials that are kept."""
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else []


@contextmanager
def apart() -> Iterator[None]:
    """Have trials use the grid's backbones, and leave no half-trained run where the grid would resume it."""
    before = os.environ.get("SUBMASKING_RESULTS")
    backbones = places.results_folder("tiny") / "backbones"
    backbones.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SUBMASKING_RESULTS"] = folder
        places.results_folder("tiny").mkdir(parents=True)
        (places.results_folder("tiny") / "backbones").symlink_to(backbones)
        try:
            yield
        finally:
            if before is None:
                del os.environ["SUBMASKING_RESULTS"]
            else:
                os.environ["SUBMASKING_RESULTS"] = before


def main() -> None:
    """Search for the methods named on the command line."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", help="of " + ", ".join(sorted({each.method for each in EVERY})))
    parser.add_argument("--model", help="search for this model only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="searches at once")
    asked = parser.parse_args()
    try:
        searches = selected(asked.methods, asked.model)
    except ValueError as error:
        parser.error(str(error))
    known = record()
    with apart(), ProcessPoolExecutor(asked.jobs) as pool:
        for done in as_completed([pool.submit(run, each, known) for each in searches]):
            keep(done.result())


if __name__ == "__main__":
    main()
