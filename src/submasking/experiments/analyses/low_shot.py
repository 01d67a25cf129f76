"""How few labels until images without labels pay, and what masks without labels are worth on every data set.

What the grid has at its shares of the labels is read from its records; other shares, the networks that leave no mask
file, and the data sets that the grid does not adapt without labels are trained here, with the profile's settings.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from submasking.experiments import methods
from submasking.experiments.analyses import keeping
from submasking.experiments.analyses.trials import Found, Trials, compared
from submasking.experiments.run import Run
from submasking.learning.evaluate import accuracy, features, nearest_neighbours
from submasking.learning.images import ImageSet
from submasking.learning.probe import linear_probe
from submasking.records import predictions
from submasking.records.analyses import Analysis, Row, number
from submasking.records.names import DATASETS
from submasking.records.profiles import profile
from submasking.records.results import Record
from submasking.report import frames, statistics, verdicts
from submasking.report.statistics import Sample
from submasking.tasks import maskfile

NAME = "low_shot"
LABELLED, UNLABELLED = ("LP", "FS", "FS-squared", "FFT"), ("SSM", "SSM-squared", "SSFT")
MASKS = UNLABELLED[:2]  # of these what every data set is asked
FEW = 10.0  # percent; the profile's settings for this share serve all below `HALFWAY`
HALFWAY = 30.0  # percent, between 10 and 100 on a scale of ratios
KNN, ALL = "knn", 100.0
Samples = dict[str, Sample]


@dataclass(frozen=True)
class Budget:
    """What is trained.

    Attributes:
        datasets: those of the curves.
        every: those that are asked what masks without labels are worth; the grid's come on top.
        seeds: of the trainings.
        shares: of the labels, in percent, above 0 and up to 100.
    """

    datasets: tuple[str, ...]
    every: tuple[str, ...]
    seeds: tuple[int, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.shares or not all(0 < share <= 100 for share in self.shares):
            raise ValueError(
                f"shares must lie above 0 and up to 100 (percent of the labels), got {self.shares}; such as 5,10,100"
            )
        if twice := [share for share in self.shares if self.shares.count(share) > 1]:
            raise ValueError(f"shares must be named once each; got {twice[0]:g} twice; leave one out")

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """Data set and seed of all trainings, seed by seed."""
        return [(name, seed) for seed in self.seeds for name in dict.fromkeys(self.datasets + self.every)]


def analyse(profile_name: str, model: str, budget: Budget) -> Analysis:
    """Read, train what is missing, compare.

    Args:
        profile_name: name of a profile with a grid.
        model: whose network, pretrained without labels.
        budget: see there.
    """
    seeds = ",".join(map(str, budget.seeds))
    records = keeping.records_of(run for run in keeping.tasks(NAME, profile_name, model, seeds) if _wanted(run, budget))
    told = {"datasets": list(budget.datasets), "every": list(budget.every), "shares": list(budget.shares),
            "seeds": list(budget.seeds)}  # fmt: skip

    def make() -> keeping.Tables:
        return tables(_Found(profile_name, model, budget, records).samples(), budget)

    return keeping.kept(NAME, profile_name, model, records, told, make)


def _wanted(run: Run, budget: Budget) -> bool:
    """Whether a run of the grid is asked for."""
    if run.method in ("ZS", "LP") and run.labels == ALL:
        return run.dataset in budget.datasets + budget.every
    return run.dataset in budget.datasets and run.labels in (0.0, *budget.shares)


class _Found:
    """Outcomes by data set and way, from records and trainings."""

    def __init__(self, profile_name: str, model: str, budget: Budget, records: Sequence[Record]) -> None:
        self.profile, self.model, self.budget = profile_name, model, budget
        self.frame = frames.to_frame(list(records))
        shares = [share for share in budget.shares if share not in profile(profile_name).label_percents]
        count = sum(1 + len(shares) * len(LABELLED) if name in budget.datasets else 0 for name, _ in budget.pairs)
        self.trials = Trials(NAME, profile_name, count + len(MASKS) * len(budget.pairs))

    def samples(self) -> dict[str, Samples]:
        """By data set and "way@share" (or "way knn") what was measured."""
        trained: dict[str, dict[str, dict[int, Found]]] = {}
        for dataset, seed in self.budget.pairs:
            curves = dataset in self.budget.datasets
            for way in UNLABELLED if curves else MASKS:
                for key, found in self._unlabelled(way, dataset, seed).items():
                    trained.setdefault(dataset, {}).setdefault(key, {})[seed] = found
            for share in self.budget.shares if curves else ():
                for way in LABELLED:
                    if self._rows(way, dataset, share).empty:
                        found = self._labelled(way, dataset, seed, share)
                        trained[dataset].setdefault(f"{way}@{share:g}", {})[seed] = found
        return {dataset: self._known(dataset) | _sampled(ways) for dataset, ways in trained.items()}

    def _known(self, dataset: str) -> Samples:
        """What records hold of a data set."""
        found = {f"ZS {KNN}": self._rows("ZS", dataset, ALL)} | {
            f"{way}@{share:g}": self._rows(way, dataset, share)
            for way in LABELLED
            for share in dict.fromkeys((*self.budget.shares, ALL))
        }
        metric = {name: KNN if name.endswith(KNN) else "top1" for name in found}
        return {name: verdicts.sample(rows, metric[name]) for name, rows in found.items() if len(rows)}

    def _rows(self, way: str, dataset: str, share: float) -> Any:
        rows = self.frame[(self.frame.method == way) & (self.frame.dataset == dataset) & (self.frame.labels == share)]
        return rows[rows.seed.isin(self.budget.seeds)]

    def _labelled(self, way: str, dataset: str, seed: int, share: float) -> Found:
        """Train with a share of the labels that the grid has not, in as many steps, at the rates of a near share."""
        near = FEW if share < HALFWAY else ALL
        task = Run(self.profile, self.model, dataset, way, near, seed)
        told = {"way": f"{way}@{share:g}", "dataset": dataset, "seed": seed, "recipe": task.recipe()}
        return self.trials.find(told, partial(_trained, task, share))

    def _unlabelled(self, way: str, dataset: str, seed: int) -> dict[str, Found]:
        """Adapt without labels, or read the mask of the grid; then probe with each share, and by neighbours."""
        task = Run(self.profile, self.model, dataset, way, 0.0, seed)
        shares = self.budget.shares if dataset in self.budget.datasets else (ALL,)
        told = {"way": way, "dataset": dataset, "seed": seed, "shares": list(shares), "recipe": task.recipe()}
        found = self.trials.find(told, partial(_probed, task, shares))
        keys = [name.removesuffix(" packed") for name in found if name.endswith(" packed")]
        one = {key: {"top1": found[key], "packed": found[f"{key} packed"], "labels": found["labels"]} for key in keys}
        return {f"{way} {key}" if key == KNN else f"{way}@{key}": each for key, each in one.items()}


def _trained(task: Run, share: float) -> Found:
    """A run of a method with labels, but with another share of them."""
    test, train = methods.images_of(task, "test"), methods.images_of(task, "train")
    few = methods.with_labels(task, train, share)
    backbone = methods.backbone_of(task)
    if task.method == "LP":
        bank, queries = (_features(task, backbone.trunk, each) for each in (train, test))
        return _outcome(linear_probe(bank[few], train.labels[few], queries, **_how(task, share))[0], test)
    plan = profile(task.profile).method(task.method, task.model, task.labels)
    # as many steps: `learn` lengthens the epochs by the share of the run's name
    epochs = round(plan.epochs * task.labels / share) if profile(task.profile).same_steps else plan.epochs
    adapted = methods.learn(task, backbone, train.subset(few), False, epochs=epochs, checkpoint=None)
    assert adapted.head is not None
    with torch.inference_mode():
        return _outcome(adapted.head.cpu()(_features(task, adapted.trunk, test)).argmax(1), test)


def _probed(task: Run, shares: Sequence[float]) -> Found:
    """Probes with shares of the labels, and nearest neighbours with all, on a network adapted without labels."""
    train, test = (methods.images_of(task, split) for split in ("train", "test"))
    trunk = _adapted(task, train)
    bank, queries = (_features(task, trunk, each) for each in (train, test))
    k = profile(task.profile).neighbours
    given: dict[str, Tensor] = {KNN: nearest_neighbours(bank, train.labels, queries, k=k)}
    for share in shares:
        few = methods.with_labels(task, train, share)
        given[f"{share:g}"] = linear_probe(bank[few], train.labels[few], queries, **_how(task, share))[0]
    found: Found = {"labels": predictions.pack(test.labels.tolist())}
    for name, classes in given.items():
        found |= {name: accuracy(classes, test.labels), f"{name} packed": predictions.pack(classes.tolist())}
    return found


def _how(task: Run, share: float) -> dict[str, Any]:
    """What a probe is told where the share of the labels is one of the profile's, or the nearer of them."""
    return profile(task.profile).probe(task.model, FEW if share < HALFWAY else ALL)


