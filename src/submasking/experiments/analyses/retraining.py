"""Train again with the same settings: are the same weights masked? The draft's open idea.

Overlap beyond chance between seeds of one backbone, of all masks of the grid; along training, for the same images and
for others; and how good is what all trainings agree on, alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from submasking.experiments import methods
from submasking.experiments.analyses import networks
from submasking.experiments.analyses.keeping import Tables
from submasking.experiments.analyses.networks import Masks, Tensors
from submasking.experiments.run import Run
from submasking.masking.handle import Masking
from submasking.records.analyses import Cell, Row, number
from submasking.records.profiles import profile
from submasking.report import statistics
from submasking.report.statistics import Estimate, Sample
from submasking.tasks.similarity import similarity

SINGLE = "one training"  # what the others are compared with
NONE = "no mask"
SEEDS = 2  # of a backbone, as many masks are compared: to read one takes longer than to compare two


def tables(tasks: Iterable[Run], trained: Sequence[Run], repeats: int) -> Tables:
    """All tables of the analysis.

    Args:
        tasks: runs with masks, whose files are read.
        trained: runs of method FS, one for each data set, that are trained again along with others.
        repeats: trainings of each of these that differ in the seed, at least 2.

    Raises:
        ValueError: fewer than two repeats.
    """
    if repeats < 2:
        raise ValueError(f"repeats must be at least 2 to be compared, got {repeats}; 3 have a majority")
    found: Tables = {"overlap": overlaps(list(tasks)), "layers": [], "epochs": [], "consensus": []}
    right: dict[str, dict[str, Sample]] = {}
    for task in trained:
        print(f"training {task.dataset} again", flush=True)
        others = [again(task, number) for number in range(repeats)]
        along = [epochs(run) for run in others]
        same = epochs(others[1], task)
        found["epochs"] += by_epoch(task, along, same)
        found["layers"] += by_layer(task, [masks[-1] for masks in along], same[-1])
        right[task.dataset], shares = judged(task, [masks[-1] for masks in along])
        found["consensus"] += compared(task.dataset, right[task.dataset], shares)
    found["summary"] = summary(right, found["consensus"])
    found["means"], found["along"] = means(found["overlap"]), along_means(found["epochs"])
    return found


def again(task: Run, number: int) -> Run:
    """The run with the next seed that starts from the same backbone, for number 1; the run itself for 0."""
    return replace(task, seed=task.seed + number * max(profile(task.profile).backbones, 1))


def overlaps(tasks: Sequence[Run]) -> list[Row]:
    """A row for each model, method and data set: overlap of the first seeds with one backbone, and with another's.

    Those with one seed are left out where others have more.
    """
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for task in tasks:
        groups.setdefault((task.model, task.method, task.dataset), []).append(task)
    rows: list[Row] = []
    for (model, method, dataset), runs in groups.items():
        same = [run for run in runs if networks.same_backbone(runs[0], run)][:SEEDS]
        other = [run for run in runs if not networks.same_backbone(runs[0], run)][:1]
        read = [*same, *other] if len(same + other) > 1 else []
        if read:
            print(f"masks of {model} {method} {dataset}", flush=True)
        masks = {run: networks.masks_of(run) for run in read}
        weights = networks.weights_of(runs[0], masks[runs[0]]) if read else {}
        alike = [_alike(masks[a], masks[b], weights) for a, b in itertools.combinations(same, 2)]
        means = np.mean(alike, 0) if alike else [None] * 5
        check = _alike(masks[same[0]], masks[other[0]], weights)[0] if other else None
        rows.append({
            "model": model, "method": method, "dataset": dataset, "seeds": len(same), "pairs": len(alike),
            "beyond_tensor": means[0], "beyond_size": means[1], "overlap": means[2], "expected": means[3],
            "z": means[4], "other_pairs": len(other), "other_backbone": check,
        })  # fmt: skip
    return [row for row in rows if row["pairs"] or row["other_pairs"]] or rows


def _alike(first: Masks, second: Masks, weights: Tensors) -> tuple[float, ...]:
    """Beyond chance by tensor and by size, Jaccard index with what chance gives, and standard deviations."""
    by_tensor, by_size = similarity(first, second), similarity(first, second, weights)
    off = by_tensor.both + by_tensor.either  # of both masks together
    chance = by_tensor.expected / (off - by_tensor.expected) if off else 1.0
    return by_tensor.corrected, by_size.corrected, by_tensor.jaccard, chance, by_tensor.z


def epochs(task: Run, images: Run | None = None) -> list[Masks]:
    """The masks after each epoch of a run's training, once more.

    Args:
        task: the run.
        images: whose training images it sees instead of its own.
    """

    def make() -> Tensors:
        made: Tensors = {}

        def keep(epoch: int, masking: Masking | None) -> None:
            assert masking is not None  # the method learns masks
            for name, mask in masking.masks().items():
                made[f"{epoch} {name}"] = torch.from_numpy(np.packbits(mask.numpy().reshape(-1)))

        networks.learn(task, images=None if images is None else methods.images_of(images, "train"), on_epoch=keep)
        return made

    kept = networks.once(task, {"masks": "each epoch", "images": task.seed if images is None else images.seed}, make)
    trunk = methods.backbone_of(task).trunk
    found: dict[int, Masks] = {}
    for key, bits in kept.items():
        epoch, name = key.split(" ")
        shape = trunk.get_parameter(name).shape
        mask = np.unpackbits(bits.numpy(), count=shape.numel()).astype(bool).reshape(shape)
        found.setdefault(int(epoch), {})[name] = torch.from_numpy(mask)
    return [dict(sorted(found[epoch].items())) for epoch in sorted(found)]


def by_epoch(task: Run, along: Sequence[Sequence[Masks]], same: Sequence[Masks]) -> list[Row]:
    """Overlap after each epoch: of trainings on other images, of two on the same, and of one with its own end."""
    weights = networks.weights_of(task, along[0][-1])
    rows: list[Row] = []
    for epoch, masks in enumerate(zip(*along, strict=True)):
        several = [similarity(*both, weights).corrected for both in itertools.combinations(masks, 2)]
        first = masks[0]
        rows.append({
            "dataset": task.dataset, "epoch": epoch + 1, "off": share_off(first),
            "other_images": float(np.mean(several)),
            "same_images": similarity(first, same[epoch], weights).corrected,
            "own_end": similarity(first, along[0][-1], weights).corrected,
        })  # fmt: skip
    return rows


def by_layer(task: Run, masks: Sequence[Masks], same: Masks) -> list[Row]:
    """Overlap at the end in each tensor, from the input on."""
    rows: list[Row] = []
    for place, name in enumerate(networks.masked(task, same)):
        weights = networks.weights_of(task, {name: same[name]})
        one = [{name: each[name]} for each in masks]
        several = [similarity(*both, weights).corrected for both in itertools.combinations(one, 2)]
        rows.append({
            "dataset": task.dataset, "place": place + 1, "layer": name, "off": share_off(one[0]),
            "other_images": float(np.mean(several)),
            "same_images": similarity(one[0], {name: same[name]}, weights).corrected,
        })  # fmt: skip
    return rows


def share_off(masks: Masks) -> float:
    """Share of the weights that are off."""
    return sum(int((~mask).sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())


def agreed(masks: Sequence[Masks], votes: int) -> Masks:
    """The weights that at least so many trainings switch off are off, the others on."""
    return {name: torch.stack([~each[name] for each in masks]).sum(0) < votes for name in masks[0]}


def drawn(masks: Masks, seed: int = 0) -> Masks:
    """A random mask with as many weights of each tensor off."""
    random = torch.Generator().manual_seed(seed)
    made: Masks = {}
    for name, mask in masks.items():
        off = torch.randperm(mask.numel(), generator=random)[: int((~mask).sum())]
        made[name] = torch.ones(mask.numel(), dtype=torch.bool).index_fill_(0, off, False).view(mask.shape)
    return made


def judged(task: Run, masks: Sequence[Masks]) -> tuple[dict[str, Sample], dict[str, float]]:
    """How a new probe does on the backbone under masks, by what they are, and their shares of weights that are off."""
    test = methods.images_of(task, "test")
    every = agreed(masks, len(masks))
    asked: dict[str, Sequence[Masks]] = {
        SINGLE: masks, "all agree": [every], "most agree": [agreed(masks, len(masks) // 2 + 1)],
        "any": [agreed(masks, 1)], "random": [drawn(every)], NONE: [{}],
    }  # fmt: skip
    samples, shares = {}, {}
    for what, several in asked.items():
        right = {}
        for place, each in enumerate(several):
            right[place] = (networks.probed(task, each) == test.labels).numpy()
        values = {place: float(one.mean()) for place, one in right.items()}
        samples[what] = Sample(values, right, test.fingerprint(), len(several) == 1, f"{what} on {task.dataset}")
        shares[what] = float(np.mean([share_off(each) if each else 0.0 for each in several]))
    return samples, shares


def compared(dataset: str, samples: Mapping[str, Sample], shares: Mapping[str, float]) -> list[Row]:
    """Accuracy of each kind of mask and how far it is ahead of the mask of one training, by test image and training."""
    rows: list[Row] = []
    for what, sample in samples.items():
        ahead = statistics.difference(sample, samples[SINGLE]) if what != SINGLE else Estimate(math.nan)
        rows.append({
            "dataset": dataset, "what": what, "off": shares[what], "accuracy": statistics.estimate(sample).value,
            "ahead": number(ahead.value), "low": number(ahead.low), "high": number(ahead.high),
        })  # fmt: skip
    return rows


def means(rows: list[Row]) -> list[Row]:
    """Overlap by model and method, mean over the data sets with its interval over them."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((str(row["model"]), str(row["method"])), []).append(row)
    found: list[Row] = []
    for (model, method), part in groups.items():
        told: Row = {"model": model, "method": method, "sets": len(part)}
        for column in ("pairs", "other_pairs"):
            told[column] = sum(int(row[column] or 0) for row in part)
        for column in ("beyond_tensor", "beyond_size", "other_backbone", "overlap", "expected"):
            told |= _interval(column, [row[column] for row in part])
        found.append(told)
    return found


