"""The methods compared by the paper: what each trains, and what it measures.

ZS the untouched backbone; LP a linear probe on it; FS submasking and FFT full fine-tuning, with labels;
SSM and SSFT the same with the self-supervised loss (SwAV), judged by probes on the adapted features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from submasking import backbones, data, maskfile
from submasking.adaptation import adapt, augmented, head_for, sgd, swav_loss, views
from submasking.backbones import Backbone
from submasking.codec.sizes import report, weights_report
from submasking.data import ImageSet
from submasking.evaluate import features, knn, label_subset, linear_probe, top1
from submasking.masks import Masking
from submasking.profiles import Optimisation, profile
from submasking.results import commit
from submasking.swav import forward_crops
from submasking.train import Batches, History, cosine, fit

if TYPE_CHECKING:
    from submasking.runs import Run

SELF_SUPERVISED = ("SSM", "SSFT")
Found = dict[str, Any]


@lru_cache(maxsize=1)
def _backbone(model: str, profile_name: str, weights: str) -> Backbone:
    return backbones.load(model, profile_name, weights=weights)


@lru_cache(maxsize=4)
def _images(profile_name: str, dataset: str, split: str) -> ImageSet:
    return data.load(profile_name, dataset, split)


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
        "stand_in": {"model": backbone.stand_in, "dataset": data.stand_in(task.profile, task.dataset)},
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
    plan = chosen.method(task.method, task.model)
    if chosen.same_steps:
        plan = replace(plan, epochs=round(plan.epochs * 100 / task.labels))
    backbone = _backbone(task.model, task.profile, task.weights)
    train, test = (_images(task.profile, task.dataset, split) for split in ("train", "test"))
    labelled = train.subset(_labelled(task, train))
    trunk = copy.deepcopy(backbone.trunk)
    masking, optimizers = adapt(trunk, backbone, plan, masked=task.method == "FS")
    head = head_for(backbone, train.classes, task.seed)
    if any(parameter.requires_grad for parameter in head.parameters()):
        optimizers.append(sgd(head, plan.head_lr, plan.head_weight_decay))
    loader = Batches(labelled, chosen.batch_size, augmented(backbone, task.profile), seed=task.seed)

    def step_loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        return nn.functional.cross_entropy(head(trunk(images)), labels)

    trunk.train()
    state = {"trunk": trunk, "head": head, "loader": loader}
    history = _fit(task, step_loss, loader, optimizers, plan, state, progress)
    bank = features(trunk, labelled, backbone.normalise)
    queries = features(trunk, test, backbone.normalise)
    with torch.inference_mode():
        accuracy = top1(head(queries), test.labels)
    neighbours = knn(bank, labelled.labels, queries, test.labels, k=chosen.neighbours)
    metrics = {"top1": accuracy, "knn": neighbours}
    return _finish(task, backbone, trunk, head, masking, history, metrics)


def self_supervised(task: Run, progress: bool) -> Found:
    """SSM and SSFT: learn masks, or the same weights, from all training images without their labels."""
    chosen = profile(task.profile)
    plan, swav = chosen.method(task.method, task.model), chosen.swav
    backbone = _backbone(task.model, task.profile, task.weights)
    train, test = (_images(task.profile, task.dataset, split) for split in ("train", "test"))
    trunk = copy.deepcopy(backbone.trunk)
    masking, optimizers = adapt(trunk, backbone, plan, masked=task.method == "SSM")
    loader = Batches(train, chosen.batch_size, views(backbone, swav, task.profile), seed=task.seed)
    loss = swav_loss(backbone.width, swav, seed=task.seed, steps=plan.epochs * len(loader))
    optimizers.append(sgd(loss, plan.head_lr, plan.head_weight_decay))

    def step_loss(batch: tuple[list[Tensor], Tensor]) -> Tensor:
        crops, _ = batch
        return loss(forward_crops(trunk, crops))

    trunk.train()
    state = {"trunk": trunk, "loss": loss, "loader": loader}
    history = _fit(task, step_loss, loader, optimizers, plan, state, progress)
    bank = features(trunk, train, backbone.normalise)
    queries = features(trunk, test, backbone.normalise)
    metrics = {"knn": knn(bank, train.labels, queries, test.labels, k=chosen.neighbours)}
    for percent in chosen.label_percents:
        few = label_subset(len(train), percent, seed=42 + task.seed)
        metrics[f"lp@{percent:g}"], _ = linear_probe(bank[few], train.labels[few], queries, test.labels)
    return _finish(task, backbone, trunk, None, masking, history, metrics)


def _fit(
    task: Run, step_loss: Callable[[Any], Tensor], loader: Batches, optimizers: list[Any], plan: Optimisation,
    state: dict[str, Any], progress: bool,
) -> History:  # fmt: skip
    return fit(
        step_loss,
        loader,
        optimizers,
        epochs=plan.epochs,
        schedule=cosine(plan.warmup),
        state=state,
        checkpoint=task.record_file.with_suffix(".checkpoint"),
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


def _finish(
    task: Run, backbone: Backbone, trunk: nn.Module, head: nn.Module | None, masking: Masking | None,
    history: History, metrics: dict[str, float],
) -> Found:  # fmt: skip
    """The fields of a trained run, with the sizes of what a task must store: the mask or the trained weights."""
    found = _describe(task, backbone, masking) | {"metrics": metrics}
    found["timings"] = {"train_s": history.seconds}
    found["series"] = {"loss": history.loss}
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
        preprocessing={"size": profile(task.profile).image_size, "mean": backbone.mean, "std": backbone.std},
        score=metrics,
        architecture=backbone.architecture,
        weights=backbone.weights,
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
