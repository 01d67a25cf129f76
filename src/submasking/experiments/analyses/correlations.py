"""What goes along with accuracy under submasking: the sparsity that is found, and properties of the data set.

A data set is one point, its values the means over the seeds for which every method was run. All correlations are one
family, corrected together; several networks on the same sets are averaged and dealt out alike (`report.ranks`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from submasking.experiments.analyses import keeping
from submasking.experiments.analyses.distance import frechet
from submasking.experiments.analyses.keeping import Tables
from submasking.experiments.run import Run
from submasking.learning.evaluate import features
from submasking.learning.images import ImageSet
from submasking.records.analyses import Analysis, Row, number
from submasking.records.names import DATASETS
from submasking.records.profiles import profile as profile_of
from submasking.records.results import Record
from submasking.report import ranks
from submasking.report.ranks import Ranked
from submasking.report.statistics import LEVEL, holm
from submasking.worlds import backbones, datasets

Question = tuple[str, str, str]
Values = NDArray[np.float64]  # networks, data sets

NAME = "correlations"
# what is asked: the measure, the outcome, and what the outcome is less of
GAINS: tuple[Question, ...] = tuple(
    (f"off {method}", outcome, "ZS") for method in ("FS", "FS-squared") for outcome in (method, f"{method} kNN")
)
OUTCOMES = (("FS", ""), ("FS", "LP"), ("FS", "FFT"))
PROPERTIES = ("classes", "images", "distance", "ZS", "LP")
# the measure of a trained run: its metric, and what it is called here
MEASURES = {"top1": "", "knn": " kNN"}


def analyse(profile: str, model: str = "all", seeds: str = "all", images: int = 800) -> Analysis:
    """Tables of what goes along with accuracy, of the runs of a profile's grid; see `tables`.

    Args:
        profile: name of a profile with a grid.
        model: one of the paper's names, several split by commas, or "all"; those that the grid adapts are read.
        seeds: whole numbers split by commas, or "all".
        images: of each set, from which its distance to the source is measured, 2 or more.

    Raises:
        ValueError: an unknown model, seeds that are no numbers, a profile without a grid, no adapted model, too few
            images.
    """
    tasks = keeping.tasks(NAME, profile, model, seeds)
    adapted = {task.model for task in tasks if task.method == "FS"}
    if not adapted:
        raise ValueError(f"model must be one that the grid of profile {profile} adapts; got {model!r}; pass rn18-timm")
    if images < 2:
        raise ValueError(f"images must be 2 or more, got {images}: a distance needs the spread of a set")
    tasks = [task for task in tasks if task.model in adapted]
    records = keeping.records_of(tasks)
    given = {"seeds": seeds, "images": images, "draws": ranks.DRAWS}
    return keeping.kept(NAME, profile, model, records, given, lambda: tables(tasks, records, images))


def tables(tasks: Sequence[Run], records: Sequence[Record], images: int) -> Tables:
    """What the analysis keeps.

    Args:
        tasks: runs of ZS, LP, FS, FS-squared and FFT of the networks.
        records: theirs.
        images: see `analyse`.

    Returns:
        "sets": every measure of each network and data set; "correlations": one row for each question, with the interval
        and p of `submasking.report.ranks`, corrected by Holm over all; "networks": the correlation of each network
        alone; "family": how many questions there are, and how many would pass by chance.
    """
    distances = measured(tasks, images)
    sets = [row for model in dict.fromkeys(task.model for task in tasks) for row in _sets(model, records, distances)]
    asked = GAINS + tuple((name, *outcome) for name in PROPERTIES for outcome in OUTCOMES if name in sets[0])
    found = [ranks.ranked(*_parts(sets, question)) for question in asked]
    adjusted = holm([each.p for each in found])
    rows = [_row(question, each, p) for question, each, p in zip(asked, found, adjusted, strict=True)]
    models = list(dict.fromkeys(str(row["model"]) for row in sets))
    networks: list[Row] = [
        _label(question) | {"model": model, "value": number(value)}
        for question, each in zip(asked, found, strict=True)
        for model, value in zip(models, each.each, strict=True)
    ]
    return {"sets": sets, "correlations": rows, "networks": networks, "family": [_family(sets, asked, found, adjusted)]}


def measured(tasks: Iterable[Run], images: int) -> dict[tuple[str, str], float]:
    """Distance of each data set from the source, by network and set: mean over the backbones that the runs met.

    Both are seen by the untouched network; of the source images that it was not trained on. Empty for the paper's own
    networks, whose source is not at hand.
    """
    tasks = [task for task in tasks if task.method == "FS"]
    if profile_of(tasks[0].profile).protocol is not None:
        return {}
    one = {(task.model, task.dataset, task.seed % profile_of(task.profile).backbones): task for task in reversed(tasks)}
    found: dict[tuple[str, str], list[float]] = {}
    for model, seed in dict.fromkeys((task.model, task.seed) for task in one.values()):
        backbone = backbones.load(model, tasks[0].profile, seed=seed)
        source = _seen(backbone, datasets.load(tasks[0].profile, datasets.SOURCE, "validation"), images)
        for task in (task for task in one.values() if (task.model, task.seed) == (model, seed)):
            other = _seen(backbone, datasets.load(task.profile, task.dataset, "train", seed), images)
            found.setdefault((model, task.dataset), []).append(frechet(source, other))
        print(f"{model}, seed {seed}: distances from {datasets.SOURCE} measured", flush=True)
    return {key: float(np.mean(values)) for key, values in found.items()}


def _seen(backbone: backbones.Backbone, images: ImageSet, count: int) -> NDArray[np.float32]:
    some = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]
    return features(backbone.trunk, images.subset(some), backbone.normalise).numpy()


def _sets(model: str, records: Sequence[Record], distances: dict[tuple[str, str], float]) -> Iterable[Row]:
    """Measures of each data set, mean over the seeds that every method has."""
    for dataset in DATASETS:
        runs = {
            (record.method, record.seed): record
            for record in records
            if (record.model, record.dataset) == (model, dataset)
        }
        methods = {method for method, _ in runs}
        seeds = [seed for method, seed in runs if method == "FS" and all((other, seed) in runs for other in methods)]
        if not seeds:
            continue
        row: Row = {"model": model, "dataset": dataset, "seeds": len(seeds)}
        data = runs["FS", seeds[0]].data
        row |= {"classes": data["classes"], "images": data["train"] / data["classes"]}
        row |= {"distance": distances[model, dataset]} if distances else {}
        row |= {"ZS": _mean(runs, "ZS", seeds, "knn"), "LP": _mean(runs, "LP", seeds, "top1")}
        for method in sorted(methods - {"ZS", "LP"}):
            row |= {method + said: _mean(runs, method, seeds, name) for name, said in MEASURES.items()}
            if method != "FFT":
                row[f"off {method}"] = _mean(runs, method, seeds, "sparsity")
        yield row


def _mean(runs: dict[tuple[str, int], Record], method: str, seeds: Sequence[int], metric: str) -> float:
    return float(np.mean([runs[method, seed].metrics[metric] for seed in seeds]))


def table(sets: Sequence[Row], name: str) -> Values:
    """One measure as [networks, data sets], of the data sets that every network met; 0 for the name ""."""
    models = list(dict.fromkeys(row["model"] for row in sets))
    by_key = {(row["model"], row["dataset"]): row for row in sets}
    both = [dataset for dataset in DATASETS if all((model, dataset) in by_key for model in models)]
    return np.array(
        [[float(by_key[model, dataset][name] or 0) if name else 0.0 for dataset in both] for model in models]
    )


def _parts(sets: Sequence[Row], question: Question) -> tuple[Values, Values, Values | None]:
    """Measure and outcome of a question; what is taken off apart where the measure is the same: a common term."""
    measure, outcome, less = (table(sets, name) for name in question)
    if question[0] == question[2]:
        return measure, outcome, less
    return measure, outcome - less, None


def _label(question: Question) -> Row:
    measure, outcome, less = question
    return {"measure": measure, "outcome": f"{outcome} − {less}" if less else outcome}


def _row(question: Question, found: Ranked, adjusted: float) -> Row:
    numbers = {"value": found.value, "low": found.low, "high": found.high, "p": found.p, "holm": adjusted}
    each = [value for value in found.each if not math.isnan(value)]
    return (
        _label(question)
        | {name: number(value) for name, value in numbers.items()}
        | {"clear": adjusted < LEVEL, "chance": number(found.chance), "sets": found.sets, "networks": len(found.each)}
        | {"least": min(each, default=None), "most": max(each, default=None)}
    )


def _family(sets: Sequence[Row], asked: Sequence[Question], found: Sequence[Ranked], adjusted: Sequence[float]) -> Row:
    """How many correlations there are, how many would pass by chance, and how large the largest would be."""
    known = [(question, each) for question, each in zip(asked, found, strict=True) if not math.isnan(each.p)]
    largest = None
    if known:
        dealt = [ranks.deals(*_parts(sets, question)) - each.chance for question, each in known]
        largest = float(np.median(np.abs(dealt).max(0)))
    return {
        "questions": len(known),
        "below": sum(each.p < LEVEL for _, each in known),
        "expected": LEVEL * len(known),
        "clear": sum(p < LEVEL for p in adjusted),
        "largest_by_chance": largest,
    }
