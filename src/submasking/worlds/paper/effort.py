"""How long a real step of training takes on this machine; `submasking.experiments.cost` counts the rest from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from submasking.learning import augment
from submasking.learning.adapt import adapt
from submasking.learning.backbone import Backbone
from submasking.learning.images import ImageSet
from submasking.records.profiles import PAPER, PUBLISHED, Optimisation
from submasking.worlds.paper.weights import SIZE

BATCH = PAPER.batch_size


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
