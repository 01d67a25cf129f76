"""How alike are tasks: by the weights that their masks switch off, and by where fine-tuning took the same weights.

The draft's open idea. And does likeness say which task's mask helps another: its network as it is under a new
classifier, and its mask as the start of the other's?
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace

import numpy as np
import torch
from torch import Tensor

from submasking.experiments.analyses import networks
from submasking.experiments.analyses.keeping import Tables
from submasking.experiments.analyses.networks import Masks, Tensors
from submasking.experiments.run import Run
from submasking.learning.evaluate import accuracy, features
from submasking.records.analyses import Row
from submasking.records.names import DATASET_STAND_INS
from submasking.report import pairs, statistics
from submasking.tasks.similarity import similarity
from submasking.worlds import sets

MEASURES = ("masks", "masks_by_tensor", "closeness", "distance")  # of a pair, as the columns of table `pairs`
PREDICTORS = ("masks", "masks_by_tensor", "closeness", "density")  # of a transfer; the last looks at the source only
SAME = "same_kind"  # both sets show pictures, or both characters
OUTCOMES = ("probe", "start")


def tables(tasks: Iterable[Run], *, again: int, epochs: int) -> Tables:
    """All tables of the analysis.

    Args:
        tasks: runs of method FS with all labels, of one model; at least three data sets.
        again: so many seeds, the first ones, are fine-tuned again; at least 1. Transfer is asked of the first.
        epochs: of the trainings that start from another task's mask, and of those that they are compared with.

    Raises:
        ValueError: fewer than three data sets.
    """
    by_seed: dict[int, dict[str, Run]] = {}
    for task in tasks:
        by_seed.setdefault(task.seed, {})[task.dataset] = task
    tuned = list(by_seed)[: max(again, 1)]
    found: Tables = {"pairs": [], "layers": [], "agreement": []}
    for seed, runs in by_seed.items():
        print(f"pairs of seed {seed}", flush=True)
        masks = {name: networks.masks_of(run) for name, run in runs.items()}
        moved = {name: moves(run, masks[name]) for name, run in runs.items()} if seed in tuned else {}
        found["pairs"] += pairs_of(runs, masks, moved, seed)
        if seed == tuned[0]:
            found["layers"] = layers(runs, masks, moved)
            found["targets"], found["transfer"] = transfer(runs, masks, moved, epochs)
    found["agreement"] = agreements(found["pairs"], {seed: next(iter(by_seed[seed].values())) for seed in by_seed})
    found["prediction"] = predictions(found["transfer"])
    found["means"] = means(found["pairs"])
    return found


def moves(task: Run, masks: Masks) -> Tensors:
    """How far fine-tuning took each weight that the masks cover, by name; the training is the grid's, once more."""
    run = replace(task, method="FFT")

    def make() -> Tensors:
        trained = networks.learn(run).trunk
        return {name: trained.get_parameter(name).detach() for name in masks}

    before = networks.weights_of(task, masks)
    after = networks.once(run, {"kept": "masked weights"}, make)
    return {name: after[name] - before[name] for name in masks}


