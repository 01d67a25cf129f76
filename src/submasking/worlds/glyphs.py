"""Images of Unicode characters in the DejaVu and STIX faces that matplotlib ships."""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from submasking.learning.images import ImageSet
from submasking.worlds import ink, sets

EM, BASELINE = 44, 47  # pixels: size of the type, height of its line


def render(
    chosen: sets.Characters, split: str, count: int, size: int, limit: int | None = None, seed: int = 0
) -> ImageSet:
    """Draw `count` images of characters, classes in equal shares; the same arguments give the same images.

    Args:
        chosen: the set.
        split: "train", "validation" or "test".
        count: number of images.
        size: side of an image in pixels.
        limit: use the first classes only.
        seed: of the training images; the other splits are always the same.

    Returns:
        Images in random order; the classes are the characters' Unicode names.
    """
    random = np.random.default_rng(sets.number(chosen.name, split, seed))
    text = characters(chosen)[:limit]
    drawn = drawings(text, getattr(chosen.faces, split))
    labels = random.permutation(np.arange(count) % len(text))
    masks = drawn[random.integers(len(drawn), size=count), labels]
    images = ink.on_paper(torch.from_numpy(masks), size, random)
    names = tuple(unicodedata.name(character) for character in text)
    return ImageSet(images, torch.from_numpy(labels), names, f"{chosen.name} {split}")


@cache
def characters(chosen: sets.Characters) -> str:
    """The characters of a set that all its faces have, each drawn otherwise than an earlier one.

    Left out is, too, what some face of another split draws as a training face does: a test of it would test nothing
    new. The source task is never tested, so that it keeps all.
    """
    candidates = [chr(code) for first, last in chosen.blocks for code in range(first, last + 1)]
    if chosen.letters:
        candidates = [each for each in candidates if unicodedata.category(each).startswith("L")]
    known = frozenset.intersection(*(available(face) for face in chosen.faces.all))
    candidates = [character for character in candidates if ord(character) in known]
    first = chosen.faces.train[0]
    pictures = {draw(character, first).tobytes(): character for character in reversed(candidates)}
    distinct = set(pictures.values())
    kept = [character for character in candidates if character in distinct]
    if chosen != sets.SOURCE:
        kept = [character for character in kept if not _repeated(character, chosen.faces)]
    return "".join(kept)[: chosen.limit]


def _repeated(character: str, faces: sets.Faces) -> bool:
    shown = [draw(character, face) for face in faces.train]
    tested = [draw(character, face) for face in faces.validation + faces.test]
    return any(ink.alike(one, other) for one in tested for other in shown)


def drawings(text: str, faces: tuple[str, ...]) -> np.ndarray:
    """uint8 [face, character, height, width]."""
    return np.stack([np.stack([draw(character, face) for character in text]) for face in faces])


def draw(character: str, face: str) -> np.ndarray:
    """Ink in [0, 255] on a square canvas; size and height on the line stay: they tell classes apart."""
    canvas = Image.new("L", (ink.CANVAS, ink.CANVAS))
    ImageDraw.Draw(canvas).text((ink.CANVAS / 2, BASELINE), character, fill=255, font=_font(face), anchor="ms")
    return np.asarray(canvas)


@cache
def available(face: str) -> frozenset[int]:
    """Code points that a face has: a missing one would be drawn as an empty box."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(_path(face))).get_charmap())


@cache
def _font(face: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_path(face), EM, layout_engine=ImageFont.Layout.BASIC)


def _path(face: str) -> Path:
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
