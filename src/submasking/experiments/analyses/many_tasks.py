"""All tasks of the small world in one bank: which is a batch from, does one disturb another, do masks add up.

Tasks are guessed by the entropy of their answers (Wortsman et al., arXiv:2006.14769), by how far the channel means of
the norms lie from the running ones, and by the mean of the untouched network's features.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from submasking.experiments.analyses import keeping
from submasking.experiments.run import Run
from submasking.learning.backbone import Backbone
from submasking.learning.evaluate import accuracy, features
from submasking.learning.images import ImageSet
from submasking.records.analyses import Analysis, Row
from submasking.report import statistics
from submasking.report.statistics import Sample
from submasking.tasks import maskfile
from submasking.tasks.bank import Bank, doubt
from submasking.worlds import backbones, datasets

NAME = "many_tasks"
SIZES = (1, 2, 4, 8, 16, 32, 64)
TOGETHER = (2, 8)  # masks that are put together
ENTROPY, NORMS, FEATURES = "entropy", "norm statistics", "feature means"
OWN, OTHER, NO_MASK = "own mask", "another task's mask", "no mask"
MIXED = 16  # images of each task in a mixed batch
Guessed = dict[tuple[str, str, int], list[bool]]  # by way, data set and batch size whether each batch was found


def analyse(profile_name: str, model: str, seeds: str, images: int) -> Analysis:
    """The analysis, made where it is not known.

    Args:
        profile_name: of a grid.
        model: one of the paper's names.
        seeds: of the masks; those of one seed share a backbone, and are one bank.
        images: test images of each data set, at most.

    Raises:
        ValueError: images is below 2, or as `keeping.tasks`.
    """
    if images < 2:
        raise ValueError(f"images must be at least 2, got {images}; 500 are enough")
    tasks = keeping.tasks(NAME, profile_name, model, seeds)
    given = {"seeds": seeds, "images": images, "sizes": list(SIZES), "together": list(TOGETHER)}
    return keeping.kept(NAME, profile_name, model, keeping.records_of(tasks), given, lambda: _tables(tasks, images))


def _tables(tasks: Sequence[Run], images: int) -> keeping.Tables:
    guesses: dict[int, Guessed] = {}
    combined: dict[tuple[str, int], dict[int, float]] = {}
    alone: list[Row] = []
    for seed, runs in groupby(sorted(tasks, key=lambda run: run.seed), key=lambda run: run.seed):
        world = World(list(runs), images)
        answers = world.answers()
        guesses[seed] = world.guesses(answers)
        for key, right in world.combined(answers).items():
            combined.setdefault(key, {})[seed] = right
        alone.append({"seed": seed} | world.undisturbed())
        told = ", ".join(f"{how} of {count} {right[seed]:.3f}" for (how, count), right in combined.items())
        print(f"seed {seed}: {told}", flush=True)
    return {"guesses": _guesses(guesses), "combined": _combined(combined), "alone": alone}


class World:
    """The tasks of one seed on their backbone.

    Args:
        runs: one for each data set; their mask files are read.
        images: test images of each, at most.
    """

    def __init__(self, runs: Sequence[Run], images: int) -> None:
        first = runs[0]
        self.runs = {run.dataset: run for run in runs}
        self.backbone: Backbone = backbones.load(first.model, first.profile, seed=first.seed)
        self.bank = Bank(copy.deepcopy(self.backbone.trunk).eval())
        self.test: dict[str, ImageSet] = {}
        for name, run in self.runs.items():
            self.bank.add(name, run.mask_file)
            test = datasets.load(run.profile, name, "test")
            order = torch.randperm(len(test), generator=torch.Generator().manual_seed(first.seed))
            self.test[name] = test.subset(order[:images])
        self.normalise = self.backbone.normalise

    def logits(self, task: str, images: ImageSet) -> Tensor:
        """What a task says of images."""
        head = self.bank.tasks[task].head
        assert head is not None  # the small world's are linear
        with self.bank.using(task) as model, torch.inference_mode():
            return head(features(model, images, self.normalise))

    def answers(self) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
        """For each data set and task the logits of its test images and how its norms see them, see `_seen`."""
        found = {}
        for dataset, images in self.test.items():
            for task in self.bank.tasks:
                with self.bank.using(task) as model, _seen(model) as seen:
                    logits = self.logits(task, images)
                    found[dataset, task] = logits, torch.cat(seen.means(), dim=1)
        return found

    def guesses(self, answers: Mapping[tuple[str, str], tuple[Tensor, Tensor]]) -> Guessed:
        """For each way, data set and size of batch whether each batch was given its task."""
        names = list(self.bank.tasks)
        centres = torch.stack([self._features(name, "train").mean(0) for name in names])
        found: Guessed = {}
        for dataset in names:
            doubts = torch.stack([doubt(answers[dataset, task][0]) for task in names])  # (tasks, images)
            deviations = [answers[dataset, task][1] for task in names]
            plain = self._features(dataset, "test")
            for size in SIZES:
                for part in torch.arange(len(plain)).split(size):
                    if len(part) < size:
                        continue
                    told = {ENTROPY: doubts[:, part].mean(1)}
                    told[FEATURES] = (centres - plain[part].mean(0)).norm(dim=1)
                    if deviations[0].shape[1]:
                        told[NORMS] = torch.stack([each[part].mean(0).square().mean() for each in deviations])
                    for way, distances in told.items():
                        right = names[int(distances.argmin())] == dataset
                        found.setdefault((way, dataset, size), []).append(right)
        return found

    def _features(self, dataset: str, split: str) -> Tensor:
        run = self.runs[dataset]
        images = self.test[dataset] if split == "test" else datasets.load(run.profile, dataset, split, run.seed)
        return features(self.backbone.trunk, images, self.normalise)

    def combined(self, answers: Mapping[tuple[str, str], tuple[Tensor, Tensor]]) -> dict[tuple[str, int], float]:
        """Accuracy, over the tasks, with other masks than their own under their own statistics and heads."""
        names, bank = list(self.bank.tasks), self.bank
        right: dict[tuple[str, int], list[float]] = {}
        for place, name in enumerate(names):
            own = answers[name, name][0].argmax(1)
            right.setdefault((OWN, 1), []).append(accuracy(own, self.test[name].labels))
            following = names[place:] + names[:place]
            masks: dict[tuple[str, int], dict[str, Tensor]] = {
                (NO_MASK, 0): {key: torch.ones_like(mask) for key, mask in bank.masks(name).items()},
                (OTHER, 1): bank.masks(following[1]),
            }
            for count in TOGETHER:
                group = following[:count]
                masks |= {("union", count): bank.union(group), ("intersection", count): bank.intersection(group)}
                masks[("vote", count)] = bank.vote(group)
            for key, each in masks.items():
                task = bank.tasks[name]
                bank.put("tried", each, state=task.state, head=task.head, classes=task.classes)
                given = self.logits("tried", self.test[name]).argmax(1)
                bank.remove("tried")
                right.setdefault(key, []).append(accuracy(given, self.test[name].labels))
        return {key: fmean(each) for key, each in right.items()}

    def undisturbed(self) -> Row:
        """Whether each task is, after all others were used, what it is on a backbone of its own: bit for bit."""
        tensors = differing = answers = 0
        order = [name for _ in range(MIXED) for name in self.bank.tasks]
        pictures = {
            name: iter(self.normalise(images.images[:MIXED].float() / 255)) for name, images in self.test.items()
        }
        told = self.bank.mixed(torch.stack([next(pictures[name]) for name in order]), order)
        for name, run in self.runs.items():
            trunk, file = copy.deepcopy(self.backbone.trunk), maskfile.load(run.mask_file)
            file.apply(trunk).bake()
            head = file.head()
            assert head is not None
            with self.bank.using(name) as model:
                own, shared = trunk.eval().state_dict(), model.state_dict()
                tensors += len(own)
                differing += sum(not torch.equal(own[key], shared[key]) for key in own)
            with torch.inference_mode():
                one = head(trunk(self.normalise(self.test[name].images[:MIXED].float() / 255)))
            mine = torch.stack([each for each, task in zip(told, order, strict=True) if task == name])
            answers += int((one != mine).any(1).sum())
        before, after = self.backbone.trunk.state_dict(), self.bank.release().state_dict()
        sizes = self.bank.bytes
        return {
            "tasks": len(self.runs), "tensors": tensors, "tensors_differing": differing, "mixed_images": len(order),
            "mixed_differing": answers, "backbone_differing": sum(not torch.equal(before[k], after[k]) for k in before),
            "backbone_bytes": sizes["backbone"] // 2, "task_bytes": sizes["tasks"],
            "file_bytes": sum(run.mask_file.stat().st_size for run in self.runs.values()),
        }  # fmt: skip


class _Seen:
    """What the norms of a network were given: how far each image's channel means lie from the running ones.

    In the running standard deviations, so that layers and channels count alike.
    """

    def __init__(self) -> None:
        self.parts: dict[str, list[Tensor]] = {}

    def means(self) -> list[Tensor]:
        """By layer [images, channels]; a single empty one where the network has no norms with statistics."""
        return [torch.cat(each) for each in self.parts.values()] or [torch.empty(0, 0)]


@contextmanager
def _seen(model: nn.Module) -> Iterator[_Seen]:
    """Watch the norms of a model for the length of a `with` block."""
    seen, handles = _Seen(), []

    def watch(name: str, norm: _BatchNorm) -> Any:
        def hook(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            distance = (given[0].mean((2, 3)) - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
            seen.parts.setdefault(name, []).append(distance)

        return hook

    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            handles.append(module.register_forward_pre_hook(watch(name, module)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _guesses(found: Mapping[int, Guessed]) -> list[Row]:
    """Share of batches that were given their task, for each data set and over them all, with intervals over seeds."""
    rows: list[Row] = []
    keys = list(next(iter(found.values())))
    names = list(dict.fromkeys(dataset for _, dataset, _ in keys))
    for way in dict.fromkeys(way for way, _, _ in keys):
        for size in SIZES:
            parts = {name: _shares(found, (way, name, size)) for name in names}
            parts = {name: values for name, values in parts.items() if values}
            if not parts:
                continue
            parts["all"] = {seed: fmean(values[seed] for values in parts.values()) for seed in found}
            for name, values in parts.items():
                of = names if name == "all" else [name]
                batches = sum(len(each.get((way, one, size), ())) for each in found.values() for one in of)
                asked: Row = {"way": way, "images": size, "dataset": name, "batches": batches, "chance": 1 / len(names)}
                rows.append(asked | _estimated(Sample(values)))
    return rows


def _shares(found: Mapping[int, Guessed], key: tuple[str, str, int]) -> dict[int, float]:
    return {seed: fmean(each[key]) for seed, each in found.items() if key in each}


def _combined(found: Mapping[tuple[str, int], Mapping[int, float]]) -> list[Row]:
    """Accuracy of each combination, and how far it is ahead of no mask and of the own one."""
    rows: list[Row] = []
    for (how, count), values in found.items():
        row: Row = {"masks": how, "tasks": count}
        row |= _estimated(Sample(values))
        for name, other in (("own", (OWN, 1)), ("none", (NO_MASK, 0))):
            gap = _estimated(statistics.difference(Sample(values), Sample(found[other])))
            row |= {f"over_{name}": gap["share"], f"over_{name}_low": gap["low"], f"over_{name}_high": gap["high"]}
        rows.append(row)
    return rows


def _estimated(given: Sample | statistics.Estimate) -> Row:
    told = statistics.estimate(given) if isinstance(given, Sample) else given
    low, high = (None if math.isnan(end) else end for end in (told.low, told.high))
    return {"share": told.value, "low": low, "high": high, "seeds": told.seeds}
