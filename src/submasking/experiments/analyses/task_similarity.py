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

from submasking.experiments import methods
from submasking.experiments.analyses import networks
from submasking.experiments.analyses.keeping import Tables
from submasking.experiments.analyses.networks import Masks, Tensors
from submasking.experiments.run import Run
from submasking.learning.evaluate import accuracy, features
from submasking.records.analyses import Row, number
from submasking.records.names import DATASET_STAND_INS
from submasking.records.profiles import profile
from submasking.report import pairs, statistics
from submasking.tasks.similarity import similarity
from submasking.worlds import sets

MEASURES = ("masks", "masks_by_tensor", "closeness", "distance")  # of a pair, as the columns of table `pairs`
PREDICTORS = ("masks", "masks_by_tensor", "closeness", "density")  # of a transfer; the last looks at the source only
ALL, CHARACTERS = "all", "characters"  # sets that are compared
WORDS = {"masks_by_tensor": "masks by layer", "same_kind": "same kind"}  # of columns, where a table names them
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
    tuned, kinds = list(by_seed)[: max(again, 1)], {name: kind_of(run) for name, run in by_seed[min(by_seed)].items()}
    found: Tables = {"pairs": []}
    for seed, runs in by_seed.items():
        print(f"pairs of seed {seed}", flush=True)
        masks = {name: networks.masks_of(run) for name, run in runs.items()}
        moved = {name: moves(run, masks[name]) for name, run in runs.items()} if seed in tuned else {}
        found["pairs"] += pairs_of(runs, masks, moved, seed)
        if seed == tuned[0]:
            found["layers"] = layers(runs, masks, moved)
            found["targets"], found["transfer"] = transfer(runs, masks, moved, epochs)
    found["means"] = means(found["pairs"], kinds)
    found["agreement"] = agreements(found["pairs"], kinds)
    found["steady"] = steady(found["pairs"], {seed: next(iter(runs.values())) for seed, runs in by_seed.items()})
    found["gains"] = gains(found["transfer"], kinds)
    found["prediction"] = predictions(found["transfer"], kinds)
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
    made: list[Row] = []
    for target, run in runs.items():
        print(f"transfer to {target}", flush=True)
        none = (_right(run, networks.probed(run, {})), started(run, None, "", epochs))
        own = _right(run, networks.probed(run, masks[target]))
        targets.append({"target": target, "probe": none[0], "own_probe": own, "start": none[1], "epochs": epochs})
        for source in (name for name in runs if name != target):
            near = similarity(masks[source], masks[target], networks.weights_of(run, masks[target]))
            off = sum(int((~mask).sum()) for mask in masks[source].values())
            made.append({
                "source": source, "target": target, "masks": near.corrected,
                "masks_by_tensor": similarity(masks[source], masks[target]).corrected,
                "closeness": closeness(moved[source], moved[target])[0],
                "density": 1 - off / sum(mask.numel() for mask in masks[source].values()),
                "probe": _right(run, networks.probed(run, masks[source])) - none[0],
                "start": started(run, masks[source], source, epochs) - none[1],
            })  # fmt: skip
    return targets, made


def started(task: Run, masks: Masks | None, source: str, epochs: int) -> float:
    """Accuracy of a run that starts from another task's masks, after a few epochs."""
    test = methods.images_of(task, "test")

    def make() -> Tensors:
        made = networks.learn(task, masks=masks, epochs=epochs)
        assert made.head is not None  # a method with labels has one
        queries = features(made.trunk, test, methods.backbone_of(task).normalise)
        with torch.inference_mode():
            return {"classes": made.head(queries).argmax(1)}

    return _right(task, networks.once(task, {"start": source, "epochs": epochs}, make)["classes"])


def _right(task: Run, classes: Tensor) -> float:
    return accuracy(classes, methods.images_of(task, "test").labels)


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


def kind_of(task: Run) -> str:
    """What the images of a run show: "characters" or "pictures"; outside the embedded world it is "pictures"."""
    stand_in = sets.BY_NAME[DATASET_STAND_INS[task.dataset][0]]
    embedded = not profile(task.profile).photographs
    return CHARACTERS if embedded and not isinstance(stand_in, sets.Patches) else "pictures"


def means(rows: list[Row], kinds: Mapping[str, str]) -> list[Row]:
    """Each measure of each seed, mean over all pairs and by what the two sets show, with the range."""
    groups: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        shown = " and ".join(sorted(kinds[str(row[key])] for key in ("first", "second")))
        for group in (ALL, shown):
            groups.setdefault((int(row["seed"] or 0), group), []).append(row)
    found: list[Row] = []
    for (seed, group), part in groups.items():
        for name in (*MEASURES, "overlap"):
            pairs_by = {float(row[name] or 0): f"{row['first']} and {row['second']}" for row in part}
            if part[0][name] is None:
                continue
            low, high = min(pairs_by), max(pairs_by)
            found.append({
                "seed": seed, "kinds": group, "measure": WORDS.get(name, name), "pairs": len(part),
                "mean": float(np.mean([float(row[name] or 0) for row in part])), "low": low, "high": high,
                "least": pairs_by[low], "most": pairs_by[high],
            })  # fmt: skip
    return found


