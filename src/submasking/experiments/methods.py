"""The methods compared by the paper: what each trains, and what it measures.

ZS the untouched backbone; LP a linear probe on it; FS submasking and FFT full fine-tuning, with labels;
SSM and SSFT the same with the self-supervised loss (SwAV), judged by probes on the adapted features.
Their controls: no mask, a random mask, held norm statistics (`submasking.records.names.METHODS`).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from submasking.experiments.run import Run
from submasking.experiments.sizes import report, weights_report
from submasking.learning import augment
from submasking.learning.adapt import METHODS as LEARNS
from submasking.learning.adapt import Adapted, adapt
from submasking.learning.backbone import Backbone
from submasking.learning.device import DEVICE, choose
from submasking.learning.evaluate import accuracy, features, label_subset, nearest_neighbours
from submasking.learning.images import ImageSet
from submasking.learning.probe import linear_probe
from submasking.masking.handle import Masking
from submasking.records import names, predictions, results
from submasking.records.names import SELF_SUPERVISED
from submasking.records.profiles import Protocol, profile
from submasking.records.results import converged
from submasking.records.surroundings import commit
from submasking.tasks import maskfile
from submasking.tasks.maskfile import TaskFile
from submasking.tasks.packing import packed
from submasking.worlds import backbones, datasets

Found = dict[str, Any]
# by "are these photographs" and "are there labels": photographs may be flipped, characters may not
STYLES = {
    (True, True): augment.PHOTOS,
    (True, False): augment.PHOTO_VIEWS,
    (False, True): augment.GLYPHS,
    (False, False): augment.GLYPH_VIEWS,
}


@cache
def device(profile_name: str) -> str:
    """Where this process computes: the embedded world on the CPU, where its records come out to the last bit."""
    return choose("auto" if profile(profile_name).photographs or os.environ.get(DEVICE) else "cpu")


def backbone_of(task: Run) -> Backbone:
    """The pretrained network that a run adapts, shared between runs: copy it before you change it."""
    return _loaded(task.model, task.profile, task.weights, task.seed, task.options, task.variant)


def images_of(task: Run, split: str) -> ImageSet:
    """The images of a run: "train", "validation", "test", or "bank" where nothing is trained on them."""
    if split == "bank" and profile(task.profile).protocol is None:  # the same images, read once
        split = "train"
    return _read(task.profile, task.dataset, split, task.seed if split == "train" else 0, task.variant)


# What runs share is kept between them; the variant tells what has another content under the same name.
@lru_cache(maxsize=2)
def _loaded(model: str, profile_name: str, weights: str, seed: int, options: str, variant: str) -> Backbone:
    return backbones.load(model, profile_name, weights=weights, seed=seed, options=options)


@lru_cache(maxsize=4)
def _read(profile_name: str, dataset: str, split: str, seed: int, variant: str) -> ImageSet:
    return datasets.load(profile_name, dataset, split, seed)


def _frozen_features(task: Run) -> tuple[Tensor, Tensor]:
    """Features of training and test images by the untouched backbone."""
    return _features(replace(task, method="LP", labels=100.0), task.variant)


@lru_cache(maxsize=2)
def _features(task: Run, variant: str) -> tuple[Tensor, Tensor]:
    backbone = backbone_of(task)
    trunk = copy.deepcopy(backbone.trunk).to(device(task.profile))
    train, test = (_measured(task, trunk, images_of(task, split)) for split in ("bank", "test"))
    return train, test


def _measured(task: Run, trunk: nn.Module, images: ImageSet) -> Tensor:
    return features(trunk, images, backbone_of(task).normalise, device=device(task.profile))


def with_labels(task: Run, train: ImageSet, percent: float) -> Tensor:
    """Indices of a share of the images, whose labels may be seen; the paper's seed 42 belongs to seed 0."""
    protocol = profile(task.profile).protocol
    if protocol is not None and percent == 100:
        return torch.arange(len(train))  # in their order, so that what is mapped into memory is not copied
    by_class = protocol is None or protocol.subsets == "by class"
    return label_subset(train.labels, percent, seed=42 + task.seed, by_class=by_class)


def _describe(task: Run, backbone: Backbone, train: ImageSet, test: ImageSet, masking: Masking | None = None) -> Found:
    """The fields of the record that say what the run was on; `train` as it was seen, trained on or as a bank."""
    masked = sum(scores.numel() for scores in masking.frozen().values()) if masking else 0
    return {
        "stand_in": {"model": backbone.stand_in, "dataset": datasets.stand_in(task.profile, task.dataset)},
        "backbone": {
            "architecture": backbone.architecture,
            "weights": backbone.weights,
            "fingerprint": backbone.fingerprint,
            "parameters": sum(parameter.numel() for parameter in backbone.trunk.parameters()),
            "masked": masked,
        },
        "data": {
            "classes": len(train.classes),
            "train": len(train),
            "labelled": int(len(train) * task.labels / 100),
            "test": len(test),
        },
        "timings": {},
    }


