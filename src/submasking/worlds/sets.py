"""The embedded world on paper: what makes each set of images, and what is new in its test. Nothing is drawn here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeAlias

SPLITS = ("train", "validation", "test")
VERSION = 2  # raise it when the images change, so that cached ones are made again


@dataclass(frozen=True)
class Faces:
    """Typefaces that draw each split; no drawing of a class in one split is its drawing in another, by test."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return self.train + self.validation + self.test


# Of each of DejaVu's three families four faces: two to train with, one to validate with, one to test with.
ALPHABET = Faces(
    ("DejaVuSans", "DejaVuSans-BoldOblique", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSerif",
     "DejaVuSerif-BoldItalic"),
    ("DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSerif-Italic"),
    ("DejaVuSans-Oblique", "DejaVuSansMono-BoldOblique", "DejaVuSerif-Bold"),
)  # fmt: skip
TWO_FAMILIES = Faces(  # for scripts that the monospaced family lacks
    ("DejaVuSans", "DejaVuSans-BoldOblique", "DejaVuSerif-Italic", "DejaVuSerif-Bold"),
    ("DejaVuSans-Bold", "DejaVuSerif-BoldItalic"),
    ("DejaVuSans-Oblique", "DejaVuSerif"),
)
ONE_FAMILY = Faces(("DejaVuSans", "DejaVuSans-BoldOblique"), ("DejaVuSans-Bold",), ("DejaVuSans-Oblique",))
# DejaVu draws a symbol once for all its faces of one width; STIX draws it anew
TWO_DESIGNS = Faces(("DejaVuSans", "STIXGeneralBol"), ("DejaVuSansMono",), ("STIXGeneral",))


@dataclass(frozen=True)
class Characters:
    """Classes that are the characters of some Unicode blocks.

    Attributes:
        name: short name.
        blocks: first and last code point of each block.
        faces: what draws them.
        letters: keep letters only.
        limit: keep the first characters only; None keeps all.
    """

    name: str
    blocks: tuple[tuple[int, int], ...]
    faces: Faces = ALPHABET
    letters: bool = False
    limit: int | None = None


@dataclass(frozen=True)
class Digits:
    """UCI's handwritten digits.

    Attributes:
        name: short name.
        shares: part of the digits that belongs to each split, from and to.
        drawn: share of the training digits that one draw takes.
    """

    name: str
    shares: tuple[tuple[float, float], ...] = ((0.0, 0.6), (0.6, 0.7), (0.7, 1.0))
    drawn: float = 0.75


@dataclass(frozen=True)
class Patches:
    """Pieces of real pictures, a class for each; the pieces of two splits come from regions that share no pixel.

    Attributes:
        name: short name.
        pictures: class and file of each picture (`submasking.worlds.patches`).
        tiles: how many pieces the shorter side of a picture holds.
        smallest: side of a piece in pixels of its picture, at least.
        coloured: keep colours, slightly changed; else grey of random brightness and contrast, turned and mirrored, so
            that neither tells a class.
    """

    name: str
    pictures: tuple[tuple[str, str], ...]
    tiles: int
    smallest: int
    coloured: bool


Set: TypeAlias = Characters | Digits | Patches

SOURCE = Characters("latin", ((0x41, 0x17F),), letters=True)
TEXTURES = Patches(
    "textures",
    (
        ("BRICK WALL", "brick.png"), ("GRASS", "grass.png"), ("GRAVEL", "gravel.png"), ("COINS", "coins.png"),
        ("CELL", "cell.png"), ("MOON", "moon.png"), ("MAN WITH CAMERA", "camera.png"), ("PRINTED PAGE", "page.png"),
        ("WRITTEN TEXT", "text.png"), ("CLOCK", "clock_motion.png"),
    ),
    tiles=16, smallest=20, coloured=False,
)  # fmt: skip
PLACES = Patches(
    "places",
    (
        ("ASTRONAUT", "astronaut.png"), ("CAT", "chelsea.png"), ("COFFEE", "coffee.png"), ("ROCKET", "rocket.jpg"),
        ("MOTORCYCLE", "motorcycle_left.png"), ("TEMPLE", "china.jpg"), ("FLOWER", "flower.jpg"),
        ("RETINA", "retina.jpg"), ("GALAXIES", "hubble_deep_field.jpg"), ("TISSUE", "ihc.png"),
    ),
    tiles=12, smallest=24, coloured=True,
)  # fmt: skip
SETS: tuple[Set, ...] = (
    SOURCE,
    Digits("digits"),
    Characters("cyrillic", ((0x410, 0x44F),), letters=True),
    TEXTURES,
    PLACES,
    Characters("georgian", ((0x10A0, 0x10FF),), TWO_FAMILIES, letters=True),
    Characters("armenian", ((0x531, 0x556),), letters=True),
    Characters("operators", ((0x2200, 0x22FF),), TWO_DESIGNS, limit=96),
    Characters("syllabics", ((0x1401, 0x166C),), ONE_FAMILY, limit=101),
)
BY_NAME = {chosen.name: chosen for chosen in SETS}


def check(name: str, split: str) -> Set:
    """The set of that name; ValueError for an unknown set or split lists those there are."""
    if name not in BY_NAME:
        raise ValueError(f"set of images must be one of {', '.join(BY_NAME)}; got {name!r}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    return BY_NAME[name]


def number(name: str, split: str, seed: int = 0) -> int:
    """What the randomness of one split starts from: of training images the seed counts, others are always the same."""
    text = f"{name} {split} {seed}" if split == "train" else f"{name} {split}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def recipe(name: str, split: str, count: int, size: int, limit: int | None = None, seed: int = 0) -> str:
    """Short hash of all that determines some images, for the name of their cached file."""
    described = (VERSION, BY_NAME[name], split, count, size, limit, number(name, split, seed))
    return hashlib.sha256(repr(described).encode()).hexdigest()[:12]
