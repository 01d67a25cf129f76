"""What of submasking matters: what is masked, how a score becomes a mask, what scores start from, how many prototypes.

Each variant changes one thing, is trained for the same few epochs, and has its learning rate chosen on validation
images among as many as the others. What the grid has run already (networks, starts) is read from its records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import nn

from submasking.experiments.analyses import keeping
from submasking.experiments.analyses.trials import Found, Trials, compared, onward
from submasking.experiments.methods import STYLES, device
from submasking.learning.adapt import Adapted, adapt
from submasking.learning.backbone import Backbone
from submasking.learning.evaluate import accuracy, features, label_subset, nearest_neighbours
from submasking.learning.images import ImageSet
from submasking.learning.probe import linear_probe
from submasking.masking.criteria import TopK
from submasking.masking.decision import Decision, Select, group_of
from submasking.masking.scores import Init
from submasking.masking.selection import first_layers, largest_part, random_part
from submasking.records.analyses import Analysis, Row
from submasking.records.names import MODELS
from submasking.records.profiles import Optimisation, Profile, profile
from submasking.records.results import Record
from submasking.report import frames, statistics, verdicts
from submasking.report.statistics import Sample
from submasking.tasks.shares import entropy_bits
from submasking.worlds import backbones, datasets

NAME = "ablations"
MODEL, UNLABELLED = "rn18-timm", "rn50-swav"  # networks of the variants with labels, and of the prototypes
HALF = 0.5
CHOOSING = 100  # seed of the training images on which rates are chosen: no run of the grid has it
STEPS = (1.0, 10**0.5, 10**-0.5, 10.0, 0.1)  # from a variant's usual rate to those that are tried
FEW = 10.0  # percent of the labels of the probe that judges a training without labels
PLAIN = "threshold"
Choose = Callable[[Backbone, int], str | Select]
Way = Callable[[float, str, int, str], Found]  # learning rate, data set, seed, split -> what is measured
Key = tuple[str, str, int]  # variant, data set, seed


@dataclass(frozen=True)
class Variant:
    """One change to the plain method: threshold 0, scores from 1, convolutions masked, nothing rescaled.

    Attributes:
        name: of the variant.
        asks: what it is a variant of.
        rate: learning rate of the scores as a multiple of the profile's.
        density: share of each tensor's weights that stays on: a number, or "found" by the threshold on the same set
            with the same seed; 1 keeps the threshold.
        stages: the density falls in that many equal steps, each trained for its part of the epochs.
        init: start of the scores.
        rescale: see `submasking.masking.masks.mask`.
        select: (backbone, seed) -> selection; "" is the backbone's preset.
    """

    name: str
    asks: str
    rate: float = 1.0
    density: float | str = 1.0
    stages: int = 1
    init: str = "constant"
    rescale: str = "none"
    select: Choose = lambda backbone, seed: ""


def _all(name: str, parameter: nn.Parameter) -> Decision:
    return Decision("mask", group_of(name))


def _weights(name: str, parameter: nn.Parameter) -> Decision:
    return Decision("freeze" if name.endswith("bias") else "mask", group_of(name))


# Scores that start at random are about a thirtieth of the constant start, and so are their rates.
_RANDOM: dict[str, Any] = {"rate": 0.03, "init": "kaiming"}
VARIANTS = (
    Variant(PLAIN, "plain"),
    Variant("rescaled", "rescale", rescale="variance"),
    Variant("top half", "share", density=HALF, **_RANDOM),
    Variant("top half in stages", "share", density=HALF, stages=3, **_RANDOM),
    Variant("top as found", "share", density="found", **_RANDOM),
    Variant("nothing frozen", "frozen", select=lambda backbone, seed: _all),
    Variant("biases frozen", "frozen", select=lambda backbone, seed: _weights),
    Variant("first layers", "part", select=lambda backbone, seed: first_layers(backbone.trunk, backbone.preset, HALF)),
    Variant("random half", "part", select=lambda backbone, seed: random_part(backbone.preset, HALF, seed)),
    Variant("largest half", "part", select=lambda backbone, seed: largest_part(backbone.preset, HALF)),
)
ASKS = {variant.name: variant.asks for variant in VARIANTS}
PROTOTYPES = {"a tenth": 0.1, "as many": 1.0, "ten times": 10.0}  # of the profile's; the paper's 50, 500, 5000


@dataclass(frozen=True)
class Budget:
    """How much is trained.

    Attributes:
        datasets: names; rates are chosen on the first.
        seeds: of the trainings that are judged on test images.
        tries: learning rates that are tried for each variant, 1 to 5; 1 takes the usual one.
        epochs: of each training, at least 1.
    """

    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    tries: int = 1
    epochs: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.tries <= len(STEPS) or self.epochs < 1:
            raise ValueError(
                f"tries must be 1 to {len(STEPS)} and epochs at least 1, got {self.tries} and {self.epochs}; 1 and 3"
                " are usual"
            )

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """Data set and seed of each judged training, seed by seed."""
        return [(dataset, seed) for seed in self.seeds for dataset in self.datasets]


def analyse(profile_name: str, model: str, budget: Budget, seeds: str = "all") -> Analysis:
    """Train the variants, read the runs, compare.

    Args:
        profile_name: name of a profile with a grid.
        model: whose runs are read for the comparison of networks; "all" for every one.
        budget: see there.
        seeds: of the runs that are read, whole numbers split by commas; "all" is the profile's.
    """
    records = keeping.records_of(
        run for run in keeping.tasks(NAME, profile_name, model, seeds) if run.dataset in budget.datasets
    )
    told = {"datasets": list(budget.datasets), "seeds": list(budget.seeds), "tries": budget.tries,
            "epochs": budget.epochs}  # fmt: skip

    def make() -> keeping.Tables:
        return variants(profile_name, budget) | networks(records) | starts(records)

    return keeping.kept(NAME, profile_name, model, records, told, make)


def variants(profile_name: str, budget: Budget) -> keeping.Tables:
    """Train every variant with labels, and every number of prototypes without; tables of what came."""
    count = len(VARIANTS) + len(PROTOTYPES)
    trials = Trials(NAME, profile_name, count * ((budget.tries if budget.tries > 1 else 0) + len(budget.pairs)))
    world, judged = _World(profile_name, budget), dict[Key, Found]()
    ways: dict[str, Way] = {variant.name: partial(world.labelled, judged, variant) for variant in VARIANTS}
    ways |= {name: partial(world.unlabelled, share) for name, share in PROTOTYPES.items()}
    rates, tried = dict[str, float](), list[Row]()
    for name, way in ways.items():
        if budget.tries == 1:
            rates[name] = world.usual(name)
            continue
        found = _tried(trials, world, name, way, budget)
        rates[name] = max(found, key=lambda rate: _score(name, found[rate]))
        judged[name, budget.datasets[0], CHOOSING] = found[rates[name]]
        tried += [_rate(name, rate, found, rates[name]) for rate in found]
    for dataset, seed in budget.pairs:  # seed by seed, so that what is there after an interruption is whole
        for name, way in ways.items():
            told = world.told(name, rates[name], dataset, seed, "test")
            judged[name, dataset, seed] = trials.find(told, partial(way, rates[name], dataset, seed, "test"))
    tables: keeping.Tables = {
        "variants": _table(judged, rates, budget, [each.name for each in VARIANTS], PLAIN, "top1"),
        "prototypes": _table(judged, rates, budget, list(PROTOTYPES), "as many", "lp"),
        "by_set": _by_set(judged, budget),
        "budget": [{"epochs": budget.epochs, "tries": budget.tries, "n": len(budget.pairs)}],
    }
    return tables | ({"rates": tried} if tried else {})


class _World:
    """Backbones and images, and how a variant is trained and judged on them."""

    def __init__(self, profile_name: str, budget: Budget) -> None:
        self.profile: Profile = profile(profile_name)
        self.budget = budget

    def usual(self, name: str) -> float:
        """The rate around which a variant's rates are tried."""
        if name in PROTOTYPES:
            return self.profile.method("SSM", UNLABELLED, 0.0).lr
        (variant,) = (each for each in VARIANTS if each.name == name)
        return float(f"{self.profile.method('FS', MODEL).lr * variant.rate:.3g}")

    def told(self, name: str, rate: float, dataset: str, seed: int, split: str) -> Found:
        """All that decides a training, as its file keeps it."""
        model, method = (UNLABELLED, "SSM") if name in PROTOTYPES else (MODEL, "FS")
        plan = repr(self._plan(method, model, rate))
        weights = backbones.load(model, self.profile.name, seed=seed).fingerprint
        probe = self.profile.probe(model, FEW) if method == "SSM" else {}
        return {"way": name, "rate": rate, "dataset": dataset, "seed": seed, "split": split, "plan": plan,
                "weights": weights} | ({"probe": probe} if probe else {})  # fmt: skip

    def labelled(
        self, judged: Mapping[Key, Found], variant: Variant, rate: float, dataset: str, seed: int, split: str
    ) -> Found:
        """Learn masks with labels; "top1", "off" and "bits" by weight that the plain method masks."""
        backbone = backbones.load(MODEL, self.profile.name, seed=seed)
        train, judge = (datasets.load(self.profile.name, dataset, part, seed) for part in ("train", split))
        density = variant.density
        if density == "found":
            density = 1 - judged[PLAIN, dataset, seed]["off"]
        adapted = self._trained(variant, backbone, train, rate, float(density), seed)
        assert adapted.masking is not None
        assert adapted.head is not None
        made = features(adapted.trunk, judge, backbone.normalise, device=device(self.profile.name))
        with torch.inference_mode():
            classes = adapted.head.cpu()(made).argmax(1)
        masks = {name: mask.cpu() for name, mask in adapted.masking.masks().items()}
        convolutions = sum(p.numel() for p in backbone.trunk.parameters() if p.dim() == 4)
        counts = [(int((~mask).sum()), mask.numel()) for mask in masks.values()]
        bits = sum(entropy_bits(off, size) for off, size in counts)
        off = sum(off for off, _ in counts) / convolutions
        return {"top1": accuracy(classes, judge.labels), "off": off, "bits": bits / convolutions}

    def unlabelled(self, share: float, rate: float, dataset: str, seed: int, split: str) -> Found:
        """Learn masks without labels; "lp" with few labels, "knn" with all."""
        backbone = backbones.load(UNLABELLED, self.profile.name, seed=seed)
        train, judge = (datasets.load(self.profile.name, dataset, part, seed) for part in ("train", split))
        swav = replace(self.profile.swav, prototypes=max(round(self.profile.swav.prototypes * share), 2))
        adapted = adapt(
            backbone, train, "SSM", self._plan("SSM", UNLABELLED, rate),
            style=STYLES[self.profile.photographs, False], swav=swav, batch_size=self.profile.batch_size, seed=seed,
            device=device(self.profile.name), progress=False,
        )  # fmt: skip
        assert adapted.masking is not None
        bank, queries = (
            features(adapted.trunk, each, backbone.normalise, device=device(self.profile.name))
            for each in (train, judge)
        )
        few = label_subset(train.labels, FEW, seed=42 + seed)
        classes, _ = linear_probe(bank[few], train.labels[few], queries, **self.profile.probe(UNLABELLED, FEW))
        nearest = nearest_neighbours(bank, train.labels, queries, k=self.profile.neighbours)
        found = {"lp": accuracy(classes, judge.labels), "knn": accuracy(nearest, judge.labels)}
        return found | {"off": adapted.masking.sparsity(), "number": swav.prototypes}

    def _plan(self, method: str, model: str, rate: float) -> Optimisation:
        plan = self.profile.method(method, model, 0.0 if method == "SSM" else 100.0)
        return replace(plan, lr=rate, epochs=self.budget.epochs)

    def _trained(
        self, variant: Variant, backbone: Backbone, train: ImageSet, rate: float, density: float, seed: int
    ) -> Adapted:
        """One training, or one for each stage of a falling density, where the next goes on from the last."""
        plan, stages = self._plan("FS", MODEL, rate), min(variant.stages, self.budget.epochs)
        start, adapted = backbone, None
        init: str | Init = variant.init
        for stage in range(1, stages + 1):
            epochs = plan.epochs * stage // stages - plan.epochs * (stage - 1) // stages
            share = 1 - (1 - density) * stage / stages
            if adapted is not None:
                start, init = onward(backbone, adapted)
            head = None if adapted is None else adapted.head
            assert head is None or isinstance(head, nn.Linear)  # of a ResNet
            adapted = adapt(
                start, train, "FS", replace(plan, epochs=epochs), style=STYLES[self.profile.photographs, True],
                batch_size=self.profile.batch_size, select=variant.select(start, seed), rescale=variant.rescale,
                init=init, criterion=None if variant.density == 1 else TopK(share),
                head=head, seed=seed, device=device(self.profile.name),
                progress=False,
            )  # fmt: skip
        assert adapted is not None
        return adapted


