"""A cascade of masks: one sorts the images, and one more for each sort goes on from its scores (arXiv 2409.07577).

A mask learnt without labels embeds a set; principal components and a mixture of Gaussians route its images; for each
cluster an expert mask goes on from the first one's scores. Beside it one mask that goes on for as long on all images,
and experts of clusters that were drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.decomposition import PCA
from sklearn.metrics import normalized_mutual_info_score
from sklearn.mixture import GaussianMixture
from torch import Tensor

from submasking.experiments.analyses import keeping
from submasking.experiments.analyses.trials import Found, Trials, compared, onward
from submasking.experiments.methods import STYLES, device
from submasking.learning.adapt import Adapted, adapt
from submasking.learning.backbone import Backbone
from submasking.learning.evaluate import accuracy, differing, features, nearest_neighbours
from submasking.learning.images import ImageSet
from submasking.learning.probe import linear_probe
from submasking.masking.scores import Init
from submasking.records.analyses import Analysis, Row
from submasking.records.profiles import profile
from submasking.records.results import Record
from submasking.report.statistics import Sample
from submasking.tasks import codec
from submasking.worlds import backbones, datasets

NAME = "cascade"
COMPONENTS = 20  # principal components that the router sees, as published
WIDTH = 4  # bytes of a float32
RAW, ALONE, LONGER = "one mask unturned", "one mask", "one mask longer"
ALL, OWN = "all experts", "own expert"
RANDOM_ALL, RANDOM_OWN = "all random experts", "own random expert"
WAYS = (RAW, ALONE, LONGER, ALL, OWN, RANDOM_ALL, RANDOM_OWN)
PAIRS = ((ALONE, RAW), (LONGER, ALONE), (ALL, LONGER), (OWN, LONGER), (ALL, RANDOM_ALL), (OWN, RANDOM_OWN))
PASSES = {ALL: "experts", RANDOM_ALL: "experts", OWN: "two"}  # of an image through a network; of the others one


@dataclass(frozen=True)
class Budget:
    """How much is trained.

    Attributes:
        datasets: names.
        seeds: of the trainings.
        epochs: of the first mask on all images, and again of what goes on from it; at least 1.
        experts: clusters, at least 2.
    """

    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int = 6
    experts: int = 5

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("there must be a seed at least, got none; let repeats be 1 or more")
        if self.epochs < 1 or self.experts < 2:
            raise ValueError(
                f"epochs must be at least 1 and experts at least 2, got {self.epochs} and {self.experts}; the paper has"
                " 5 experts"
            )


class Embedded(NamedTuple):
    """Features of the training images and of those that are judged."""

    train: Float[Tensor, "n d"]
    judged: Float[Tensor, "m d"]


class Routes(NamedTuple):
    """Cluster of each training image and of each that is judged, in [0, experts)."""

    train: Int[Tensor, " n"]
    judged: Int[Tensor, " m"]


def analyse(profile_name: str, model: str, budget: Budget) -> Analysis:
    """Train the cascades and their controls, and compare.

    Args:
        profile_name: name of a profile with a grid.
        model: network that is adapted without labels; its runs of SSM are read.
        budget: see there.
    """
    tasks = keeping.tasks(NAME, profile_name, model, ",".join(map(str, budget.seeds)))
    records = keeping.records_of(run for run in tasks if run.dataset in budget.datasets)
    told = {"datasets": list(budget.datasets), "seeds": list(budget.seeds), "epochs": budget.epochs,
            "experts": budget.experts}  # fmt: skip
    return keeping.kept(
        NAME, profile_name, model, records, told, lambda: cascades(profile_name, model, budget) | whole(records)
    )


def cascades(profile_name: str, model: str, budget: Budget) -> keeping.Tables:
    """One cascade with its controls for each data set and seed; tables of what came."""
    pairs = [(dataset, seed) for seed in budget.seeds for dataset in budget.datasets]
    trials = Trials(NAME, profile_name, len(pairs))
    plan, probe = repr(profile(profile_name).method("SSM", model, 0.0)), profile(profile_name).probe(model)
    found = []
    for dataset, seed in pairs:
        backbone = backbones.load(model, profile_name, seed=seed)
        told = {"dataset": dataset, "seed": seed, "epochs": budget.epochs, "experts": budget.experts, "plan": plan,
                "weights": backbone.fingerprint} | ({"probe": probe} if probe else {})  # fmt: skip
        one = _Cascade(backbone, profile_name, dataset, seed, budget)
        found.append({"dataset": dataset, "seed": seed} | trials.find(told, one.run))
    return _tables(found, budget)


def whole(records: Iterable[Record]) -> keeping.Tables:
    """What one mask reaches with the profile's own epochs in one schedule, from the grid's runs of SSM."""
    rows: list[Row] = []
    by_set: dict[str, list[Record]] = {}
    for record in records:
        if record.method == "SSM":
            by_set.setdefault(record.dataset, []).append(record)
    for dataset, runs in by_set.items():
        row: Row = {"dataset": dataset, "n": len(runs), "epochs": int(runs[0].recipe["epochs"])}
        rows.append(row | {key: fmean(r.metrics[key] for r in runs) for key in ("knn", "lp@100")})
    return {"whole": rows} if rows else {}


def routed(embedded: Embedded, experts: int, seed: int) -> Routes:
    """Route images by a mixture of Gaussians on the principal components of their features.

    Args:
        embedded: features; the training images' decide.
        experts: clusters.
        seed: of the mixture's start.
    """
    n, width = embedded.train.shape
    components = max(min(COMPONENTS, n // (2 * experts), width), 1)  # few images cannot fill many dimensions
    train, judged = (each.double().numpy() for each in embedded)
    seen = PCA(components, random_state=seed).fit(train)
    # the mixture's floor under each variance is a number: in units of the largest it fits features of any length, and
    # holds where they lie in fewer dimensions than are asked for
    unit = max(float(seen.explained_variance_[0]), 1e-300) ** 0.5
    mixture = GaussianMixture(experts, random_state=seed)
    mixture.fit(seen.transform(train) / unit)
    return Routes(*(torch.from_numpy(mixture.predict(seen.transform(each) / unit)) for each in (train, judged)))


def shuffled(routes: Routes, seed: int) -> Routes:
    """Clusters of the same sizes that are drawn at random."""
    random = torch.Generator().manual_seed(seed)
    return Routes(*(each[torch.randperm(len(each), generator=random)] for each in routes))


def joined(parts: list[Embedded], routes: Routes | None = None) -> Embedded:
    """Put the features of all experts side by side; with routes those of an image's own expert only, the rest zero."""
    sides = []
    for place in range(2):
        blocks = [part[place] for part in parts]
        if routes is not None:
            blocks = [block * (routes[place] == number).unsqueeze(1) for number, block in enumerate(blocks)]
        sides.append(torch.cat(blocks, dim=1))
    return Embedded(*sides)