def along_means(rows: list[Row]) -> list[Row]:
    """Overlap after each epoch, mean and interval over the data sets; `more` is same images less other ones."""
    found: list[Row] = []
    for epoch in dict.fromkeys(row["epoch"] for row in rows):
        part = [row for row in rows if row["epoch"] == epoch]
        more: list[Cell] = [float(row["same_images"] or 0) - float(row["other_images"] or 0) for row in part]
        told: Row = {"epoch": epoch, "sets": len(part), **_interval("more", more)}
        for column in ("same_images", "other_images", "own_end", "off"):
            told |= _interval(column, [row[column] for row in part])
        found.append(told)
    return found


def _interval(name: str, values: Sequence[Cell]) -> Row:
    """A mean with its 95 % interval as three cells; None where there is no number."""
    known = {place: float(value) for place, value in enumerate(values) if value is not None}
    if not known:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    one = statistics.estimate(Sample(known))
    return {name: one.value, f"{name}_low": number(one.low), f"{name}_high": number(one.high)}


def summary(samples: Mapping[str, Mapping[str, Sample]], rows: list[Row]) -> list[Row]:
    """How far each kind of mask is ahead of that of one training, mean and interval over data sets, Holm's p."""
    sets = list(samples.values())
    found = {
        what: statistics.estimate(
            Sample({place: mean(of[what]) - mean(of[SINGLE]) for place, of in enumerate(sets)}, name=what)
        )
        for what in sets[0] if what != SINGLE
    }  # fmt: skip
    held = statistics.holm([one.p for one in found.values()])
    off = {what: float(np.mean([float(row["off"] or 0) for row in rows if row["what"] == what])) for what in sets[0]}
    return [
        {
            "what": what, "off": off[what], "off_of_one": off[SINGLE], "ahead": one.value, "low": number(one.low),
            "high": number(one.high), "holm": number(p), "sets": len(sets),
        }
        for (what, one), p in zip(found.items(), held, strict=True)
    ]  # fmt: skip


def mean(sample: Sample) -> float:
    """Of its values."""
    return float(np.mean(list(sample.values.values())))