def _judge(test: ImageSet, given: dict[str, Tensor]) -> Found:
    """The fields of the record that say how well a run does.

    Args:
        test: the images that it is judged on.
        given: by metric the class that each of them was given, int64 [n].
    """
    return {
        "metrics": {name: accuracy(classes, test.labels) for name, classes in given.items()},
        "predictions": {name: predictions.pack(classes.tolist()) for name, classes in given.items()},
        "test": {
            predictions.IMAGES: test.fingerprint(),
            predictions.LABELS: predictions.pack(test.labels.tolist()),
        },
    }


def zero_shot(task: Run, progress: bool) -> Found:
    """ZS: nearest neighbours on the features of the untouched backbone."""
    backbone = backbone_of(task)
    train, test = (images_of(task, split) for split in ("bank", "test"))  # nothing is trained on: no other rendering
    bank, queries = _frozen_features(task)
    chosen = with_labels(task, train, task.labels)
    k = profile(task.profile).neighbours
    neighbours = nearest_neighbours(bank[chosen], train.labels[chosen], queries, k=k)
    return _describe(task, backbone, train, test) | _judge(test, {"knn": neighbours})


def linear(task: Run, progress: bool) -> Found:
    """LP: logistic regression on the features of the untouched backbone."""
    backbone = backbone_of(task)
    train, test = (images_of(task, split) for split in ("bank", "test"))  # nothing is trained on: no other rendering
    bank, queries = _frozen_features(task)
    chosen = with_labels(task, train, task.labels)
    how = profile(task.profile).probe(task.model, task.labels)
    classes, done = linear_probe(bank[chosen], train.labels[chosen], queries, **how)
    found = _describe(task, backbone, train, test) | _judge(test, {"top1": classes})
    found["metrics"][converged("top1")] = float(done)
    return found


def supervised(task: Run, progress: bool) -> Found:
    """FS and FFT: learn masks, or the same weights, with a head on the labelled images; and their controls."""
    chosen = profile(task.profile)
    backbone = backbone_of(task)
    train, test = (images_of(task, split) for split in ("train", "test"))
    few, bank_images = with_labels(task, train, task.labels), images_of(task, "bank")
    labelled = train.subset(few)
    start, off = _thinned(task, backbone) if task.method == "FS-random" else (backbone, {})
    adapted = learn(task, start, labelled, progress)
    seen = labelled if bank_images is train else bank_images.subset(few)
    bank, queries = (_measured(task, adapted.trunk, each) for each in (seen, test))
    adapted.trunk.cpu()
    assert adapted.head is not None  # a method with labels has one
    with torch.inference_mode():
        classes = adapted.head.cpu()(queries).argmax(1)
    neighbours = nearest_neighbours(bank, labelled.labels, queries, k=chosen.neighbours)
    found = _finish(task, backbone, adapted, (train, test), _judge(test, {"top1": classes, "knn": neighbours}))
    if off:
        found["layers"], found["metrics"]["sparsity"] = off["layers"], off["sparsity"]
    return found


def self_supervised(task: Run, progress: bool) -> Found:
    """SSM and SSFT: learn masks, or the same weights, from all training images without their labels."""
    chosen = profile(task.profile)
    backbone = backbone_of(task)
    train, test = (images_of(task, split) for split in ("train", "test"))
    adapted = learn(task, backbone, train, progress)
    bank, queries = (_measured(task, adapted.trunk, images_of(task, split)) for split in ("bank", "test"))
    adapted.trunk.cpu()
    given, solved = {"knn": nearest_neighbours(bank, train.labels, queries, k=chosen.neighbours)}, {}
    for percent in chosen.label_percents:
        few, name = with_labels(task, train, percent), f"lp@{percent:g}"
        how = chosen.probe(task.model, percent)
        given[name], done = linear_probe(bank[few], train.labels[few], queries, **how)
        solved[converged(name)] = float(done)
    found = _judge(test, given)
    found["metrics"] |= solved
    return _finish(task, backbone, adapted, (train, test), found)


def _learns(method: str) -> str:
    """The method of `adapt` that a method of the grid is, but for its settings."""
    if method == "FS-random":  # the mask is drawn, not learnt
        return "FS-none"
    return method if method in LEARNS else method.partition("-")[0]


