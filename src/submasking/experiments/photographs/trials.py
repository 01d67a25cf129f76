"""One trial: a network fitted to a folder of photographs in one way at one rate, and what it then tells of others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from submasking.learning import augment, versions
from submasking.learning.adapt import adapt
from submasking.learning.evaluate import accuracy, features, label_subset
from submasking.learning.images import ImageSet
from submasking.learning.probe import linear_probe
from submasking.learning.probe_search import probe_head
from submasking.records import predictions
from submasking.records.profiles import Optimisation
from submasking.tasks import codec
from submasking.worlds import backbones, folder

PROBE = "LP"
CHOOSING = (
    80.0  # percent of the training images that train while rates are chosen; the others are what they are chosen on
)
WARMUP, WEIGHT_DECAY = 0.25, 5e-4


class Way(NamedTuple):
    """A way to fit a network: the method, the start of its scores, what learns, and the rate that is tried first."""

    method: str
    start: str
    late: bool
    rate: float


WAYS = {
    PROBE: Way(PROBE, "", False, 100.0),  # its rate is the decay of the probe
    "FFT late": Way("FFT", "", True, 0.1),
    "FS late": Way("FS", "constant", True, 30.0),
    "FS-squared late": Way("FS", "squared", True, 0.3),
    "FFT all": Way("FFT", "", False, 0.03),
    "FS all": Way("FS", "constant", False, 3.0),
    "FS-squared all": Way("FS", "squared", False, 0.1),
}


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

    def __post_init__(self) -> None:
        for name in ("size", "images", "test_images", "epochs", "views", "tries", "seeds", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}; leave it out for the usual one"
                )
        if not self.data:
            raise ValueError("data must be a folder that holds train/<class>/* and test/<class>/*, got none; pass one")
        if not self.from_stage:
            raise ValueError("from_stage must name a module, got none: without it late and all stages are the same")


@dataclass(frozen=True)
class Trial:
    """Which way at which rate; on validation images while rates are chosen, at last on the test images."""

    way: str
    rate: float
    seed: int
    split: str

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"{self.way.replace(' ', '-')}-{self.rate:g}-seed{self.seed}-{self.split}"


class Place:
    """The photographs and the network of a study, read when they are needed.

    Args:
        settings: of the study.

    Attributes:
        decay: of the probe whose head every training starts from.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.decay = settings, WAYS[PROBE].rate
        self._heads: dict[tuple[str, int, float], nn.Linear] = {}

    @cached_property
    def backbone(self) -> Any:
        told = self.settings
        return backbones.load(told.model, "images", weights=told.weights, size=told.size)

    @cached_property
    def images(self) -> dict[str, tuple[ImageSet, ImageSet]]:
        """By split what is trained on and what is judged: rates see no test image, the last training all others."""
        place, size = Path(self.settings.data), self.settings.size
        train = folder.load(place, "train", size, self.settings.images)
        test = folder.load(place, "test", size, self.settings.test_images)
        if any((place / name).is_dir() for name in folder.FOLDERS["validation"]):
            validation = folder.load(place, "validation", size, self.settings.test_images)
            both = ImageSet(
                torch.cat([train.images, validation.images]), torch.cat([train.labels, validation.labels]),
                train.classes, train.name,
            )  # fmt: skip
            return {"validation": (train, validation), "test": (both, test)}
        apart = torch.ones(len(train), dtype=torch.bool)
        apart[label_subset(train.labels, CHOOSING)] = False
        return {"validation": (train.subset(~apart), train.subset(apart)), "test": (train, test)}

    def views(self, split: str, seed: int) -> ImageSet:
        """The augmented training images of a split, as every way sees them."""
        return versions.joined(self.images[split][0], self.settings.views, augment.PHOTOS, seed=seed)

    def head(self, split: str, seed: int) -> nn.Linear:
        """The probe on the views of a split: a new head would need more epochs than these to come so far."""
        if (key := (split, seed, self.decay)) not in self._heads:
            views = self.views(split, seed)
            classes = len(views.classes)
            self._heads[key] = probe_head(self.features(views), views.labels, classes, decay=self.decay)
        return self._heads[key]

    def features(self, images: ImageSet) -> torch.Tensor:
        """Of the untouched network."""
        return features(self.backbone.trunk, images, self.backbone.normalise)


def run(place: Place, trial: Trial, *, progress: bool = False) -> dict[str, Any]:
    """Train and judge.

    Returns:
        "accuracy" in [0, 1], "predictions" and "labels" packed, "test" hash of the images; and of a training "loss" of
        each epoch, "seconds", and of masks "sparsity" and "bytes" of the coded mask.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    judged = place.images[trial.split][1]
    found: dict[str, Any] = {}
    if trial.way == PROBE:
        views = place.views(trial.split, trial.seed)
        given, done = linear_probe(place.features(views), views.labels, place.features(judged), decay=trial.rate)
        found["converged"] = done
    else:
        given = _trained(place, trial, judged, found, progress)
    return found | {
        "accuracy": accuracy(given, judged.labels),
        "predictions": predictions.pack(given.tolist()),
        "labels": predictions.pack(judged.labels.tolist()),
        "test": judged.fingerprint(),
    }


def _trained(place: Place, trial: Trial, judged: ImageSet, found: dict[str, Any], progress: bool) -> torch.Tensor:
    told, way = place.settings, WAYS[trial.way]
    decay = WEIGHT_DECAY if way.method == "FFT" else 0.0
    plan = Optimisation(trial.rate, told.epochs, weight_decay=decay, warmup=WARMUP, head_lr=told.head_lr)
    adapted = adapt(
        place.backbone,
        place.images[trial.split][0],
        way.method,
        plan,
        from_stage=told.from_stage if way.late else "",
        versions=told.views,
        batch_size=told.batch_size,
        init=way.start,
        head=place.head(trial.split, trial.seed),
        seed=trial.seed,
        label=trial.name,
        progress=progress,
    )
    assert adapted.head is not None  # a method with labels has one
    with torch.inference_mode():
        given = adapted.head(features(adapted.trunk, judged, place.backbone.normalise)).argmax(1)
    found |= {"loss": adapted.history.loss, "seconds": adapted.history.seconds}
    if adapted.masking is not None:
        found["sparsity"] = adapted.masking.sparsity()
        found["bytes"] = len(codec.encode(adapted.masking.masks(), adapted.masking.frozen()))
    return given
