"""The embedded world on paper: which characters make a task, which faces draw which split. Nothing is drawn here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

SPLITS = ("train", "validation", "test")
# Each family has four faces: two to train with, one to validate with, one to test with.
FACES = {
    "train": (
        "DejaVuSans",
        "DejaVuSans-BoldOblique",
        "DejaVuSansMono-Bold",
        "DejaVuSansMono-Oblique",
        "DejaVuSerif",
        "DejaVuSerif-BoldItalic",
    ),
    "validation": ("DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSerif-Italic"),
    "test": ("DejaVuSans-Oblique", "DejaVuSansMono-BoldOblique", "DejaVuSerif-Bold"),
}
CANVAS, EM, BASELINE = 64, 44, 47  # pixels: side of the drawing, size of the type, height of its line
DIGIT_SHARES = {"train": (0.0, 0.6), "validation": (0.6, 0.7), "test": (0.7, 1.0)}
VERSION = 1  # raise it when the images change, so that cached ones are made again


@dataclass(frozen=True)
class Task:
    """A set of classes: the characters of some Unicode blocks.

    Attributes:
        name: short name.
        blocks: first and last code point of each block.
        letters: keep letters only.
    """

    name: str
    blocks: tuple[tuple[int, int], ...]
    letters: bool = False


SOURCE = Task("latin", ((0x41, 0x17F),), letters=True)
TASKS = (
    SOURCE,
    Task("cyrillic", ((0x410, 0x44F),), letters=True),
    Task("box", ((0x2500, 0x257F),)),
    Task("blocks", ((0x2580, 0x259F),)),
    Task("shapes", ((0x25A0, 0x25FF),)),
    Task("armenian", ((0x531, 0x556),), letters=True),
    Task("arrows", ((0x2190, 0x21FF),)),
    Task("operators", ((0x2200, 0x22FF),)),
    Task("digits", ((0x30, 0x39),)),
)
BY_NAME = {task.name: task for task in TASKS}


def recipe(task: str, split: str, count: int, size: int, limit: int | None = None) -> str:
    """Short hash of all that determines an image set, for the name of its cached file."""
    described = (VERSION, BY_NAME[task], split, FACES, CANVAS, EM, BASELINE, DIGIT_SHARES, count, size, limit)
    return hashlib.sha256(repr(described).encode()).hexdigest()[:12]
