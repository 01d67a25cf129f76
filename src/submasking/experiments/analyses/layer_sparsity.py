"""What share of each layer's weights a mask switches off: by depth, by kind of layer, and by what the weights are like.

Records hold the sparsity of each masked tensor; the backbone says what the tensor is. Query, key and value lie in one
tensor of a transformer's block: they are told apart in the masks themselves.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from submasking.experiments.analyses import keeping
from submasking.experiments.analyses.keeping import Tables
from submasking.experiments.run import Run
from submasking.records.analyses import Analysis, Cell, Row
from submasking.records.names import DATASETS
from submasking.records.results import Record
from submasking.report import ranks
from submasking.report.statistics import Sample, estimate
from submasking.tasks import maskfile
from submasking.worlds import backbones

NAME = "layer_sparsity"
BIASES = "biases"
# by what a tensor's name holds; a convolution without any of these is called by its kernel
KINDS = {
    "downsample": "shortcut",
    "in_proj": "attention input",
    "out_proj": "attention output",
    "c_fc": "MLP, first",
    "c_proj": "MLP, second",
}
PROPERTIES = ("depth", "weights", "size")


@dataclass(frozen=True)
class Layer:
    """A masked tensor.

    Attributes:
        tensor: its name.
        depth: 0 for the first of its network, 1 for the last.
        stage: "stem", "stage 1" or "block 1" and so on.
        kind: of `KINDS`, "1 × 1" or "3 × 3" for other convolutions, "stem".
        bias: whether it is a bias.
        weights: how many values it has.
        size: root of their mean square.
    """

    tensor: str
    depth: float
    stage: str
    kind: str
    bias: bool
    weights: int
    size: float


def analyse(profile: str, model: str = "all", seeds: str = "all") -> Analysis:
    """Tables of the sparsity at each layer, of the runs of a profile's grid that learn masks; see `tables`.

    Args:
        profile: name of a profile with a grid.
        model: one of the paper's names, several split by commas, or "all".
        seeds: whole numbers split by commas, or "all".

    Raises:
        ValueError: an unknown model, seeds that are no numbers, no run that learns masks, or a profile without a grid.
    """
    tasks = keeping.tasks(NAME, profile, model, seeds)
    if not tasks:
        raise ValueError(f"model must be one that the grid of profile {profile} adapts; got {model!r}; pass rn18-timm")
    records = keeping.records_of(tasks)
    return keeping.kept(NAME, profile, model, records, {"seeds": seeds}, lambda: tables(tasks, records))


def tables(tasks: Sequence[Run], records: Sequence[Record]) -> Tables:
    """What the analysis keeps, intervals over data sets where there are two or more.

    Args:
        tasks: runs that learn masks.
        records: theirs.

    Returns:
        "tensors": each masked tensor of each network and method, with its sparsity on each data set; "kinds", "stages"
        and "sorts" (weights and biases): share of the weights of a group that go; "orders": rank correlation, over the
        layers, of sparsity with depth, number and size of the weights, and of the last two; "alike": between data sets,
        seeds and methods;
        "attention": query, key and value apart, of the first seed, where a network has them.
    """
    found: Tables = {name: [] for name in ("tensors", "kinds", "stages", "sorts", "orders", "alike", "attention")}
    for model in dict.fromkeys(record.model for record in records):
        runs = [record for record in records if record.model == model]
        known = layers(model, runs)
        profiles = {}
        for method in dict.fromkeys(record.method for record in runs):
            part = [record for record in runs if record.method == method]
            label: Row = {"model": model, "method": method, "seeds": len({record.seed for record in part})}
            by_set = sparsities(part, known)
            profiles[method] = by_set
            found["tensors"] += [label | row for row in _tensors(known, by_set)]
            for name, of in (("kinds", "kind"), ("stages", "stage"), ("sorts", "")):
                found[name] += [label | row for row in grouped(known, by_set, of)]
            found["orders"].append(label | _orders(known, by_set))
            found["alike"] += [label | row for row in _alike(part, known)]
        both: Row = {"model": model, "seeds": None}
        found["alike"] += [both | row for row in _methods(known, profiles)]
    found["attention"] = attention([task for task in tasks if task.seed == min(one.seed for one in tasks)])
    return {name: rows for name, rows in found.items() if rows}


def layers(model: str, records: Iterable[Record]) -> list[Layer]:
    """The masked tensors of a network in its order, their sizes averaged over the backbones that the runs met."""
    records = list(records)
    first = {record.backbone["weights"]: record for record in reversed(records)}
    trunks = [backbones.load(model, record.profile, seed=record.seed).trunk for record in first.values()]
    tensors = [dict(trunk.named_parameters()) for trunk in trunks]
    return layers_of(tensors, [name for name in tensors[0] if name in records[0].layers])


def layers_of(tensors: Sequence[Mapping[str, Tensor]], masked: Sequence[str]) -> list[Layer]:
    """What these tensors are, from their names in the network's order and their values in each of its backbones."""
    return [
        _layer(name, place / max(len(masked) - 1, 1), [weights[name].detach() for weights in tensors])
        for place, name in enumerate(masked)
    ]


def _layer(name: str, depth: float, weights: Sequence[Tensor]) -> Layer:
    stage = re.search(r"\b(layer|resblocks\.)(\d+)", name)
    words = {"layer": ("stage", 0), "resblocks.": ("block", 1)}
    where = "stem"
    if stage:
        word, offset = words[stage[1]]
        where = f"{word} {int(stage[2]) + offset}"
    kernel = "stem" if not stage else " × ".join(map(str, weights[0].shape[2:]))
    kind = next((said for part, said in KINDS.items() if part in name), kernel or "other")
    size = float(np.mean([tensor.square().mean().sqrt() for tensor in weights]))
    return Layer(name, depth, where, kind, name.endswith("bias"), weights[0].numel(), size)


