"""The methods compared by the paper: what each trains, and what it measures.

ZS the untouched backbone; LP a linear probe on it; FS submasking and FFT full fine-tuning, with labels;
SSM and SSFT the same with the self-supervised loss (SwAV), judged by probes on the adapted features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from submasking.experiments.run import Run
from submasking.experiments.sizes import report, weights_report
from submasking.learning import augment
from submasking.learning.adapt import Adapted, adapt
from submasking.learning.backbone import Backbone
from submasking.learning.evaluate import features, knn, label_subset, top1
from submasking.learning.images import ImageSet
from submasking.learning.probe import linear_probe
from submasking.masking.handle import Masking
from submasking.records.profiles import profile
from submasking.records.surroundings import commit
from submasking.tasks import maskfile
from submasking.worlds import backbones, datasets

Found = dict[str, Any]
# by "are these photographs" and "are there labels": photographs may be flipped, characters may not
STYLES = {
    (True, True): augment.PHOTOS,
    (True, False): augment.PHOTO_VIEWS,
    (False, True): augment.GLYPHS,
    (False, False): augment.GLYPH_VIEWS,
}


@lru_cache(maxsize=1)
def _backbone(model: str, profile_name: str, weights: str) -> Backbone:
    return backbones.load(model, profile_name, weights=weights)


@lru_cache(maxsize=4)
def _images(profile_name: str, dataset: str, split: str) -> ImageSet:
    return datasets.load(profile_name, dataset, split)


@lru_cache(maxsize=2)
def _frozen_features(model: str, profile_name: str, weights: str, dataset: str) -> tuple[Tensor, Tensor]:
    """Features of training and test images by the untouched backbone."""
    backbone = _backbone(model, profile_name, weights)
    sets = (_images(profile_name, dataset, split) for split in ("train", "test"))
    train, test = (features(backbone.trunk, images, backbone.normalise) for images in sets)
    return train, test


def _labelled(task: Run, train: ImageSet) -> Tensor:
    """Indices of the images whose labels the run may see; the paper's seed 42 belongs to seed 0."""
    return label_subset(len(train), task.labels, seed=42 + task.seed)


def _describe(task: Run, backbone: Backbone, masking: Masking | None = None) -> Found:
    """The fields of the record that say what the run was on."""
    train, test = (_images(task.profile, task.dataset, split) for split in ("train", "test"))
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


def zero_shot(task: Run, progress: bool) -> Found:
    """ZS: nearest neighbours on the features of the untouched backbone."""
    backbone = _backbone(task.model, task.profile, task.weights)
    train, test = (_images(task.profile, task.dataset, split) for split in ("train", "test"))
    bank, queries = _frozen_features(task.model, task.profile, task.weights, task.dataset)
    chosen = _labelled(task, train)
    k = profile(task.profile).neighbours
    accuracy = knn(bank[chosen], train.labels[chosen], queries, test.labels, k=k)
    return _describe(task, backbone) | {"metrics": {"knn": accuracy}}


def linear(task: Run, progress: bool) -> Found:
    """LP: logistic regression on the features of the untouched backbone."""
    backbone = _backbone(task.model, task.profile, task.weights)
    train, test = (_images(task.profile, task.dataset, split) for split in ("train", "test"))
    bank, queries = _frozen_features(task.model, task.profile, task.weights, task.dataset)
    chosen = _labelled(task, train)
    accuracy, converged = linear_probe(bank[chosen], train.labels[chosen], queries, test.labels)
    return _describe(task, backbone) | {"metrics": {"top1": accuracy, "converged": float(converged)}}


def supervised(task: Run, progress: bool) -> Found:
    """FS and FFT: learn masks, or the same weights, with a head on the labelled images."""
    chosen = profile(task.profile)
    backbone = _backbone(task.model, task.profile, task.weights)
    train, test = (_images(task.profile, task.dataset, split) for split in ("train", "test"))
    labelled = train.subset(_labelled(task, train))
    adapted = _adapted(task, backbone, labelled, progress)
    bank = features(adapted.trunk, labelled, backbone.normalise)
    queries = features(adapted.trunk, test, backbone.normalise)
    assert adapted.head is not None  # a method with labels has one
    with torch.inference_mode():
        accuracy = top1(adapted.head(queries), test.labels)
    neighbours = knn(bank, labelled.labels, queries, test.labels, k=chosen.neighbours)
    return _finish(task, backbone, adapted, {"top1": accuracy, "knn": neighbours})


