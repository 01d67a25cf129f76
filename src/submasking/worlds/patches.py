"""Images that are pieces of the real pictures which scikit-image and scikit-learn ship.

A picture is cut into tiles, the tiles lie in 4 x 4 blocks, and each block belongs to one split. Test and validation
images are tiles, so that no two of them share a pixel; training images are drawn at random places inside their blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from submasking.learning.images import ImageSet
from submasking.worlds import sets
from submasking.worlds.ink import uniforms

BLOCKS = 4  # along each side of a picture
BLOCKS_OF = {"train": 9, "validation": 3, "test": 4}  # of the 16 blocks
HOMES = ("skimage/data", "sklearn/datasets/images")
FLAT = 4.0  # grey levels: a piece whose spread is smaller is not stretched further


class Box(NamedTuple):
    """A square piece of a picture: its corner and side in pixels."""

    top: int
    left: int
    side: int


def render(
    chosen: sets.Patches, split: str, count: int, size: int, limit: int | None = None, seed: int = 0
) -> ImageSet:
    """Cut `count` pieces, classes in equal shares as far as their tiles go; arguments as of `glyphs.render`."""
    random = np.random.default_rng(sets.number(chosen.name, split, seed))
    pictures = chosen.pictures[:limit]
    pieces, labels = [], []
    for label, (_, file) in enumerate(pictures):
        wanted = count // len(pictures) + (label < count % len(pictures))
        boxes = list(_drawn(chosen, file, wanted, random) if split == "train" else tiles(chosen, file, split))
        if split != "train":
            boxes = [boxes[index] for index in random.permutation(len(boxes))[:wanted]]
        pieces += [_resized(picture(file), box, size) for box in boxes]
        labels += [label] * len(boxes)
    order = torch.from_numpy(random.permutation(len(pieces)))
    images = _varied(torch.stack(pieces)[order], chosen.coloured, random)
    names = tuple(name for name, _ in pictures)
    return ImageSet(images, torch.tensor(labels)[order], names, f"{chosen.name} {split}")


def tiles(chosen: sets.Patches, file: str, split: str) -> Iterator[Box]:
    """The tiles of a picture that belong to a split, row by row."""
    height, width = picture(file).shape[1:]
    side = _side(chosen, height, width)
    rows, columns = height // side, width // side
    owners = _owners(file)
    for row in range(rows):
        for column in range(columns):
            if owners[row * BLOCKS // rows, column * BLOCKS // columns] == split:
                yield Box(row * side, column * side, side)


@cache
def picture(file: str) -> UInt8[Tensor, "3 h w"]:
    """A shipped picture, RGB.

    Raises:
        ValueError: no installed package ships it.
    """
    for home in HOMES:
        package, _, folder = home.partition("/")
        found = find_spec(package)
        path = Path(found.origin).parent / folder / file if found and found.origin else Path()
        if path.is_file():
            with Image.open(path) as opened:
                return torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1).contiguous()
    raise ValueError(f"{file} must come with scikit-image or scikit-learn, neither has it; install the locked versions")


def _side(chosen: sets.Patches, height: int, width: int) -> int:
    return max(min(height, width) // chosen.tiles, chosen.smallest)


def _owners(file: str) -> np.ndarray:
    """The split that each block of a picture belongs to, [row, column]."""
    names = [split for split, share in BLOCKS_OF.items() for _ in range(share)]
    order = np.random.default_rng(sets.number(file, "split")).permutation(len(names))
    return np.array(names)[order].reshape(BLOCKS, BLOCKS)


def _drawn(chosen: sets.Patches, file: str, count: int, random: np.random.Generator) -> Iterator[Box]:
    """Pieces at random places, each inside one training block."""
    height, width = picture(file).shape[1:]
    side = _side(chosen, height, width)
    rows, columns = height // side, width // side
    blocks = np.argwhere(_owners(file) == "train")
    for index in random.integers(len(blocks), size=count):
        corner = []
        for block, lines in zip(blocks[index], (rows, columns), strict=True):
            first, last = -(-block * lines // BLOCKS), -(-(block + 1) * lines // BLOCKS)  # of the block's tiles
            corner.append(int(random.integers(first * side, (last - 1) * side + 1)))
        yield Box(corner[0], corner[1], side)


def _resized(whole: Tensor, box: Box, size: int) -> Tensor:
    piece = whole[:, box.top : box.top + box.side, box.left : box.left + box.side]
    return functional.interpolate(
        piece[None].float(), size=(size, size), mode="bicubic", align_corners=False, antialias=True
    )[0]


def _varied(pieces: Tensor, coloured: bool, random: np.random.Generator) -> UInt8[Tensor, "n 3 size size"]:
    uniform = uniforms(random, len(pieces), 1, 1, 1)
    if coloured:
        changed = pieces * uniforms(random, len(pieces), 3, 1, 1)(0.85, 1.15) + uniform(-20, 20)
    else:
        grey = pieces.mean(1, keepdim=True)
        spread = grey.std((2, 3), keepdim=True).clamp_min(FLAT)
        grey = (grey - grey.mean((2, 3), keepdim=True)) / spread * uniform(30, 60) + uniform(90, 165)
        turns = random.integers(8, size=len(pieces))
        grey = torch.stack([_turned(each, int(turn)) for each, turn in zip(grey, turns, strict=True)])
        changed = grey.expand(-1, 3, -1, -1) + torch.from_numpy(
            random.normal(0, 4, tuple(pieces.shape)).astype(np.float32)
        )
    return changed.clamp(0, 255).round().byte()


def _turned(piece: Tensor, turn: int) -> Tensor:
    """One of the eight ways to lay a square."""
    turned = piece.rot90(turn % 4, (1, 2))
    return turned.flip(2) if turn >= 4 else turned