def closeness(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> tuple[float, float]:
    r"""How close two fine-tuned networks are, and the mean absolute difference of their weights.

    With :math:`\Delta` the way of each weight from the backbone, closeness is :math:`1 - \sum|\Delta_1 - \Delta_2| /
    \sum(|\Delta_1| + |\Delta_2|)`: 1 where both went the same way, 0 where no weight went the same way in both. The
    absolute difference alone is large for any two tasks that went far.
    """
    apart = sum(float((first[name] - second[name]).abs().sum()) for name in first)
    ways = sum(float(moved[name].abs().sum()) for name in first for moved in (first, second))
    return 1 - apart / ways if ways else 1.0, apart / sum(moved.numel() for moved in first.values())


def pairs_of(runs: Mapping[str, Run], masks: Mapping[str, Masks], moved: Mapping[str, Tensors], seed: int) -> list[Row]:
    """A row for each pair of tasks of one seed: overlap beyond chance, and closeness where they were fine-tuned."""
    rows: list[Row] = []
    for first, second in itertools.combinations(runs, 2):
        weights = networks.weights_of(runs[first], masks[first])
        beyond = similarity(masks[first], masks[second], weights)
        by_tensor = similarity(masks[first], masks[second])
        near = closeness(moved[first], moved[second]) if moved else (None, None)
        rows.append({
            "seed": seed, "first": first, "second": second, "masks": beyond.corrected,
            "masks_by_tensor": by_tensor.corrected, "overlap": by_tensor.jaccard, "z": beyond.z,
            "closeness": near[0], "distance": near[1],
        })  # fmt: skip
    return rows


def layers(runs: Mapping[str, Run], masks: Mapping[str, Masks], moved: Mapping[str, Tensors]) -> list[Row]:
    """The measures of each tensor, mean over the pairs of tasks, from the input on."""
    rows: list[Row] = []
    both = list(itertools.combinations(runs, 2))
    some = next(iter(masks.values()))
    weights = networks.weights_of(next(iter(runs.values())), some)
    for place, name in enumerate(networks.masked(next(iter(runs.values())), some)):
        one = {task: {name: masks[task][name]} for task in runs}
        overlaps = [similarity(one[first], one[second], {name: weights[name]}).corrected for first, second in both]
        near = [closeness({name: moved[first][name]}, {name: moved[second][name]})[0] for first, second in both]
        rows.append({
            "place": place + 1, "layer": name, "weights": some[name].numel(), "masks": float(np.mean(overlaps)),
            "masks_low": min(overlaps), "masks_high": max(overlaps), "closeness": float(np.mean(near)),
            "closeness_low": min(near), "closeness_high": max(near),
        })  # fmt: skip
    return rows


def transfer(
    runs: Mapping[str, Run], masks: Mapping[str, Masks], moved: Mapping[str, Tensors], epochs: int
) -> tuple[list[Row], list[Row]]:
    """What each task's mask does for each other one: accuracies without it by target, and gains by source and target.

    "probe": a classifier on the features under the source's mask, norm statistics of the target's images, less the same
    without a mask. "start": masks of the target learnt for a few epochs from the source's, less the same from none.
    """
    targets: list[Row] = []
    gains: list[Row] = []
    for target, run in runs.items():
        print(f"transfer to {target}", flush=True)
        none = (_right(run, networks.probed(run, {})), started(run, None, "", epochs))
        own = _right(run, networks.probed(run, masks[target]))
        targets.append({"target": target, "probe": none[0], "own_probe": own, "start": none[1], "epochs": epochs})
        for source in (name for name in runs if name != target):
            near = similarity(masks[source], masks[target], networks.weights_of(run, masks[target]))
            off = sum(int((~mask).sum()) for mask in masks[source].values())
            gains.append({
                "source": source, "target": target, "masks": near.corrected,
                "masks_by_tensor": similarity(masks[source], masks[target]).corrected,
                "closeness": closeness(moved[source], moved[target])[0],
                "density": 1 - off / sum(mask.numel() for mask in masks[source].values()),
                "probe": _right(run, networks.probed(run, masks[source])) - none[0],
                "start": started(run, masks[source], source, epochs) - none[1],
            })  # fmt: skip
    return targets, gains


def started(task: Run, masks: Masks | None, source: str, epochs: int) -> float:
    """Accuracy of a run that starts from another task's masks, after a few epochs."""
    test = networks.images_of(task, "test")

    def make() -> Tensors:
        made = networks.learn(task, masks=masks, epochs=epochs)
        assert made.head is not None  # a method with labels has one
        queries = features(made.trunk, test, networks.backbone_of(task).normalise)
        with torch.inference_mode():
            return {"classes": made.head(queries).argmax(1)}

    return _right(task, networks.once(task, {"start": source, "epochs": epochs}, make)["classes"])


def _right(task: Run, classes: Tensor) -> float:
    return accuracy(classes, networks.images_of(task, "test").labels)


def matrix(rows: list[Row], column: str, between: tuple[str, str] = ("first", "second")) -> pairs.Matrix:
    """One column of a table of pairs as a matrix [tasks, tasks], both ways where a pair has one row."""
    names = list(dict.fromkeys(str(row[key]) for row in rows for key in between))
    made = np.full((len(names), len(names)), np.nan)
    for row in rows:
        places = [names.index(str(row[key])) for key in between]
        value = row[column]
        made[tuple(places)] = np.nan if value is None else float(value)
        if math.isnan(made[tuple(reversed(places))]):
            made[tuple(reversed(places))] = made[tuple(places)]
    return made


def kind_of(dataset: str) -> str:
    """What the images of a data set's stand-in show: "pictures" or "characters"."""
    return "pictures" if isinstance(sets.BY_NAME[DATASET_STAND_INS[dataset][0]], sets.Patches) else "characters"


def means(rows: list[Row]) -> list[Row]:
    """Each measure of each seed, mean over all pairs and by what the two sets show, with the range."""
    groups: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        shown = " and ".join(sorted(kind_of(str(row[key])) for key in ("first", "second")))
        for kinds in ("all", shown):
            groups.setdefault((int(row["seed"] or 0), kinds), []).append(row)
    found: list[Row] = []
    for (seed, kinds), part in groups.items():
        for name in (*MEASURES, "overlap"):
            pairs_by = {float(row[name] or 0): f"{row['first']} and {row['second']}" for row in part}
            if part[0][name] is None:
                continue
            low, high = min(pairs_by), max(pairs_by)
            found.append({
                "seed": seed, "kinds": kinds, "measure": name, "pairs": len(part),
                "mean": float(np.mean([float(row[name] or 0) for row in part])), "low": low, "high": high,
                "least": pairs_by[low], "most": pairs_by[high],
            })  # fmt: skip
    return found


def agreements(rows: list[Row], some: Mapping[int, Run]) -> list[Row]:
    """How far masks and fine-tuning order pairs of tasks alike within each seed, and each measure in two seeds."""
    of = {seed: [row for row in rows if row["seed"] == seed] for seed in some}
    asked = [
        (seed, seed, first, second)
        for seed in of if of[seed][0]["closeness"] is not None
        for first in ("masks", "masks_by_tensor") for second in ("closeness", "distance")
    ]  # fmt: skip
    asked += [(seed, seed, name, SAME) for seed in of for name in MEASURES[:3] if of[seed][0][name] is not None]
    for seed, other in itertools.combinations(of, 2):
        asked += [(seed, other, name, name) for name in MEASURES if None not in (of[seed][0][name], of[other][0][name])]
    found: list[Row] = []
    for seed, other, first, second in asked:
        if second == SAME:
            of[other] = [row | {SAME: kind_of(str(row["first"])) == kind_of(str(row["second"]))} for row in of[other]]
        sign = -1 if second == "distance" and first != second else 1  # a distance is the other way round
        agreed = pairs.agreement(matrix(of[seed], first), sign * matrix(of[other], second))
        found.append({
            "seed": seed, "other": other, "same_backbone": networks.same_backbone(some[seed], some[other]),
            "first": first, "second": second, **plain(agreed), "pairs": len(of[seed]),
        })  # fmt: skip
    return found


def predictions(rows: list[Row]) -> list[Row]:
    """Which sources are the better ones for a target: rank correlation of each measure with each outcome."""
    between = ("source", "target")
    found: list[Row] = [
        {
            "outcome": outcome,
            "predictor": name,
            **plain(pairs.agreement(matrix(rows, name, between), matrix(rows, outcome, between), by_target=True)),
        }
        for outcome in OUTCOMES for name in PREDICTORS
    ]  # fmt: skip
    held = statistics.holm([math.nan if row["p"] is None else float(row["p"]) for row in found])
    return [row | {"holm": None if math.isnan(p) else p} for row, p in zip(found, held, strict=True)]


def plain(agreed: pairs.Agreement) -> Row:
    """A cell for each attribute, None where there is no number."""
    return {name: None if math.isnan(value) else value for name, value in asdict(agreed).items()}