def sparsities(records: Iterable[Record], known: Sequence[Layer]) -> dict[str, NDArray[np.float64]]:
    """By data set the sparsity of each layer, mean over the seeds."""
    by_set = defaultdict(list)
    for record in records:
        by_set[record.dataset].append([record.layers[layer.tensor] for layer in known])
    return {name: np.mean(by_set[name], axis=0) for name in DATASETS if name in by_set}


def _interval(values: Iterable[float]) -> Row:
    """Mean over the data sets with its interval; the sets take the place of seeds, what is no number is left out."""
    there = [float(value) for value in values if not np.isnan(value)]
    if not there:
        return {"sets": 0, "value": None, "low": None, "high": None}
    found = estimate(Sample(dict(enumerate(there))))
    ends = [None if np.isnan(end) else end for end in (found.low, found.high)]
    return {"sets": len(there), "value": found.value, "low": ends[0], "high": ends[1]}


def _tensors(known: Sequence[Layer], by_set: Mapping[str, NDArray[np.float64]]) -> Iterable[Row]:
    for place, layer in enumerate(known):
        each = {name: float(values[place]) for name, values in by_set.items()}
        every: Row = {name: each.get(name) for name in DATASETS}
        yield dict(vars(layer)) | _interval(each.values()) | every


def grouped(known: Sequence[Layer], by_set: Mapping[str, NDArray[np.float64]], of: str) -> Iterable[Row]:
    """Share of the weights that go in each group: of one kind or in one stage, biases apart; "" for sorts alone."""
    keys = [(str(getattr(layer, of)) if of else "all", BIASES if layer.bias else "weights") for layer in known]
    counts = np.array([layer.weights for layer in known])
    for key in dict.fromkeys(keys):
        there = np.array([one == key for one in keys])
        shares = [float(np.average(values[there], weights=counts[there])) for values in by_set.values()]
        label: Row = {of: key[0]} if of else {}
        yield label | {"sort": key[1], "weights": int(counts[there].sum())} | _interval(shares)


def _orders(known: Sequence[Layer], by_set: Mapping[str, NDArray[np.float64]]) -> Row:
    """Rank correlation over the layers' weights, biases left out, mean over the data sets."""
    there = np.array([not layer.bias for layer in known])
    of = {name: np.array([getattr(layer, name) for layer in known])[there] for name in PROPERTIES}
    row: Row = {"layers": int(there.sum()), "sets": len(by_set)}
    for name, measure in of.items():
        found = _interval(float(ranks.correlation(measure, rates[there])) for rates in by_set.values())
        row |= {name: found["value"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
    return row | {"weights_size": float(ranks.correlation(of["weights"], of["size"]))}


def _alike(records: Sequence[Record], known: Sequence[Layer]) -> Iterable[Row]:
    """Rank correlation of the layers' sparsities between pairs of runs that differ in the data set, or in the seed."""
    there = [layer.tensor for layer in known if not layer.bias]
    pairs = defaultdict(list)
    for one, other in itertools.combinations(records, 2):
        if (one.dataset == other.dataset) == (one.seed == other.seed):
            continue
        what = "data sets" if one.seed == other.seed else "seeds"
        if what == "seeds" and one.backbone["weights"] != other.backbone["weights"]:
            what = "backbones"
        first, second = (np.array([record.layers[name] for name in there]) for record in (one, other))
        pairs[what].append(float(ranks.correlation(first, second)))
    for what, values in pairs.items():
        yield _pairs(records[0].method, what, values)


def _methods(known: Sequence[Layer], profiles: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> Iterable[Row]:
    """The same between methods, on the data sets that both met."""
    there = np.array([not layer.bias for layer in known])
    for one, other in itertools.combinations(profiles, 2):
        both = [name for name in profiles[one] if name in profiles[other]]
        values = [float(ranks.correlation(profiles[one][name][there], profiles[other][name][there])) for name in both]
        yield _pairs(one, other, values)


def _pairs(method: str, what: str, values: Sequence[float]) -> Row:
    known = [value for value in values if not np.isnan(value)]
    mean, least = (float(np.mean(known)), min(known)) if known else (None, None)
    return {"method": method, "between": what, "pairs": len(known), "value": mean, "least": least}


def attention(tasks: Iterable[Run]) -> list[Row]:
    """Sparsity of query, key and value in each block of a transformer, from the masks: mean over the data sets.

    Raises:
        FileNotFoundError: a run's mask file is not there.
    """
    found: dict[tuple[Cell, ...], list[float]] = defaultdict(list)
    for task in tasks:
        if not task.model.startswith("vit"):
            continue
        weights = backbones.load(task.model, task.profile, seed=task.seed).trunk.state_dict()
        masks = maskfile.load(task.mask_file).masks(weights)
        for name in (name for name in masks if "in_proj" in name):
            block = int(name.split("resblocks.")[1].split(".")[0]) + 1
            sort = BIASES if name.endswith("bias") else "weights"
            for part, mask in zip(("query", "key", "value"), masks[name].chunk(3), strict=True):
                found[task.model, task.method, block, sort, part].append(1 - float(mask.double().mean()))
    heads = ("model", "method", "block", "sort", "part")
    return [dict(zip(heads, key, strict=True)) | _interval(values) for key, values in found.items()]
