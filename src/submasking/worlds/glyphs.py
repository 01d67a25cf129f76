"""The embedded world: images of Unicode characters in the DejaVu faces that matplotlib ships, and real digits.

Every image is one character, dark ink on plain light paper, slightly turned, sheared, scaled and moved.
The ground is plain on purpose: with random textures SwAV clusters the ground and ignores the character.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional

from submasking.learning.images import ImageSet
from submasking.worlds.characters import BASELINE, BY_NAME, CANVAS, DIGIT_SHARES, EM, FACES, SPLITS


def render(task: str, split: str, count: int, size: int, limit: int | None = None) -> ImageSet:
    """Draw `count` images of a task, classes in equal shares; the same arguments give the same images.

    Args:
        task: a name of `BY_NAME`.
        split: "train", "validation" or "test"; no face (and no handwritten digit) is in two of them.
        count: number of images; the real digits have fewer where their split does.
        size: side of an image in pixels.
        limit: use the first classes only.

    Returns:
        Images in random order; the classes are the characters' Unicode names.

    Raises:
        ValueError: for an unknown task or split.
    """
    if task not in BY_NAME:
        raise ValueError(f"task must be one of {', '.join(BY_NAME)}; got {task!r}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    random = np.random.default_rng(_seed(task, split))
    text = characters(task)[:limit]
    if task == "digits":
        masks, labels = _handwritten(split, len(text))
        chosen = random.permutation(len(labels))[:count]
        masks, labels = masks[chosen], labels[chosen]
    else:
        drawings = _drawings(text, FACES[split])
        labels = random.permutation(np.arange(count) % len(text))
        masks = drawings[random.integers(len(drawings), size=count), labels]
    images = _photograph(torch.from_numpy(masks), size, random)
    names = tuple(unicodedata.name(character) for character in text)
    return ImageSet(images, torch.from_numpy(labels), names, f"{task} {split}")


@cache
def characters(task: str) -> str:
    """The characters of a task that all twelve faces have, without those drawn exactly as an earlier one."""
    chosen = BY_NAME[task]
    candidates = [chr(code) for first, last in chosen.blocks for code in range(first, last + 1)]
    if chosen.letters:
        candidates = [character for character in candidates if unicodedata.category(character) in ("Lu", "Ll")]
    known = frozenset.intersection(*(_available(face) for faces in FACES.values() for face in faces))
    candidates = [character for character in candidates if ord(character) in known]
    pictures = {_draw(character, "DejaVuSans").tobytes(): character for character in reversed(candidates)}
    distinct = set(pictures.values())
    return "".join(character for character in candidates if character in distinct)


def _seed(task: str, split: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{task} {split}".encode()).digest()[:8], "big")


def _face_path(face: str) -> Path:
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"


@cache
def _available(face: str) -> frozenset[int]:
    """Code points that a face has: a missing one would be drawn as an empty box."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(_face_path(face))).get_charmap())


@cache
def _font(face: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_face_path(face), EM, layout_engine=ImageFont.Layout.BASIC)


def _draw(character: str, face: str) -> np.ndarray:
    """Ink in [0, 255] on a square canvas; size and height on the line stay: they tell classes apart."""
    canvas = Image.new("L", (CANVAS, CANVAS))
    ImageDraw.Draw(canvas).text((CANVAS / 2, BASELINE), character, fill=255, font=_font(face), anchor="ms")
    return np.asarray(canvas)


def _drawings(text: str, faces: tuple[str, ...]) -> np.ndarray:
    """uint8 [face, character, height, width]."""
    return np.stack([np.stack([_draw(character, face) for character in text]) for face in faces])


def _handwritten(split: str, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """UCI's 1,797 handwritten digits (8 x 8, 16 grey levels) in a fixed split, drawn to the canvas' size."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(_seed("digits", "split")).permutation(len(labels))
    first, last = (round(share * len(order)) for share in DIGIT_SHARES[split])
    order = order[first:last]
    order = order[labels[order] < classes]
    small = torch.from_numpy(pixels[order].reshape(-1, 1, 8, 8) * (255 / 16)).float()
    inner = functional.interpolate(small, size=48, mode="bicubic", align_corners=False).clamp(0, 255)
    masks = functional.pad(inner, [(CANVAS - 48) // 2] * 4)[:, 0]
    return masks.round().byte().numpy(), labels[order].astype(np.int64)


def _photograph(masks: torch.Tensor, size: int, random: np.random.Generator) -> torch.Tensor:
    """Turn uint8 ink [n, canvas, canvas] into uint8 RGB [n, 3, size, size]: placement, colours, noise."""
    pieces = [_photograph_some(part, size, random) for part in masks.split(2048)]
    return torch.cat(pieces) if pieces else torch.empty(0, 3, size, size, dtype=torch.uint8)


def _photograph_some(masks: torch.Tensor, size: int, random: np.random.Generator) -> torch.Tensor:
    count = len(masks)
    uniform = _uniform(random, count)
    turn, shear = uniform(-0.14, 0.14), uniform(-0.12, 0.12)
    zoom, stretch = uniform(0.85, 1.12), uniform(0.93, 1.07)
    cosine, sine = turn.cos() / zoom, turn.sin() / zoom
    rows = [
        cosine * stretch,
        shear - sine,
        uniform(-0.12, 0.12),
        sine,
        cosine / stretch,
        uniform(-0.12, 0.12),
    ]
    grid = functional.affine_grid(
        torch.stack(rows, 1).view(count, 2, 3), [count, 1, 2 * size, 2 * size], align_corners=False
    )
    ink = functional.grid_sample(masks[:, None].float() / 255, grid, align_corners=False)
    ink = functional.avg_pool2d(ink, 2)
    paper_colour = (uniform(0.72, 1.0)[:, None] + _uniform(random, count, 3)(-0.08, 0.08))[..., None, None]
    ink_colour = (uniform(0.0, 0.3)[:, None] + _uniform(random, count, 3)(-0.12, 0.12))[..., None, None]
    noise = torch.from_numpy(random.normal(0, 0.03, (count, 3, size, size)).astype(np.float32))
    pixels = paper_colour * (1 - ink) + ink_colour * ink + noise
    return (pixels.clamp(0, 1) * 255).round().byte()


def _uniform(random: np.random.Generator, *shape: int) -> Callable[[float, float], torch.Tensor]:
    return lambda low, high: torch.from_numpy(random.uniform(low, high, shape).astype(np.float32))