def agreements(rows: list[Row], kinds: Mapping[str, str]) -> list[Row]:
    """How far masks and fine-tuning order pairs of tasks alike, of each seed that was fine-tuned; Holm over all rows.

    Asked of all sets and of those with characters alone, lest two kinds of images be all that both see.
    """
    found: list[Row] = []
    for seed in dict.fromkeys(row["seed"] for row in rows if row["closeness"] is not None):
        part = [
            row | {SAME: kinds[str(row["first"])] == kinds[str(row["second"])]} for row in rows if row["seed"] == seed
        ]
        asked = list(itertools.product(("masks", "masks_by_tensor"), ("closeness", "distance", SAME)))
        for group, chosen in groups_of(part, kinds, ("first", "second")).items():
            for first, second in [*asked, ("closeness", SAME)]:
                if second == SAME and group != ALL:
                    continue
                sign = -1 if second == "distance" else 1  # a distance is the other way round
                agreed = pairs.agreement(matrix(chosen, first), sign * matrix(chosen, second))
                found.append({
                    "seed": seed, "sets": group, "first": WORDS.get(first, first),
                    "second": WORDS.get(second, second), **plain(agreed), "pairs": len(chosen),
                })  # fmt: skip
    return corrected(found)


def groups_of(rows: list[Row], kinds: Mapping[str, str], between: tuple[str, str]) -> dict[str, list[Row]]:
    """All rows, and those between sets with characters where these are enough to be compared, but not all."""
    of = [row for row in rows if all(kinds[str(row[key])] == CHARACTERS for key in between)]
    enough = len({row[between[0]] for row in of} | {row[between[1]] for row in of}) >= pairs.LEAST
    return {ALL: rows} | ({CHARACTERS: of} if enough and len(of) < len(rows) else {})


def steady(rows: list[Row], some: Mapping[int, Run]) -> list[Row]:
    """How far overlap of masks orders pairs of tasks alike in two seeds: mean over pairs of seeds, and their range."""
    of = {seed: [row for row in rows if row["seed"] == seed] for seed in some}
    found: list[Row] = []
    for name, same in itertools.product(("masks", "masks_by_tensor"), (True, False)):
        values = [
            pairs.agreement(matrix(of[seed], name), matrix(of[other], name)).value
            for seed, other in itertools.combinations(some, 2)
            if networks.same_backbone(some[seed], some[other]) == same
        ]
        mean, low, high = (float(np.mean(values)), min(values), max(values)) if values else (None, None, None)
        found.append({
            "measure": WORDS.get(name, name), "backbone": "the same" if same else "another",
            "pairs_of_seeds": len(values), "value": mean, "low": low, "high": high,
        })  # fmt: skip
    return found


def gains(rows: list[Row], kinds: Mapping[str, str]) -> list[Row]:
    """Mean gain of each outcome over all sources and targets, and by what both show; how many are above nought."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        for outcome in OUTCOMES:
            shown = f"{kinds[str(row['source'])]} to {kinds[str(row['target'])]}"
            for group in (ALL, shown):
                groups.setdefault((outcome, group), []).append(float(row[outcome] or 0))
    return [
        {
            "outcome": outcome, "sets": group, "pairs": len(values), "mean": float(np.mean(values)), "low": min(values),
            "high": max(values), "above": sum(value > 0 for value in values),
        }
        for (outcome, group), values in groups.items()
    ]  # fmt: skip


def predictions(rows: list[Row], kinds: Mapping[str, str]) -> list[Row]:
    """Which sources are the better ones for a target: rank correlation of each measure with each outcome."""
    between, found = ("source", "target"), []
    for group, chosen in groups_of(rows, kinds, between).items():
        for outcome, name in itertools.product(OUTCOMES, PREDICTORS):
            first, second = (matrix(chosen, column, between) for column in (name, outcome))
            agreed = plain(pairs.agreement(first, second, by_target=True))
            found.append({"sets": group, "outcome": outcome, "predictor": WORDS.get(name, name), **agreed})
    return corrected(found)


def corrected(rows: list[Row]) -> list[Row]:
    """Rows with Holm's p, over all of them."""
    held = statistics.holm([math.nan if row["p"] is None else float(row["p"]) for row in rows])
    return [row | {"holm": number(p)} for row, p in zip(rows, held, strict=True)]


def plain(agreed: pairs.Agreement) -> Row:
    """A cell for each attribute, None where there is no number."""
    return {name: number(value) for name, value in asdict(agreed).items()}
