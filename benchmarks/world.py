"""The sets of images of profile tiny: a sheet of each, and what of its test is new."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from submasking.files import atomic
from submasking.learning.images import ImageSet
from submasking.records import places, profiles
from submasking.records.names import DATASET_STAND_INS
from submasking.worlds import datasets, novelty

SHEETS = places.REPOSITORY / "book" / "images" / "world"
COLUMNS, ROWS = 12, 2  # of a sheet: classes, and images of each in training and test
DRAWS = 5  # of training images that the floor is averaged over
GAP = 4  # pixels of white between training and test


def sheet(train: ImageSet, test: ImageSet) -> Tensor:
    """Classes side by side, uint8 [3, height, width]: above images of training, below images of the test."""
    count = len(train.classes)
    shown = [number * count // COLUMNS for number in range(min(COLUMNS, count))] if count > COLUMNS else range(count)
    parts = []
    for images in (train, test):
        columns = [torch.cat(list(images.images[images.labels == label][:ROWS]), 1) for label in shown]
        parts.append(torch.cat(columns, 2))
    gap = torch.full((3, GAP, parts[0].shape[2]), 255, dtype=torch.uint8)
    return torch.cat([parts[0], gap, parts[1]], 1)


def drawn(name: str, split: str, seed: int = 0) -> ImageSet:
    """Images of a set as profile tiny has them."""
    plan = profiles.TINY
    count = plan.train_images if split == "train" else plan.test_images
    assert count is not None
    return datasets.render(name, split, count, plan.image_size, seed=seed)


def measure(folder: Path = SHEETS) -> list[dict[str, Any]]:
    """One row for each data set; its sheet is written to `folder`."""
    rows = []
    for dataset, (name, _) in DATASET_STAND_INS.items():
        test, draws = drawn(name, "test"), [drawn(name, "train", seed) for seed in range(DRAWS)]
        with atomic.replacing(folder / f"{dataset}.png") as part:
            Image.fromarray(sheet(draws[0], test).permute(1, 2, 0).numpy()).save(part, format="png", optimize=True)
        row = {
            "way": f"{dataset} ({name})",
            "classes": len(test.classes),
            "train": len(draws[0]),
            "test": len(test),
            "chance": 1 / len(test.classes),
            "repeated": novelty.repeated(name),
            "floor": fmean(novelty.nearest_pixels(train, test) for train in draws),
        }
        rows.append(row)
    return rows
