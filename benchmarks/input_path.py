"""Pictures a second that reach the network: decoded once and mapped into memory, beside a plain loader of torchvision.

Both augment as the paper does. The plain loader opens, decodes and resizes every JPEG in every epoch and augments one
picture at a time; ours decodes once, then reads bytes and augments a batch at once, wherever it is to be.
"""

import tempfile
import time
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from submasking.learning import augment
from submasking.learning.backbone import Backbone
from submasking.learning.batches import Batches
from submasking.learning.versions import augmented
from submasking.worlds.paper.data import mapped
from submasking.worlds.paper.data.splits import Listing
from submasking.worlds.paper.weights import IMAGENET, SIZE

PICTURES, BATCH, TIMES = 256, 64, 3
SHAPE = (500, 375)  # of a photograph on the web


def measure(pictures: int = PICTURES, workers: int = 2) -> list[dict[str, Any]]:
    """One row per way to hand out an epoch: pictures a second, and the ratio to the better of the plain ones."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = _photographs(folder / "photos", pictures)
        started = time.perf_counter()
        ours = _ours(folder, files)
        once = pictures / (time.perf_counter() - started)
        ways: dict[str, Iterable[Any]] = {
            "plain loader, in the process": _plain(folder / "photos", 0),
            f"plain loader, {workers} workers": _plain(folder / "photos", workers),
            "mapped, augmented as a batch": ours,
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(TIMES):
            for way, batches in ways.items():
                times[way].append(_epoch(batches))
    found = {way: pictures / median(seconds) for way, seconds in times.items()} | {"decoded and kept, once": once}
    base = max(rate for way, rate in found.items() if way.startswith("plain"))
    return [
        {"way": way, "pictures": pictures, "a_second": round(rate, 1), "ratio": round(rate / base, 2)}
        for way, rate in found.items()
    ]


def _photographs(folder: Path, count: int) -> list[bytes]:
    """JPEG files of two classes, as rough as photographs are: noise of several scales."""
    random, made = np.random.default_rng(0), []
    for number in range(count):
        noise = [Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8)) for side in (4, 16, 64)]
        shown = sum(np.asarray(each.resize(SHAPE), np.float32) / 3 for each in noise)
        file = BytesIO()
        Image.fromarray(np.asarray(shown).astype(np.uint8)).save(file, "JPEG", quality=90)
        made.append(file.getvalue())
        path = folder / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made[-1])
    return made


def _plain(folder: Path, workers: int) -> Iterable[Any]:
    style = augment.PHOTOS
    change = v2.Compose([
        v2.Resize((SIZE, SIZE), v2.InterpolationMode.BICUBIC),
        v2.RandomApply([v2.ColorJitter(*[style.jitter] * 4)], style.jittered),
        v2.RandomGrayscale(style.grey),
        v2.RandomSolarize(128, style.solarised),
        v2.RandomHorizontalFlip(style.flipped),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(*IMAGENET),
    ])  # fmt: skip
    return DataLoader(ImageFolder(folder, change), BATCH, shuffle=True, num_workers=workers)


def _ours(folder: Path, files: list[bytes]) -> Iterable[Any]:
    names = tuple(f"{number}.jpg" for number in range(len(files)))
    listing = Listing(names, tuple(number % 2 for number in range(len(files))), ("a", "b"))
    path = folder / "kept.npy"
    given = ((number, f"{number}.jpg", content) for number, content in enumerate(files))
    mapped.keep(path, "photographs", listing, given, "whole", SIZE, {}, progress=False)
    images = mapped.kept(path, {})
    assert images is not None
    backbone = Backbone(nn.Identity(), 0, "", *IMAGENET, SIZE)
    return Batches(images, BATCH, augmented(backbone, augment.PHOTOS))


def _epoch(batches: Iterable[Any]) -> float:
    started = time.perf_counter()
    for images, _ in batches:
        assert images.shape[2:] == (SIZE, SIZE)
    return time.perf_counter() - started
