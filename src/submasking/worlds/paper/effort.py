"""How long the paper takes on this machine: one real step, and the steps of all its runs.

A step's time does not depend on what the pictures show, nor on the number of classes. So one measured step of a model
stands for its steps on every data set; a step of SwAV counts as many as its crops have pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from submasking.learning import augment
from submasking.learning.adapt import adapt
from submasking.learning.backbone import Backbone
from submasking.learning.images import ImageSet
from submasking.records.profiles import PAPER, PUBLISHED, Optimisation
from submasking.worlds.paper.data.catalogue import SETS
from submasking.worlds.paper.weights import NETWORKS, SIZE

BATCH = PAPER.batch_size
FEW, FEW_MODEL = PAPER.label_percents[0], "rn50-swav"  # of its figures: percent of the labels
UPDATED = 3.0  # a training step costs about three forward passes


@dataclass(frozen=True)
class Step:
    """One step of training, measured.

    Attributes:
        model, dataset: of whose weights and pictures; a data set "" stands for random weights and pictures.
        seconds: of one step.
        memory: bytes of the device's memory at most, 0 on a CPU.
    """

    model: str
    dataset: str
    seconds: float
    memory: int


def measured(backbone: Backbone, images: ImageSet, dataset: str, device: str, *, steps: int = 1) -> Step:
    """Train a mask for some steps on one batch, in the project's only training loop, and take the mean time.

    Args:
        backbone: one of the paper's, which stays as it is.
        images: one batch.
        dataset: its name.
        device: where.
        steps: how many; where there are more than one, as many are done before, uncounted: a GPU is slow at first.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    name = "FS vitb32-clip" if backbone.head == "text" else "FS"
    plan = Optimisation(PUBLISHED[name].lr, epochs=steps)
    seconds = [
        adapt(
            backbone, images, "FS", plan, style=augment.PHOTOS, batch_size=len(images), device=device, progress=False
        ).history.seconds
        for _ in range(2 if steps > 1 else 1)
    ]  # fmt: skip
    memory = torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else 0
    return Step(backbone.name, dataset, seconds[-1] / steps, memory)


def stand_in(count: int, size: int = SIZE) -> ImageSet:
    """Random pictures of two classes, where none of the paper's are here."""
    pixels = torch.randint(
        0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return ImageSet(pixels, torch.arange(count) % 2, ("one", "two"), "random pictures")


def hours(seconds: dict[str, float], batch: int = BATCH) -> dict[str, float]:
    """Hours of the paper's runs, once each, by what they are for.

    Args:
        seconds: of one step of FS, by model; all that are counted must be there.
        batch: images in that step.

    Returns:
        "tables": FS and FFT of three models on eight sets. "figures": few labels and none, on three sets.
        "features": one pass over all images of each model and set, which LP and kNN take.

    Raises:
        ValueError: a model without a step.
    """
    if missing := [model for model in NETWORKS if model not in seconds]:
        raise ValueError(f"seconds must have a step of every model, {missing[0]} is missing; measure it")
    tables = sum(
        PAPER.method(method, model).epochs * _steps(SETS[name].images("train"), batch) * seconds[model]
        for model in PAPER.full_models for name in SETS for method in ("FS", "FFT")
    )  # fmt: skip
    figures = 0.0
    pairs = {"labels": ("FS", "FFT"), "none": ("SSM", "SSFT")}
    epochs = {kind: sum(PAPER.method(each, FEW_MODEL).epochs for each in pair) for kind, pair in pairs.items()}
    for name in PAPER.sparse_datasets:
        images = SETS[name].images("train")
        few = _steps(int(images * FEW / 100), batch) * epochs["labels"]
        crops = sum(n * side**2 for n, side in zip(PAPER.swav.crops, PAPER.swav.sizes, strict=True)) / SIZE**2
        none = _steps(images, batch) * crops * epochs["none"]
        figures += (few + none) * seconds[FEW_MODEL]
    features = sum(
        _steps(SETS[name].images("train") + SETS[name].images("test"), batch) * seconds[model] / UPDATED
        for model in NETWORKS for name in SETS
    )  # fmt: skip
    return {kind: value / 3600 for kind, value in (("tables", tables), ("figures", figures), ("features", features))}


def _steps(images: int, batch: int) -> int:
    return math.ceil(images / batch)
