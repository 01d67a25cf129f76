"""Pictures that were decoded once, as bytes in a file that is mapped into memory: no epoch decodes them again.

Two files: `NAME.npy` holds the pixels, `NAME.json` labels, names and the hash of all. The second is written last, so
where it is, the first is whole.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from submasking.files import atomic
from submasking.learning.images import ImageSet
from submasking.worlds.paper.data import rendering
from submasking.worlds.paper.data.splits import Listing
from submasking.worlds.paper.remote import words

AT_ONCE = 256  # pictures in memory at a time
ROOM = 1 << 28  # bytes of the disk that are left free
Pictures = Iterable[tuple[int, str, bytes | Image.Image]]


def kept(path: Path, sources: dict[str, str]) -> ImageSet | None:
    """The set kept at `path`; None where there is none, or one that other sources or a broken writing left.

    Args:
        path: of the pixels, ending in .npy.
        sources: hashes of what it is made of, by name; those that are not known today are not asked for.
    """
    try:
        told: dict[str, Any] = json.loads(_beside(path).read_text(encoding="utf-8"))
        if any(told["sources"].get(name) != value for name, value in sources.items()):
            return None
        pixels = np.load(path, mmap_mode="c")  # torch wants to be able to write; what it writes stays in memory
        if pixels.shape[0] != len(told["labels"]) or pixels.dtype != np.uint8:
            return None
        labels, classes = torch.tensor(told["labels"]), tuple(told["classes"])
        return ImageSet(torch.from_numpy(pixels), labels, classes, told["name"], str(told["sha256"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError):  # it is made anew
        return None


def identity(path: Path) -> str:
    """SHA-256 of pixels, labels and names of a set that is kept; "" where there is none."""
    try:
        return str(json.loads(_beside(path).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def keep(
    path: Path, name: str, listing: Listing, pictures: Pictures, how: str, size: int, sources: dict[str, str],
    progress: bool = True,
) -> None:  # fmt: skip
    """Decode pictures and keep them; when it raises, nothing is left.

    Args:
        path: of the pixels, ending in .npy.
        name: data set and split, for messages.
        listing: labels and names.
        pictures: number in the listing, name, and file or picture, in any order.
        how: the rendering.
        size: side in pixels.
        sources: hashes of what it is made of, by name.
        progress: show a bar, in a terminal.

    Raises:
        ValueError: a picture is damaged, or the disk has too little room.
    """
    shape = (len(listing.labels), 3, size, size)
    path.parent.mkdir(parents=True, exist_ok=True)
    need, free = int(np.prod(shape)), shutil.disk_usage(path.parent).free
    if need + ROOM > free:
        raise ValueError(f"{name} needs {words(need)} in {path.parent}, which has {words(free)} free; make room there")
    _beside(path).unlink(missing_ok=True)
    with atomic.replacing(path) as part:
        pixels = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        for number, shown in _rendered(name, pictures, how, size, len(listing.labels), progress):
            pixels[number] = shown
        pixels.flush()
        found = _hash(pixels, listing)
        del pixels  # unmapped before it gets its name
    told = {"name": name, "classes": listing.classes, "labels": listing.labels, "sources": sources, "sha256": found}
    atomic.write(_beside(path), json.dumps(told))


def picture(name: str, file: str, content: bytes | Image.Image) -> Image.Image:
    """A picture of a data set; ValueError names set and file where it is damaged."""
    try:
        return rendering.decoded(content) if isinstance(content, bytes) else content
    except ValueError as error:
        raise ValueError(f"{name} must hold readable pictures, {file} is none ({error}); fetch it again") from error


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")


def _rendered(
    name: str, pictures: Pictures, how: str, size: int, total: int, progress: bool
) -> Iterator[tuple[int, np.ndarray]]:
    """Pictures at their size; several are decoded at once, but no more are read than that."""

    def one(given: tuple[int, str, bytes | Image.Image]) -> tuple[int, np.ndarray]:
        number, file, content = given
        return number, rendering.rendered(picture(name, file, content), how, size)

    shown, waiting = progress and sys.stderr.isatty(), iter(pictures)
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool, tqdm(total=total, desc=f"decoding {name}", disable=not shown) as bar:
        while several := list(itertools.islice(waiting, AT_ONCE)):
            yield from pool.map(one, several)
            bar.update(len(several))


def _hash(pixels: np.ndarray, listing: Listing) -> str:
    found = hashlib.sha256(json.dumps([pixels.shape, listing.labels, listing.classes]).encode())
    for start in range(0, len(pixels), AT_ONCE):
        found.update(np.ascontiguousarray(pixels[start : start + AT_ONCE]).data)
    return found.hexdigest()
