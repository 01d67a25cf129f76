"""Pictures in folders, one per class (torchvision's ImageFolder layout), decoded once."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2 import functional

from submasking.learning.images import ImageSet

FOLDERS = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}


def load(folder: Path, split: str, size: int, limit: int | None = None) -> ImageSet:
    """Images below folder/<split>/<class>/, each resized as a whole to size x size (bicubic).

    Args:
        folder: holds train/ and test/, and val/ if there is one.
        split: "train", "validation" or "test".
        size: side in pixels.
        limit: keep at most that many, evenly spread over the sorted files; None keeps all.

    Raises:
        ValueError: for a missing folder, a folder without classes, a test set with other classes, or a
            picture that cannot be read; the message names it.
    """
    place = _place(folder, split)
    found = _listed(place)
    known = _listed(_place(folder, "train")).classes
    if found.classes != known:
        different = sorted(set(found.classes) ^ set(known))
        raise ValueError(
            f"{split} and train must have the same classes, but only one of them has {', '.join(different[:5])} "
            f"(in {folder}); name the class folders alike"
        )
    samples = found.samples
    if limit is not None and limit < len(samples):
        samples = [samples[index * len(samples) // limit] for index in range(limit)]
    images = torch.stack([decoded(Path(path), size) for path, _ in samples])
    labels = torch.tensor([label for _, label in samples])
    return ImageSet(images, labels, tuple(found.classes), f"{folder.name} {split}")


def _place(folder: Path, split: str) -> Path:
    if split not in FOLDERS:
        raise ValueError(f"split must be one of {', '.join(FOLDERS)}; got {split!r}")
    for name in FOLDERS[split]:
        if (folder / name).is_dir():
            return folder / name
    raise ValueError(
        f"dataset must be a folder that holds {' or '.join(FOLDERS[split])}/<class>/<pictures>, got {str(folder)!r}"
    )


def _listed(place: Path) -> ImageFolder:
    try:
        return ImageFolder(str(place))
    except FileNotFoundError as error:
        raise ValueError(
            f"{place} must hold one folder per class with at least one picture in each ({error})"
        ) from error


def decoded(path: Path, size: int) -> torch.Tensor:
    """uint8 [3, size, size]."""
    try:
        with Image.open(path) as picture:
            pixels = functional.pil_to_tensor(picture.convert("RGB"))
    except (OSError, SyntaxError, UnidentifiedImageError) as error:
        raise ValueError(f"{path} must be a readable picture ({error}); repair or remove it") from error
    return functional.resize(pixels, [size, size], interpolation=functional.InterpolationMode.BICUBIC, antialias=True)