def reduced(embedded: Embedded, width: int, seed: int = 0) -> Embedded:
    """Centre features, turn them to `width` principal components, and divide each by its singular value.

    What is learnt of the training images' features is applied to all. Fewer components where there are fewer images.
    """
    n, before = embedded.train.shape
    found = PCA(min(width, n - 1, before), whiten=True, random_state=seed).fit(embedded.train.numpy())
    return Embedded(*(torch.from_numpy(found.transform(each.numpy()).astype(np.float32)) for each in embedded))


class _Cascade:
    """A cascade and its controls on one data set with one seed."""

    def __init__(self, backbone: Backbone, profile_name: str, dataset: str, seed: int, budget: Budget) -> None:
        self.backbone, self.seed, self.budget = backbone, seed, budget
        self.profile = profile(profile_name)
        self.train, self.judged = (datasets.load(profile_name, dataset, part, seed) for part in ("train", "test"))

    def run(self) -> Found:
        """Accuracies by way, bytes, and how the images were routed."""
        first = self._adapted(self.backbone, self.train)
        embedded = self._embedded(first)
        routes = routed(embedded, self.budget.experts, self.seed)
        longer = self._onward(first, self.train)
        ways = {RAW: embedded, ALONE: embedded, LONGER: self._embedded(longer)}
        kilobytes, changed = {}, {LONGER: self._changed(first, longer)}
        for (every, own), chosen in {(ALL, OWN): routes, (RANDOM_ALL, RANDOM_OWN): shuffled(routes, self.seed)}.items():
            experts = [
                self._onward(first, self.train.subset(here)) if bool(here.any()) else first
                for here in (chosen.train == number for number in range(self.budget.experts))
            ]
            parts = [self._embedded(expert) for expert in experts]
            ways |= {every: joined(parts), own: joined(parts, chosen)}
            changed[every] = fmean(self._changed(first, expert) for expert in experts)
            kilobytes[every] = sum(self._kilobytes(expert) for expert in experts)
        one = self._kilobytes(first)
        kilobytes |= {RAW: one, ALONE: one, LONGER: self._kilobytes(longer)}
        kilobytes |= {OWN: one + kilobytes[ALL], RANDOM_OWN: kilobytes[RANDOM_ALL]}
        judged = {way: self._judge(made if way == RAW else reduced(made, self.backbone.width, self.seed))
                  for way, made in ways.items()}  # fmt: skip
        projections = {way: 0.0 if way == RAW else self._projection(made) for way, made in ways.items()}
        sizes = torch.bincount(routes.train, minlength=self.budget.experts) / len(self.train)
        classes = normalized_mutual_info_score(self.train.labels.numpy(), routes.train.numpy())
        return {"judged": judged, "kB": kilobytes, "projection": projections, "changed": changed,
                "largest": float(sizes.max()), "smallest": float(sizes.min()), "classes": float(classes)}  # fmt: skip

    def _adapted(self, backbone: Backbone, images: ImageSet, init: str | Init = "") -> Adapted:
        plan = replace(self.profile.method("SSM", self.backbone.name, 0.0), epochs=self.budget.epochs)
        return adapt(
            backbone, images, "SSM", plan, style=STYLES[self.profile.photographs, False], swav=self.profile.swav,
            batch_size=self.profile.batch_size, seed=self.seed, device=device(self.profile.name), progress=False,
            init=init,
        )  # fmt: skip

    def _onward(self, first: Adapted, images: ImageSet) -> Adapted:
        backbone, scores = onward(self.backbone, first)
        return self._adapted(backbone, images, scores)

    def _embedded(self, adapted: Adapted) -> Embedded:
        return Embedded(
            *(
                features(adapted.trunk, each, self.backbone.normalise, device=device(self.profile.name))
                for each in (self.train, self.judged)
            )
        )

    def _judge(self, embedded: Embedded) -> dict[str, float]:
        nearest = nearest_neighbours(embedded.train, self.train.labels, embedded.judged, k=self.profile.neighbours)
        how = self.profile.probe(self.backbone.name)
        probed, _ = linear_probe(embedded.train, self.train.labels, embedded.judged, **how)
        return {"knn": accuracy(nearest, self.judged.labels), "lp": accuracy(probed, self.judged.labels)}

    def _kilobytes(self, adapted: Adapted) -> float:
        """What a mask stores: its code, and the norm statistics in float32."""
        assert adapted.masking is not None
        frozen = {name: weights.cpu() for name, weights in adapted.masking.frozen().items()}
        code = codec.encode({name: mask.cpu() for name, mask in adapted.masking.masks().items()}, frozen)
        statistics = sum(
            buffer.numel() for name, buffer in adapted.trunk.named_buffers() if name.endswith(("_mean", "_var"))
        )
        return (len(code) + WIDTH * statistics) / 1000

    def _projection(self, embedded: Embedded) -> float:
        """Kilobytes of the matrix that turns and scales features."""
        n, before = embedded.train.shape
        return WIDTH * before * min(self.backbone.width, n - 1, before) / 1000

    def _changed(self, first: Adapted, later: Adapted) -> float:
        assert first.masking is not None
        assert later.masking is not None
        return differing(first.masking.masks(), later.masking.masks())


