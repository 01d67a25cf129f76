"""Images of real handwritten digits: UCI's 1,797, of 8 x 8 points in 16 greys, written in coloured ink."""

from __future__ import annotations

import unicodedata

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from submasking.learning.images import ImageSet
from submasking.worlds import ink, sets

WRITTEN = 48  # side of a digit on the canvas in pixels


def render(chosen: sets.Digits, split: str, count: int, size: int, limit: int | None = None, seed: int = 0) -> ImageSet:
    """Images of at most `count` digits; arguments as of `submasking.worlds.glyphs.render`.

    A draw of training images takes a part of the training digits, so that two draws differ in more than their colours.
    """
    random = np.random.default_rng(sets.number(chosen.name, split, seed))
    drawings, labels = written(chosen, split, limit or 10)
    share = chosen.drawn if split == "train" else 1.0
    taken = torch.from_numpy(random.permutation(len(labels))[: min(count, round(share * len(labels)))])
    images = ink.on_paper(drawings[taken], size, random)
    names = tuple(unicodedata.name(digit) for digit in "0123456789"[:limit])
    return ImageSet(images, labels[taken], names, f"{chosen.name} {split}")


def written(chosen: sets.Digits, split: str, classes: int) -> tuple[Tensor, Tensor]:
    """Drawings uint8 [n, canvas, canvas] and labels of a split; which digit is in which split never changes."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(sets.number(chosen.name, "split")).permutation(len(labels))
    first, last = (round(share * len(order)) for share in chosen.shares[sets.SPLITS.index(split)])
    order = order[first:last]
    order = order[labels[order] < classes]
    small = torch.from_numpy(pixels[order].reshape(-1, 1, 8, 8) * (255 / 16)).float()
    inner = functional.interpolate(small, size=WRITTEN, mode="bicubic", align_corners=False).clamp(0, 255)
    drawings = functional.pad(inner, [(ink.CANVAS - WRITTEN) // 2] * 4)[:, 0]
    return drawings.round().byte(), torch.from_numpy(labels[order].astype(np.int64))
