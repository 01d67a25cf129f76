"""Images of the paper's data sets: from the file of decoded pictures, which is made where there is none."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch

from submasking.files import identity
from submasking.learning.images import ImageSet
from submasking.worlds.paper import places, remote
from submasking.worlds.paper.data import archives, catalogue, cifar, mapped, rendering, splits
from submasking.worlds.paper.weights import SIZE


def load(
    dataset: str, split: str, *, how: str = "", size: int = SIZE, download: bool = True, progress: bool = True
) -> ImageSet:
    """Images of one split, mapped into memory.

    Args:
        dataset: one of `submasking.worlds.paper.data.catalogue.SETS`.
        split: "train", which is train and val, or "test".
        how: "whole" or "centre", see `submasking.worlds.paper.data.rendering`; "" is whole for train, as it is trained
            on, and centre for test. The bank of nearest neighbours is train in centre.
        size: side in pixels.
        download: fetch what is missing.
        progress: show that, and the decoding.

    Raises:
        ValueError: an unknown data set, split or rendering; a file that is missing, damaged or another's; in one line.
    """
    chosen = catalogue.published(dataset)
    wanted = chosen.images(split)
    how = how or rendering.USUAL[split]
    if how not in rendering.RENDERINGS:
        raise ValueError(f"how must be one of {', '.join(rendering.RENDERINGS)}; got {how!r}")
    path = file_of(dataset, split, how, size)
    found = mapped.kept(path, _sources(chosen))
    if found is None:
        _make(dataset, chosen, split, how, size, path, download, progress)
        found = mapped.kept(path, {})
    if found is None or len(found) != wanted:
        raise ValueError(
            f"{path} must hold {wanted:,} pictures, it has {len(found or ())}; move it away, it is made anew"
        )
    return found


def sample(dataset: str, count: int, *, size: int = SIZE, progress: bool = True) -> ImageSet:
    """The first few pictures for training that are at hand, decoded but not kept; nothing is fetched.

    Args:
        dataset: one of `submasking.worlds.paper.data.catalogue.SETS`.
        count: how many; of an archive those that lie first in it.
        size: side in pixels.
        progress: show that an archive is checked.

    Raises:
        ValueError: as `load`.
    """
    chosen = catalogue.published(dataset)
    found = mapped.kept(file_of(dataset, "train", size=size), _sources(chosen))
    if found is not None:
        return found.subset(range(min(count, len(found))))
    listing, pictures, _ = _opened(dataset, chosen, "train", False, progress)
    several = list(itertools.islice(pictures, count))
    decoded = [
        rendering.rendered(mapped.picture(dataset, file, content), rendering.USUAL["train"], size)
        for _, file, content in several
    ]
    labels = torch.tensor([listing.labels[number] for number, _, _ in several])
    return ImageSet(torch.from_numpy(np.stack(decoded)), labels, listing.classes, f"{dataset} train")


def file_of(dataset: str, split: str, how: str = "", size: int = SIZE) -> Path:
    """Where the decoded pictures are kept."""
    return places.cache_folder() / f"{dataset}-{split}-{how or rendering.USUAL[split]}-{size}.npy"


def unpacked(folder: Path, chosen: catalogue.Published) -> Path | None:
    """The pictures' unpacked folder, where there is one and anything in it."""
    place = folder / chosen.unpacked
    return place if place.is_dir() and any(place.iterdir()) else None


def place_of(chosen: catalogue.Published, *, download: bool = False, progress: bool = True) -> Path:
    """The pictures' unpacked folder where there is one, else their archive.

    Raises:
        ValueError: there is neither, and the archive cannot be had.
    """
    folder = places.data_folder() / chosen.folder
    return unpacked(folder, chosen) or remote.have(chosen.archive, folder, download=download, progress=progress)


def _sources(chosen: catalogue.Published) -> dict[str, str]:
    """Hash of the split file where it is at hand: with another one, the pictures are other ones."""
    if chosen.split is None:
        return {}
    path = places.data_folder() / chosen.folder / chosen.split.name
    return {chosen.split.name: identity.of_file(path)} if path.is_file() else {}


def _make(
    dataset: str, chosen: catalogue.Published, split: str, how: str, size: int, path: Path, download: bool,
    progress: bool,
) -> None:  # fmt: skip
    listing, pictures, place = _opened(dataset, chosen, split, download, progress)
    if (len(listing.labels), len(listing.classes)) != (chosen.images(split), chosen.classes):
        raise ValueError(
            f"{place} must hold {chosen.images(split):,} pictures of {chosen.classes} classes for {split}, it has"
            f" {len(listing.labels):,} of {len(listing.classes)}; move it away, and it is fetched again"
        )
    mapped.keep(path, f"{dataset} {split}", listing, pictures, how, size, _sources(chosen), progress)


def _opened(
    dataset: str, chosen: catalogue.Published, split: str, download: bool, progress: bool
) -> tuple[splits.Listing, mapped.Pictures, Path]:
    """What the split file says, and the pictures in the order in which they lie in their archive."""
    if chosen.split is None:
        place = place_of(chosen, download=download, progress=progress)
        return *cifar.read(dataset, place, split), place
    folder = places.data_folder() / chosen.folder
    file = remote.have(chosen.split, folder, download=download, progress=progress)  # small: before the archive
    listing = splits.read(file, chosen, split)
    place = place_of(chosen, download=download, progress=progress)
    numbers = {name: number for number, name in enumerate(listing.pictures)}
    return listing, archives.pictures(place, chosen.inside, numbers), place
