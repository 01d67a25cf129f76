"""One trial: a network fitted to a folder of photographs in one way at one rate, and what it then tells of others."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from submasking.experiments.analyses import rivals
from submasking.experiments.photographs import why
from submasking.files import atomic
from submasking.learning import augment, versions
from submasking.learning.adapt import Adapted, adapt
from submasking.learning.backbone import Backbone
from submasking.learning.batches import as_float
from submasking.learning.evaluate import accuracy, features, label_subset
from submasking.learning.images import ImageSet
from submasking.learning.probe import linear_probe
from submasking.learning.probe_search import probe_head
from submasking.learning.stages import Split
from submasking.masking.criteria import TopK
from submasking.masking.decision import Decision, Select
from submasking.masking.scores import power
from submasking.masking.selection import resolve
from submasking.records import predictions
from submasking.records.names import SELF_SUPERVISED
from submasking.records.photographs import PROBE, RIVALS, WAYS
from submasking.records.profiles import Optimisation, profile
from submasking.tasks import codec, maskfile
from submasking.worlds import backbones, folder
from submasking.worlds import told as said

T = TypeVar("T")
CHOOSING = (
    80.0  # percent of the training images that train while rates are chosen; the others are what they are chosen on
)
HALF = 2  # bytes of a number in half precision
WARMUP, WEIGHT_DECAY = 0.25, 5e-4
PROTOTYPES_LR = 0.6  # of SwAV's projection and prototypes, as chosen in the embedded world
JUDGES = (10.0, 25.0, 50.0)  # percent of the labels by which the rate of a training without labels is chosen, as there
LONGER = 4.0  # few labels are passed over more often, at most so many times


@dataclass(frozen=True)
class Settings:
    """What a study is on and how long it takes.

    Attributes:
        data: folder that holds train/<class>/* and test/<class>/*, and val/ if there is one.
        model: architecture as `submasking.worlds.backbones.load` takes it in profile images.
        weights: file of its weights; "" where a package brings them.
        from_stage: the first module that learns in the ways that are called late.
        size: side of the images in pixels.
        images: training images at most, those for choosing rates included.
        test_images: test images at most.
        epochs: of each training.
        views: augmented versions of each training image, the same for every way.
        tries: rates that are tried for each way that trains, at least 1.
        seeds: trainings at the chosen rate.
        head_lr: peak learning rate of the head.
        batch_size: images per step.
        options: of the network and its images, see `submasking.worlds.told`; what is not said is as timm has it.
    """

    data: str
    model: str
    weights: str
    from_stage: str
    size: int
    images: int
    test_images: int
    epochs: int
    views: int
    tries: int
    seeds: int
    head_lr: float = 0.01
    batch_size: int = 64
    options: str = ""

    def __post_init__(self) -> None:
        for name in ("size", "images", "test_images", "epochs", "views", "tries", "seeds", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}; leave it out for the usual one"
                )
        if not 0 <= self.head_lr < math.inf:
            raise ValueError(f"head_lr must be a finite number, at least 0, got {self.head_lr}; leave it out")
        if not self.data:
            raise ValueError("data must be a folder that holds train/<class>/* and test/<class>/*, got none; pass one")
        if not self.from_stage:
            raise ValueError("from_stage must name a module, got none: without it late and all stages are the same")
        said.of(self.options)

    @property
    def told(self) -> dict[str, Any]:
        """The settings by name; options where there are some."""
        return {name: value for name, value in asdict(self).items() if name != "options" or value}


@dataclass(frozen=True)
class Trial:
    """Which way at which rate; on validation images while rates are chosen, at last on the test images.

    Attributes:
        way: name in `submasking.records.photographs.WAYS`.
        rate: learning rate, or decay of the probe.
        seed: of views, order, random scores and the labels that are shown.
        split: "validation" or "test".
        labels: percent of the training images whose labels are shown; the others are not used.
    """

    way: str
    rate: float
    seed: int
    split: str
    labels: float = 100.0

    @property
    def name(self) -> str:
        """What its file is called."""
        few = "" if self.labels == 100 else f"-labels{self.labels:g}"
        return f"{self.way.replace(' ', '-')}-{self.rate:g}-seed{self.seed}-{self.split}{few}"


class Place:
    """The photographs and the network of a study, read when they are needed, and what its trials share.

    Args:
        settings: of the study.

    Attributes:
        decays: by percent of the labels the decay of the probe whose head every training starts from.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.decays = settings, {100.0: WAYS[PROBE].rate}
        self._shared: dict[Any, Any] = {}
        self._apart: dict[int, tuple[ImageSet, ImageSet]] = {}
        self._views: dict[str, Tensor] = {}
        self._last: tuple[Any, ...] = ()

    @cached_property
    def backbone(self) -> Backbone:
        told = self.settings
        return backbones.load(told.model, "images", weights=told.weights, size=told.size, options=told.options)

    def require_stage(self) -> None:
        """Raise `ValueError`, with the names there are, unless the network can be split where the late stages begin."""
        Split(copy.deepcopy(self.backbone.trunk), self.settings.from_stage, self.settings.size)

    def images(self, split: str, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """What is trained on and what is judged: rates see no test image, the last training all others.

        Where the folder has no validation images, each seed sets others of the training images apart.
        """
        if split == "test":
            return self._given["test"]
        if "validation" in self._given:
            return self._given["validation"]
        if seed not in self._apart:
            train, _ = self._given["test"]
            apart = torch.ones(len(train), dtype=torch.bool)
            apart[label_subset(train.labels, CHOOSING, seed=42 + seed)] = False
            self._apart[seed] = train.subset(~apart), train.subset(apart)
        return self._apart[seed]

    @cached_property
    def _given(self) -> dict[str, tuple[ImageSet, ImageSet]]:
        """By split what the folder itself has; of "test" the training images are all but those of the test."""
        place, size = Path(self.settings.data), self.settings.size
        train = folder.load(place, "train", size, self.settings.images)
        test = folder.load(place, "test", size, self.settings.test_images)
        if not any((place / name).is_dir() for name in folder.FOLDERS["validation"]):
            return {"test": (train, test)}
        validation = folder.load(place, "validation", size, self.settings.test_images)
        both = ImageSet(
            torch.cat([train.images, validation.images]), torch.cat([train.labels, validation.labels]),
            train.classes, train.name,
        )  # fmt: skip
        return {"validation": (train, validation), "test": (both, test)}

    def training(self, trial: Trial) -> ImageSet:
        """The images that a trial may train on."""
        images = self.images(trial.split, trial.seed)[0]
        return images.subset(self._shown(trial, trial.labels))

    def probe(self, trial: Trial) -> tuple[Tensor, Tensor]:
        """Features of the augmented training images of a trial by the untouched network, and their labels."""

        def made() -> tuple[Tensor, Tensor]:
            views = versions.joined(self.training(trial), self.settings.views, augment.PHOTOS, seed=trial.seed)
            return self._features(views), views.labels

        return self._once("probe", trial, made)

    def judge(self, trial: Trial) -> float:
        """The smallest of `JUDGES` in which each class has a label; 100 where there is none."""
        labels = self.images(trial.split, trial.seed)[0].labels
        for share in JUDGES:
            enough = int(len(labels) * share / 100) >= len(labels.unique())
            if enough and len(labels[self._shown(trial, share)].unique()) == len(labels.unique()):
                return share
        return 100.0

    def probed(self, trunk: nn.Module, trial: Trial, share: float) -> Tensor:
        """Classes of the judged images by a probe on a changed network that saw a share of the labels."""
        images, count = self.images(trial.split, trial.seed)[0], self.settings.views
        key = f"changed {trial.way} {trial.rate:g}"

        def made() -> tuple[Tensor, Tensor]:
            views = versions.joined(images, count, augment.PHOTOS, seed=trial.seed)
            seen = features(trunk, views, self.backbone.normalise)
            return seen, self.given(trunk, trial, late=True)

        train, judged = self._once(key, trial, made)
        chosen = self._shown(trial, share)
        every = (torch.arange(count)[:, None] * len(images) + chosen).flatten()
        decay = self.decays.get(share, self.decays[100.0])
        return linear_probe(train[every], images.labels[chosen].repeat(count), judged, decay=decay)[0]

    def judged(self, trial: Trial) -> Tensor:
        """Features of the images that are judged, by the untouched network."""
        return self._once("judged", _every(trial), lambda: self._features(self.images(trial.split, trial.seed)[1]))

    def head(self, trial: Trial) -> nn.Linear:
        """The probe of a trial's images: a new head would need more epochs than these to come so far."""

        def made() -> nn.Linear:
            given, labels = self.probe(trial)
            classes = len(self.images("test")[0].classes)
            return probe_head(given, labels, classes, decay=self.decays[trial.labels])

        return self._once("head", trial, made)

    def given(self, trunk: nn.Module, trial: Trial, late: bool) -> Tensor:
        """Features of the images that are judged, by a changed network; what its frozen stages make is kept."""
        images = self.images(trial.split, trial.seed)[1]
        if not late:
            return features(trunk, images, self.backbone.normalise)
        parts = Split(trunk, self.settings.from_stage, self.settings.size)

        def early() -> Tensor:
            return torch.cat(
                [parts.early(self.backbone.normalise(as_float(part))) for part in images.images.split(256)]
            )

        stored = self._once("early", _every(trial), early)
        trunk.eval()
        with torch.inference_mode():
            return torch.cat([parts.late(part) for part in stored.split(256)])

    def trained(self, trial: Trial, progress: bool) -> Adapted:
        """The network of a trial."""
        told, way = self.settings, WAYS[trial.way]
        alone = way.method in SELF_SUPERVISED
        decay = WEIGHT_DECAY if way.method in ("FFT", "SSFT") else 0.0
        epochs = round(told.epochs * min(100 / trial.labels, LONGER))
        head_lr = PROTOTYPES_LR if alone else told.head_lr
        plan = Optimisation(
            trial.rate or 1.0, epochs, weight_decay=decay, warmup=WARMUP, head_lr=head_lr, norms=way.norms
        )
        backbone, method, select = self.backbone, way.method, self._dense if way.pointwise else ""
        if way.method in RIVALS:
            depthwise = {
                name for name, decision in resolve(self._dense, backbone.trunk).items() if decision.action != "mask"
            }
            method = "FFT"
            backbone, select = rivals.prepared(backbone, rivals.RIVALS[way.method], trial.seed, without=depthwise)
        return adapt(
            backbone,
            self.training(trial),
            method,
            plan,
            select=select,
            from_stage=told.from_stage if way.late else "",
            style=augment.PHOTO_VIEWS if alone else augment.PHOTOS,
            swav=replace(profile("tiny").swav, sizes=(told.size,)) if alone else None,
            versions=0 if alone else told.views,
            memory=self._views,
            batch_size=told.batch_size,
            init="kaiming" if way.power is None else power(way.power),
            criterion=None if way.density is None else TopK(way.density),
            rescale=way.rescale,
            head=None if alone else self.head(trial),
            seed=trial.seed,
            label=trial.name,
            progress=progress,
        )

    @property
    def _dense(self) -> Select:
        return pointwise(self.backbone.preset, self.backbone.trunk)

    @cached_property
    def late(self) -> int:
        """Weights of the late stages that masks decide on."""
        trunk = copy.deepcopy(self.backbone.trunk)
        frozen = Split(trunk, self.settings.from_stage, self.settings.size).frozen
        decisions = resolve(self.backbone.preset, trunk)
        return sum(
            parameter.numel()
            for name, parameter in trunk.named_parameters()
            if decisions[name].action == "mask" and name not in frozen
        )

    def _shown(self, trial: Trial, share: float) -> Tensor:
        """Indices of the training images whose labels are shown; all in their order where it is every one."""
        labels = self.images(trial.split, trial.seed)[0].labels
        return torch.arange(len(labels)) if share == 100 else label_subset(labels, share, seed=42 + trial.seed)

    def _features(self, images: ImageSet) -> Tensor:
        return features(self.backbone.trunk, images, self.backbone.normalise)

    def _once(self, what: str, trial: Trial, make: Callable[[], T]) -> T:
        """What trials of one seed, split and share of labels have in common."""
        key = (what, trial.split, trial.seed, trial.labels)
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def forget(self, trial: Trial) -> None:
        """Free the memory of what later trials have no use for: other splits, and on test images other seeds."""
        several = trial.split == "validation"  # rates are tried with one seed and another by turns
        self._shared = {
            key: value
            for key, value in self._shared.items()
            if key[1] == trial.split and (several or key[2] in (trial.seed, 0))
        }
        now = (trial.split, 0 if several else trial.seed, trial.labels)
        if self._last != now:
            self._views.clear()
        self._last = now


def _every(trial: Trial) -> Trial:
    """A name for what all trials share that are judged on the same images."""
    return Trial(PROBE, 0.0, trial.seed if trial.split == "validation" else 0, trial.split)


def pointwise(preset: str, trunk: nn.Module) -> Select:
    """A preset's selection without the depth-wise convolutions, whose kernels see one channel."""
    decisions = resolve(preset, trunk)

    def select(name: str, parameter: nn.Parameter) -> Decision:
        return decisions[name]._replace(action="freeze") if parameter.shape[1:2] == (1,) else decisions[name]

    return select


def run(place: Place, trial: Trial, *, progress: bool = False, file: Path | None = None) -> dict[str, Any]:
    """Train and judge.

    Args:
        place: photographs and network.
        trial: what is done.
        progress: show a bar.
        file: where the bits of the mask go, of fine-tuning those of the signs that it keeps; None keeps none.

    Returns:
        "accuracy" in [0, 1], "predictions" and "labels" packed, "test" hash of the images; of a training "loss" of
        each epoch, "seconds" and "why" (see `submasking.experiments.photographs.why`), and of masks "sparsity",
        "masked" weights, "bytes" of the coded mask and, on test images, "whole" of the task's file with norm statistics
        and head. Of a rival "bytes" are what it learnt, in half precision, and "masked" what a mask would decide on.
        Without labels it is a probe that judges; "probes" are pairs of a share of the labels and the predictions of one
        that saw them.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    place.forget(trial)
    judged = place.images(trial.split, trial.seed)[1]
    found: dict[str, Any] = {}
    if trial.way == PROBE:
        given, done = linear_probe(*place.probe(trial), place.judged(trial), decay=trial.rate)
        found["converged"] = done
    else:
        adapted = place.trained(trial, progress)
        if adapted.head is None:
            given = place.probed(adapted.trunk, trial, place.judge(trial) if trial.split == "validation" else 100.0)
            if trial.split == "test":
                shares = [share for share in place.decays if share < 100]
                probes = {share: place.probed(adapted.trunk, trial, share).tolist() for share in shares}
                found["probes"] = [[share, predictions.pack(classes)] for share, classes in probes.items()]
        else:
            with torch.inference_mode():
                given = adapted.head(place.given(adapted.trunk, trial, WAYS[trial.way].late)).argmax(1)
        found |= {"loss": adapted.history.loss, "seconds": adapted.history.seconds}
        found["why"] = why.told(place.backbone.trunk, adapted)
        if WAYS[trial.way].method in RIVALS:
            learnt = sum(weights.numel() for weights in adapted.trunk.parameters() if weights.requires_grad)
            found |= {"bytes": HALF * learnt, "masked": place.late}
        elif kept := why.kept(place.backbone.trunk, adapted):
            coded = codec.encode(kept, why.weights(place.backbone.trunk, kept))
            if file is not None:
                atomic.write(file, coded)
            if adapted.masking is not None:
                found |= {"sparsity": adapted.masking.sparsity(), "bytes": len(coded)}
                found["masked"] = sum(mask.numel() for mask in kept.values())
        if adapted.masking is not None and trial.split == "test":
            found["whole"] = _whole(place, adapted)
    return found | {
        "accuracy": accuracy(given, judged.labels),
        "predictions": predictions.pack(given.tolist()),
        "labels": predictions.pack(judged.labels.tolist()),
        "test": judged.fingerprint(),
    }


def _whole(place: Place, adapted: Adapted) -> int:
    """Bytes of a task's file: masks, norm statistics, head."""
    assert adapted.masking is not None
    classes = place.images("test")[0].classes
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "task.safetensors"
        expected = place.backbone.preprocessing
        maskfile.save(file, adapted.masking, head=adapted.head, classes=classes, preprocessing=expected)
        return file.stat().st_size