def _tables(found: list[Found], budget: Budget) -> keeping.Tables:
    def mean(key: str, way: str) -> float:
        return fmean(one[key][way] for one in found)

    passes = {"experts": budget.experts, "two": 2}
    ways: list[Row] = [
        {
            "way": way,
            "n": len(found),
            **_means(found, way),
            "passes": passes[PASSES[way]] if way in PASSES else 1,
            "kB": mean("kB", way),
            "projection": mean("projection", way),
        }
        for way in WAYS
    ]
    apart: list[Row] = []
    for metric in ("knn", "lp"):
        by_pair = {  # a pair of data set and seed counts as one draw
            way: Sample({n: one["judged"][way][metric] for n, one in enumerate(found)}, name=way) for way in WAYS
        }
        apart += [Row(metric=metric, **row) for row in compared(by_pair, PAIRS)]
    by_set: list[Row] = [
        Row(dataset=dataset, way=way, n=len(here), **_means(here, way))
        for dataset in budget.datasets
        for here in [[one for one in found if one["dataset"] == dataset]]
        for way in WAYS
    ]
    routing: list[Row] = [
        {key: one[key] for key in ("dataset", "seed", "largest", "smallest", "classes")}
        | {"changed": one["changed"][ALL], "random": one["changed"][RANDOM_ALL], "longer": one["changed"][LONGER]}
        for one in found
    ]
    return {"ways": ways, "differences": apart, "by_set": by_set, "routing": routing}


def _means(found: list[Found], way: str) -> dict[str, float]:
    return {metric: fmean(one["judged"][way][metric] for one in found) for metric in ("knn", "lp")}
