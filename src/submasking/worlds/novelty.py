"""What is new in a test set: how many of its drawings training has shown, and what pixels alone tell."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from submasking.learning.evaluate import accuracy
from submasking.learning.images import ImageSet
from submasking.worlds import digits, glyphs, ink, patches, sets


def repeated(name: str, split: str = "test") -> float:
    """Share of a split's drawings that a training drawing of the same class equals, in [0, 1].

    Characters are compared as drawn, cut to their ink, wherever on the canvas it lies; digits likewise; pieces of
    pictures by whether their regions share a pixel.

    Raises:
        ValueError: for an unknown set or split.
    """
    chosen = sets.check(name, split)
    if isinstance(chosen, sets.Characters):
        text = glyphs.characters(chosen)
        shown, tested = (glyphs.drawings(text, getattr(chosen.faces, part)) for part in ("train", split))
        pairs = [(tested[:, number], shown[:, number]) for number in range(len(text))]
    elif isinstance(chosen, sets.Digits):
        (taught, known), (asked, labels) = (digits.written(chosen, part, 10) for part in ("train", split))
        pairs = [(asked[labels == k].numpy(), taught[known == k].numpy()) for k in range(10)]
    else:
        return _shared(chosen, split)
    same = [any(ink.alike(one, other) for other in shown) for tested, shown in pairs for one in tested]
    return float(np.mean(same))


def nearest_pixels(train: ImageSet, test: ImageSet) -> float:
    """Accuracy of the nearest training image by the correlation of grey pixels: a floor that needs no network."""
    similarity = _grey(test) @ _grey(train).T
    return accuracy(train.labels[similarity.argmax(1)], test.labels)


def _shared(chosen: sets.Patches, split: str) -> float:
    """Share of a split's tiles that share a pixel with a region that training images are drawn from."""
    shared = []
    for _, file in chosen.pictures:
        trained = np.zeros(patches.picture(file).shape[1:], dtype=bool)
        for box in patches.tiles(chosen, file, "train"):
            trained[box.top : box.top + box.side, box.left : box.left + box.side] = True
        for box in patches.tiles(chosen, file, split):
            shared.append(bool(trained[box.top : box.top + box.side, box.left : box.left + box.side].any()))
    return float(np.mean(shared))


def _grey(images: ImageSet) -> Float[Tensor, "n pixels"]:
    pixels = images.images.float().mean(1).flatten(1)
    return torch.nn.functional.normalize(pixels - pixels.mean(1, keepdim=True), dim=1)