def learn(
    task: Run, backbone: Backbone, images: ImageSet, progress: bool, *, epochs: int = 0, **others: Any
) -> Adapted:
    """Adapt as the run's profile says; an interrupted run goes on from its checkpoint.

    Args:
        task: the run, which says how.
        backbone: what is adapted.
        images: what to.
        progress: show the progress.
        epochs: another number of them; 0 takes the profile's.
        others: what else `submasking.learning.adapt.adapt` is told, for a training that is not the run's own.
    """
    chosen = profile(task.profile)
    plan = chosen.method(task.method, task.model, task.labels)
    plan = replace(plan, epochs=epochs or plan.epochs)
    if chosen.same_steps and task.labels:
        plan = replace(plan, epochs=round(plan.epochs * 100 / task.labels))
    protocol = chosen.protocol or Protocol()
    return adapt(
        backbone,
        images,
        _learns(task.method),
        plan,
        style=STYLES[chosen.photographs, task.labels > 0],
        rescale=protocol.rescale,
        rates=protocol.rates,
        precision=protocol.precision,
        device=device(task.profile),
        swav=chosen.swav,
        batch_size=chosen.batch_size,
        seed=task.seed,
        label=str(task),
        progress=progress,
        **({"checkpoint": task.checkpoint_file} | others),
    )


def _thinned(task: Run, backbone: Backbone) -> tuple[Backbone, Found]:
    """The backbone under a random mask that switches off as many weights of each tensor as this run's FS did."""
    learnt = replace(task, method="FS")
    masked = results.known(learnt.record_file, learnt.recipe())
    if masked is None:
        raise ValueError(
            f"{task} needs the record of FS with the same seed, which says how much goes off; run FS first"
        )
    trunk, random = copy.deepcopy(backbone.trunk), torch.Generator().manual_seed(task.seed)
    with torch.no_grad():
        for name, share in masked.layers.items():
            weights = trunk.get_parameter(name)
            off = torch.randperm(weights.numel(), generator=random)[: round(share * weights.numel())]
            keep = torch.ones(weights.numel())
            keep[off] = 0
            weights.mul_(keep.view(weights.shape))
    return replace(backbone, trunk=trunk), {"layers": masked.layers, "sparsity": masked.metrics["sparsity"]}


def _norm_buffers(trunk: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Running statistics of the norms: they follow the task, so they are stored with it."""
    for name, buffer in trunk.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            yield name, buffer


def _finish(task: Run, backbone: Backbone, adapted: Adapted, seen: tuple[ImageSet, ImageSet], judged: Found) -> Found:
    """The fields of a trained run, with the sizes of what a task must store: the mask or the trained weights."""
    trunk, head, masking = adapted.trunk, adapted.head, adapted.masking
    found = _describe(task, backbone, *seen, masking) | judged
    metrics = found["metrics"]
    found["timings"] = {"train_s": adapted.history.seconds}
    found["series"] = {"loss": adapted.history.loss}
    of_head = {} if head is None else dict(head.named_parameters())
    found["sizes"] = {
        "buffers_bytes": float(len(packed(dict(_norm_buffers(trunk))))),
        "head_bytes": float(len(packed(of_head))),
    }
    if masking is not None:
        metrics["sparsity"] = masking.sparsity()
        found["layers"] = masking.sparsities()
        found["sizes"] |= report(masking.masks())
        saved = _save_mask(task, backbone, masking, head, seen[0].classes, metrics).sizes()
        found["sizes"] |= {
            name: float(saved[name]) for name in ("coded_bytes", "buffers_bytes", "head_bytes", "file_bytes")
        }
    elif LEARNS[_learns(task.method)] == "weights":
        trained = {name: weights for name, weights in trunk.named_parameters() if weights.requires_grad}
        found["sizes"] |= weights_report(trained, dict(backbone.trunk.named_parameters()))
    return found


def _save_mask(
    task: Run, backbone: Backbone, masking: Masking, head: nn.Module | None, classes: tuple[str, ...],
    metrics: dict[str, float],
) -> TaskFile:  # fmt: skip
    """Store the task as one file beside the records."""
    return maskfile.save(
        task.mask_file,
        masking,
        head=head,
        classes=classes,
        preprocessing=backbone.preprocessing,
        score=metrics,
        architecture=backbone.architecture,
        weights=backbone.weights,
        options=backbone.options,
        provenance={name: value for name, value in asdict(task).items() if name != "options" or value}
        | {"dataset": task.dataset_name, "weights": backbone.weights, "commit": commit()},
    )


METHODS: dict[str, Callable[[Run, bool], Found]] = {
    name: self_supervised if name in SELF_SUPERVISED else supervised for name in names.METHODS
}
METHODS |= {"ZS": zero_shot, "LP": linear}