def _adapted(task: Run, train: ImageSet) -> nn.Module:
    """The network of a run without labels: its mask laid on where the grid has left one, else trained."""
    backbone = methods.backbone_of(task)
    if task.mask_file.is_file():
        trunk = copy.deepcopy(backbone.trunk)
        maskfile.load(task.mask_file).apply(trunk)
        return trunk
    return methods.learn(task, backbone, train, False, checkpoint=None).trunk


def _features(task: Run, trunk: nn.Module, images: ImageSet) -> Tensor:
    return features(trunk, images, methods.backbone_of(task).normalise, device=methods.device(task.profile))


def _outcome(classes: Tensor, test: ImageSet) -> Found:
    labels = predictions.pack(test.labels.tolist())
    return {"top1": accuracy(classes, test.labels), "packed": predictions.pack(classes.tolist()), "labels": labels}


def _sampled(ways: Mapping[str, Mapping[int, Found]]) -> Samples:
    found = {}
    for name, by_seed in ways.items():
        values = {seed: float(one["top1"]) for seed, one in by_seed.items()}
        right = {seed: np.array(predictions.right(one["packed"], one["labels"])) for seed, one in by_seed.items()}
        found[name] = Sample(values, right, "", name=name)
    return found


def tables(samples: Mapping[str, Samples], budget: Budget) -> keeping.Tables:
    """Accuracy by share, against the probe on all data sets of the curves together, and masks on every data set.

    Args:
        samples: by data set and "way@share" or "way knn", on the same test images.
        budget: what was asked.
    """
    known = {name: {way: replace(one, test=name) for way, one in ways.items()} for name, ways in samples.items()}
    curve: list[Row] = []
    joined: Samples = {}
    for share in budget.shares:
        for way in LABELLED + UNLABELLED:
            key = f"{way}@{share:g}"
            found = {name: known[name][key] for name in budget.datasets}
            for name, one in found.items():
                mean = statistics.estimate(one)
                curve.append({"dataset": name, "method": way, "labels": share, "n": mean.seeds, "top1": mean.value,
                              "low": number(mean.low), "high": number(mean.high)})  # fmt: skip
            joined[key] = statistics.joined(list(found.values()))
    asked = [(way, share) for share in budget.shares for way in LABELLED + UNLABELLED if way != "LP"]
    apart = compared(joined, [(f"{way}@{share:g}", f"LP@{share:g}") for way, share in asked])
    against: list[Row] = []
    for (way, share), row in zip(asked, apart, strict=True):
        told: Row = {"method": way, "labels": share}
        against.append(told | {"top1": _mean(joined[f"{way}@{share:g}"])} | row)
    return {"curve": curve, "against": against, "sets": _sets(known)}


def _sets(known: Mapping[str, Samples]) -> list[Row]:
    """Masks without labels on every data set, by nearest neighbours and by a probe on all labels; one family."""
    asked = {
        (dataset, way, judge): (f"{way} {KNN}", f"ZS {KNN}") if judge == KNN else (f"{way}@{ALL:g}", f"LP@{ALL:g}")
        for dataset in DATASETS
        if dataset in known
        for way in MASKS
        for judge in (KNN, "lp")
    }
    asked = {at: pair for at, pair in asked.items() if all(name in known[at[0]] for name in pair)}
    pairs = [(f"{at[0]} {first}", f"{at[0]} {second}") for at, (first, second) in asked.items()]
    flat = {f"{at[0]} {name}": known[at[0]][name] for at, pair in asked.items() for name in pair}
    found: list[Row] = []
    for (dataset, way, judge), (first, second), row in zip(asked, pairs, compared(flat, pairs), strict=True):
        told: Row = {"dataset": dataset, "method": way, "judge": judge}
        found.append(told | {"top1": _mean(flat[first]), "before": _mean(flat[second])} | row)
    return found


def _mean(sample: Sample) -> float:
    return fmean(sample.values.values())
