"""`submasking predict`: images in, classes out."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch

from submasking.commands.backbone import backbone_of
from submasking.commands.options import add_json, add_weights
from submasking.learning.batches import as_float
from submasking.tasks import maskfile
from submasking.worlds.folder import decoded

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = "Lay a task on its backbone and print the likeliest classes of each image."
    command.add_argument("file", type=Path, help="a mask file")
    command.add_argument("images", type=Path, nargs="+", help="pictures, or folders of pictures")
    command.add_argument("--top", type=int, default=1, metavar="N", help="classes per image (default 1)")
    command.add_argument("--batch-size", type=int, default=32, metavar="N", help="images at once (default 32)")
    add_weights(command)
    add_json(command)


def run(given: argparse.Namespace) -> int:
    """Print a line, or a JSON object, per image."""
    if given.top < 1 or given.batch_size < 1:
        raise ValueError("--top and --batch-size must be at least 1")
    task = maskfile.load(given.file)
    pictures = list(_pictures(given.images))
    network = backbone_of(task, given.weights)
    head = task.head()
    if head is None or not task.classes:
        raise ValueError(f"{given.file} has no head or no class names, so it cannot name classes")
    task.apply(network.trunk)
    network.trunk.eval()
    for start in range(0, len(pictures), given.batch_size):
        paths = pictures[start : start + given.batch_size]
        images = torch.stack([decoded(path, network.size) for path in paths])
        with torch.inference_mode():
            shares = head(network.trunk(network.normalise(as_float(images)))).softmax(1)
        best = shares.topk(min(given.top, len(task.classes)), dim=1)
        for path, values, indices in zip(paths, best.values.tolist(), best.indices.tolist(), strict=True):
            named = [(task.classes[index], value) for index, value in zip(indices, values, strict=True)]
            if given.json:
                print(json.dumps({"image": str(path), "classes": dict(named)}))
            else:
                print(f"{path}\t" + "\t".join(f"{name} {value:.3f}" for name, value in named))
    return 0


def _pictures(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
            if not found:
                raise ValueError(f"{path} must hold pictures ({', '.join(SUFFIXES)}); there are none")
            yield from found
        else:
            yield path