def _tried(trials: Trials, world: _World, name: str, way: Way, budget: Budget) -> dict[float, Found]:
    """By learning rate what a variant gives on validation images."""
    found = {}
    for rate in sorted(float(f"{world.usual(name) * step:.3g}") for step in STEPS[: budget.tries]):
        asked = (rate, budget.datasets[0], CHOOSING, "validation")
        found[rate] = trials.find(world.told(name, *asked), partial(_attempt, way, *asked))
    return found


def _attempt(way: Way, *asked: Any) -> Found:
    try:
        return way(*asked)
    except FloatingPointError:  # too high a rate is an outcome, not a fault
        return {"top1": 0.0, "lp": 0.0}


def _score(name: str, found: Found) -> float:
    return float(found["lp" if name in PROTOTYPES else "top1"])


def _rate(name: str, rate: float, found: Mapping[float, Found], taken: float) -> Row:
    edge = taken in (min(found), max(found))
    return {"variant": name, "rate": rate, "accuracy": _score(name, found[rate]), "taken": rate == taken,
            "edge": rate == taken and edge}  # fmt: skip


def _table(
    judged: Mapping[Key, Found], rates: Mapping[str, float], budget: Budget, names: Sequence[str], plain: str,
    metric: str,
) -> list[Row]:  # fmt: skip
    """By variant the means over data sets and seeds, and how far it lies from the plain one, by pairs of them."""
    samples = {  # a pair of data set and seed counts as one draw
        name: Sample({n: judged[name, *pair][metric] for n, pair in enumerate(budget.pairs)}, name=name)
        for name in names
    }
    others = [name for name in names if name != plain]
    against = {row["first"]: row for row in compared(samples, [(name, plain) for name in others])}
    rows: list[Row] = []
    for name in names:
        found = [judged[name, *pair] for pair in budget.pairs]
        row: Row = {"variant": name, "asks": ASKS.get(name, "prototypes"), "rate": rates[name], "n": len(found)}
        row |= {key: fmean(one[key] for one in found) for key in found[0]}
        apart = against.get(name, {})
        row |= {key: apart.get(key) for key in ("points", "low", "high", "holm", "clear")}
        rows.append(row)
    return rows


