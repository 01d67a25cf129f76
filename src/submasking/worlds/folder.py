"""Pictures in folders, one per class (torchvision's ImageFolder layout), decoded once."""

from __future__ import annotations

import hashlib
import os
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from submasking.learning.images import ImageSet
from submasking.worlds.listing import Listing, first, listed
from submasking.worlds.pictures import Say, decoded

FOLDERS = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}
OTHERS = ("val", "validation", "valid", "dev", "eval", "testing")  # what others call a part that is not for training


def on_stderr(note: str) -> None:
    """Say something beside the output."""
    print(note, file=sys.stderr, flush=True)


def load(folder: Path, split: str, size: int, limit: int | None = None, *, say: Say = on_stderr) -> ImageSet:
    """Images of one split; see `load_all`."""
    return load_all(folder, (split,), size, limit, say=say)[split]


def load_all(
    folder: Path, splits: Iterable[str], size: int, limit: int | None = None, *, say: Say = on_stderr
) -> dict[str, ImageSet]:
    """Images below folder/<split>/<class>/, by split, rendered as `submasking.worlds.pictures` says.

    Hidden files and folders are passed over; what else is left out is said. Names of classes are in Unicode's composed
    form (NFC), whatever form the folders' names have.

    Args:
        folder: holds train/ and test/, and val/ if there is one.
        splits: of "train", "validation", "test".
        size: side in pixels.
        limit: keep at most that many of each split, evenly spread over the sorted files; None keeps all.
        say: told what is left out, a sentence at a time.

    Raises:
        ValueError: for a missing folder, a folder without classes, splits of other classes, pictures that cannot be
            read. All is looked at before: the message names what is wrong first and counts the rest.
    """
    found: dict[str, ImageSet] = {}
    train = _split(folder, "train")
    chosen = [train if name == "train" else _split(folder, name) for name in splits]
    faults = [fault for split in chosen for fault in split.faults + _differences(folder, split, train)]
    for split in chosen:
        for note in split.listing.notes():
            say(f"{split.place}: {note}")
        if images := _read(split, size, limit, faults, say):
            found[split.name] = ImageSet(*images, tuple(split.classes), f"{folder.name} {split.name}")
    if faults:
        many = f"{len(faults)} faults in {folder}: " if len(faults) > 1 else ""
        raise ValueError(many + first(faults, "; "))
    _say_copies(folder, found, say)
    return found


def _say_copies(folder: Path, found: dict[str, ImageSet], say: Say) -> None:
    """Say which pictures are the same, pixel for pixel as they are rendered: a score on training images says little."""
    train = found.get("train")
    if train is None:
        return
    labels: defaultdict[bytes, set[int]] = defaultdict(set)
    for pixels, label in zip(train.images, train.labels.tolist(), strict=True):
        labels[_digest(pixels)].add(label)
    if several := sum(len(classes) > 1 for classes in labels.values()):
        say(f"{folder}: {several} pictures to train on are in more than one class")
    for name, split in found.items():
        same = 0 if name == "train" else sum(_digest(pixels) in labels for pixels in split.images)
        if same:
            say(f"{folder}: {same} of {len(split)} pictures of {name} are among those to train on: what they score says"
                " nothing of new ones")  # fmt: skip


def _digest(pixels: Tensor) -> bytes:
    return hashlib.blake2b(pixels.numpy().tobytes(), digest_size=16).digest()


@dataclass
class _Split:
    name: str
    place: Path
    listing: Listing
    classes: dict[str, list[Path]] = field(default_factory=dict)  # in order, with the pictures of each
    faults: list[str] = field(default_factory=list)


def _split(folder: Path, name: str) -> _Split:
    """The classes of a split with their pictures, and what is wrong with them, before a picture is opened."""
    place = _place(folder, name)
    split = _Split(name, place, listed(place))
    folders = defaultdict(list)
    for path in split.listing.folders:
        if path.parent == place:
            folders[unicodedata.normalize("NFC", path.name)].append(path)
    split.classes = {label: [] for label in sorted(folders)}
    for picture in split.listing.pictures:
        inside = picture.relative_to(place).parts
        if len(inside) == 1:
            split.listing.beside += 1
        else:
            split.classes[unicodedata.normalize("NFC", inside[0])].append(picture)
    split.faults += [
        f"{' and '.join(map(str, paths))} must be one folder: their names differ in Unicode form only; join them"
        for paths in folders.values()
        if len(paths) > 1
    ]
    split.faults += [
        f"{place}: the name of the class folder {os.fsencode(label)!r} must be text in UTF-8, {_why(label)}"
        for label in folders
        if not _is_text(label)
    ]
    empty = [str(folders[label][0]) for label, pictures in split.classes.items() if not pictures]
    if empty or not folders:
        without = f"none in {first(empty)}" if empty else "there is no folder"
        split.faults.append(f"{place} must hold one folder per class with at least one picture in each ({without})")
    return split


def _is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8; bytes of a name that are none Python keeps as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _why(name: str) -> str:
    """Why a name was not read as text: the fault may be the locale's."""
    try:
        os.fsencode(name).decode("utf-8")
    except UnicodeDecodeError:
        return "it is not; rename it"
    return f"and Python takes names for {sys.getfilesystemencoding()} here; set PYTHONUTF8=1"


def _place(folder: Path, split: str) -> Path:
    if split not in FOLDERS:
        raise ValueError(f"split must be one of {', '.join(FOLDERS)}; got {split!r}")
    for name in FOLDERS[split]:
        if (folder / name).is_dir():
            return folder / name
    others = [name for name in OTHERS if split == "test" and (folder / name).is_dir()]
    remedy = f"name {others[0]}/ so, or link it, to be judged on it" if others else "check the path"
    raise ValueError(
        f"dataset must be a folder that holds {' or '.join(FOLDERS[split])}/<class>/<pictures>, got {str(folder)!r};"
        f" {remedy}"
    )


def _differences(folder: Path, split: _Split, train: _Split) -> list[str]:
    different = sorted(split.classes.keys() ^ train.classes.keys())
    if not different:
        return []
    return [
        f"{split.name} and train must have the same classes, but only one of them has {first(different)} "
        f"(in {folder}); name the class folders alike"
    ]


def _read(split: _Split, size: int, limit: int | None, faults: list[str], say: Say) -> tuple[Tensor, Tensor] | None:
    """Images and labels; None if anything was wrong, which is added to the faults."""
    samples = [(path, label) for label, paths in enumerate(split.classes.values()) for path in paths]
    if limit is not None and limit < len(samples):
        samples = [samples[index * len(samples) // limit] for index in range(limit)]
    images: list[Tensor] = []
    odd: list[str] = []
    for path, _ in samples:
        try:
            images.append(decoded(path, size, say=odd.append))
        except ValueError as error:
            faults.append(str(error))
    if odd:
        say(f"{split.place}: {len(odd)} of {len(samples)} pictures are odd: {first(odd)}")
    if faults:
        return None
    return torch.stack(images), torch.tensor([label for _, label in samples])