def self_supervised(task: Run, progress: bool) -> Found:
    """SSM and SSFT: learn masks, or the same weights, from all training images without their labels."""
    chosen = profile(task.profile)
    backbone = _backbone(task.model, task.profile, task.weights)
    train, test = (_images(task.profile, task.dataset, split) for split in ("train", "test"))
    adapted = _adapted(task, backbone, train, progress)
    bank = features(adapted.trunk, train, backbone.normalise)
    queries = features(adapted.trunk, test, backbone.normalise)
    metrics = {"knn": knn(bank, train.labels, queries, test.labels, k=chosen.neighbours)}
    for percent in chosen.label_percents:
        few = label_subset(len(train), percent, seed=42 + task.seed)
        metrics[f"lp@{percent:g}"], _ = linear_probe(bank[few], train.labels[few], queries, test.labels)
    return _finish(task, backbone, adapted, metrics)


def _adapted(task: Run, backbone: Backbone, images: ImageSet, progress: bool) -> Adapted:
    """Adapt as the run's profile says; an interrupted run goes on from its checkpoint."""
    chosen = profile(task.profile)
    plan = chosen.method(task.method, task.model)
    if chosen.same_steps and task.labels:
        plan = replace(plan, epochs=round(plan.epochs * 100 / task.labels))
    return adapt(
        backbone,
        images,
        task.method,
        plan,
        style=STYLES[task.profile == "images", task.labels > 0],
        swav=chosen.swav,
        batch_size=chosen.batch_size,
        seed=task.seed,
        checkpoint=task.checkpoint_file,
        label=str(task),
        progress=progress,
    )


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _norm_buffers(trunk: nn.Module) -> Iterator[Tensor]:
    """Running statistics of the norms: they follow the task, so they are stored with it."""
    for name, buffer in trunk.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            yield buffer


def _finish(task: Run, backbone: Backbone, adapted: Adapted, metrics: dict[str, float]) -> Found:
    """The fields of a trained run, with the sizes of what a task must store: the mask or the trained weights."""
    trunk, head, masking = adapted.trunk, adapted.head, adapted.masking
    found = _describe(task, backbone, masking) | {"metrics": metrics}
    found["timings"] = {"train_s": adapted.history.seconds}
    found["series"] = {"loss": adapted.history.loss}
    found["sizes"] = {
        "buffers_bytes": float(_bytes(buffer for buffer in _norm_buffers(trunk))),
        "head_bytes": float(_bytes(head.parameters())) if head is not None else 0.0,
    }
    if masking is not None:
        metrics["sparsity"] = masking.sparsity()
        found["layers"] = masking.sparsities()
        found["sizes"] |= report(masking.masks(), masking.frozen())
        found["sizes"]["file_bytes"] = float(_save_mask(task, backbone, masking, head, metrics))
    else:
        trained = {name: weights for name, weights in trunk.named_parameters() if weights.requires_grad}
        found["sizes"] |= weights_report(trained, dict(backbone.trunk.named_parameters()))
    return found


def _save_mask(
    task: Run, backbone: Backbone, masking: Masking, head: nn.Module | None, metrics: dict[str, float]
) -> int:
    """Store the task as one file beside the records; returns its size in bytes."""
    saved = maskfile.save(
        task.mask_file,
        masking,
        head=head,
        classes=_images(task.profile, task.dataset, "train").classes,
        preprocessing=backbone.preprocessing,
        score=metrics,
        architecture=backbone.architecture,
        weights=backbone.weights,
        options=backbone.options,
        provenance=asdict(task) | {"dataset": task.dataset_name, "weights": backbone.weights, "commit": commit()},
    )
    return saved.size


METHODS: dict[str, Callable[[Run, bool], Found]] = {
    "ZS": zero_shot,
    "LP": linear,
    "FS": supervised,
    "FFT": supervised,
    "SSM": self_supervised,
    "SSFT": self_supervised,
}