def _by_set(judged: Mapping[Key, Found], budget: Budget) -> list[Row]:
    rows: list[Row] = []
    for name in dict.fromkeys(key[0] for key in judged):
        for dataset in budget.datasets:
            found = [judged[name, dataset, seed] for seed in budget.seeds]
            mean = fmean(_score(name, one) for one in found)
            rows.append({"variant": name, "dataset": dataset, "n": len(found), "accuracy": mean})
    return rows


def networks(records: Sequence[Record]) -> keeping.Tables:
    """By initial network what masks gain over the linear probe, and what they switch off, at the profile's rates."""
    rows: list[Row] = []
    for model in MODELS:
        runs = [record for record in records if record.model == model]
        if {"LP", "FS"} <= {record.method for record in runs}:
            row: Row = {"model": model, "LP": _mean(runs, "LP"), "FS": _mean(runs, "FS")}
            rows.append(row | {"off": _mean(runs, "FS", "sparsity")} | _against(runs, "FS", "LP"))
    return {"networks": rows} if rows else {}


def starts(records: Sequence[Record]) -> keeping.Tables:
    """By start of the scores how far it lies from the constant one, at the rates that the profile has for each."""
    runs, rows = [record for record in records if record.model == MODEL], list[Row]()
    for method in ("FS-magnitude", "FS-squared"):
        if {method, "FS"} <= {record.method for record in runs}:
            row: Row = {"start": method.partition("-")[2], "top1": _mean(runs, method)}
            rows.append(row | {"off": _mean(runs, method, "sparsity")} | _against(runs, method, "FS"))
    return {"starts": rows} if rows else {}


def _against(runs: Sequence[Record], first: str, second: str) -> Row:
    """Two methods on the test images of all data sets that have both."""
    frame = frames.to_frame([run for run in runs if run.method in (first, second)])
    sets = sorted(set(frame.dataset[frame.method == first]) & set(frame.dataset[frame.method == second]))
    samples = {
        method: statistics.joined(
            [verdicts.sample(frame[(frame.method == method) & (frame.dataset == name)]) for name in sets]
        )
        for method in (first, second)
    }
    (row,) = compared(samples, [(first, second)])
    return {"sets": len(sets)} | {key: row[key] for key in ("points", "low", "high", "n", "images", "basis")}


def _mean(runs: Iterable[Record], method: str, metric: str = "top1") -> float:
    return fmean(run.metrics[metric] for run in runs if run.method == method)
