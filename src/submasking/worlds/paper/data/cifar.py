"""CIFAR as torchvision reads it, from its archive or from the folder that was unpacked from it."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100

from submasking.worlds.paper.data import archives
from submasking.worlds.paper.data.splits import Listing, caption

READERS = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def read(dataset: str, place: Path, split: str) -> tuple[Listing, list[tuple[int, str, Image.Image]]]:
    """Labels and names, and the pictures with their numbers.

    Args:
        dataset: "cifar10" or "cifar100".
        place: the published archive, or the folder `cifar-*` that was in it.
        split: "train" or "test".

    Raises:
        ValueError: the place is damaged, or holds something else: torchvision knows the hash of each file.
    """
    with _root(place) as root:
        try:
            made = READERS[dataset](root, train=split == "train", download=False)
        except (RuntimeError, OSError) as error:
            raise ValueError(
                f"{place} must hold the published files of {dataset}, but some are missing or damaged"
                f" ({' '.join(str(error).split())}); move it away, and it is fetched again"
            ) from error
    listing = Listing((), tuple(int(label) for label in made.targets), tuple(caption(name) for name in made.classes))
    return listing, [(number, f"{split} {number}", Image.fromarray(pixels)) for number, pixels in enumerate(made.data)]


@contextmanager
def _root(place: Path) -> Iterator[Path]:
    """Folder that holds torchvision's folder; an archive is unpacked to one that goes again."""
    if place.is_dir():
        yield place.parent
        return
    with tempfile.TemporaryDirectory(prefix="submasking-") as folder:
        try:
            with tarfile.open(place) as archive:
                archive.extractall(folder, filter="data")  # which refuses what would lie outside
        except archives.DAMAGE as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"{place} must be a whole archive, but is damaged ({said}); fetch it again") from error
        yield Path(folder)
