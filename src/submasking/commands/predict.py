"""`submasking predict`: images in, classes out."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from submasking.commands.backbone import backbone_of, complete
from submasking.commands.options import add_json, add_weights, place, shown
from submasking.learning.batches import as_float
from submasking.tasks import maskfile
from submasking.tasks.heads import check_outputs, check_width
from submasking.worlds.folder import on_stderr
from submasking.worlds.listing import listed
from submasking.worlds.pictures import decoded, suffixes


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Lay a task on its backbone and print the likeliest classes of each image. What cannot be read is a line on"
        " stderr each; the others are named all the same, and the exit code is 1. Pictures are rendered as in training:"
        " upright by EXIF, transparency on white, 16-bit grey scaled."
    )
    command.add_argument("file", type=place, help="a mask file")
    command.add_argument(
        "images", type=place, nargs="+", help="pictures, or folders of pictures (hidden ones left out)"
    )
    command.add_argument("--top", type=int, default=1, metavar="N", help="classes per image (default 1)")
    command.add_argument("--batch-size", type=int, default=32, metavar="N", help="images at once (default 32)")
    add_weights(command)
    add_json(command)


def run(given: argparse.Namespace) -> int:
    """Print a line, or a JSON object, per image."""
    if given.top < 1 or given.batch_size < 1:
        raise ValueError(
            f"--top and --batch-size must be at least 1, got {given.top} and {given.batch_size}; leave them out for the"
            " usual ones"
        )
    task = maskfile.load(given.file)
    network = backbone_of(task, given.weights)
    inside = complete(network.trunk, task.state)
    head = nn.Identity() if inside else task.head(network.text_head)
    if head is None or not task.classes:
        raise ValueError(
            f"a mask file must have a classifier and class names to name classes; {given.file} has"
            f" {'one inside its model' if inside else task.head_kind or 'none'} and {len(task.classes)} names; save it"
            f" anew with {'' if head else 'head= and '}classes="
        )
    if inside:
        check_outputs(network.trunk, task.trained, task.classes)
    check_width(head, network.width)
    task.apply(network.trunk)
    network.trunk.eval()
    bad: list[str] = []
    pictures = _decoded(_pictures(given.images, bad), network.size, bad)
    while batch := list(itertools.islice(pictures, min(given.batch_size, sys.maxsize))):
        paths, images = zip(*batch, strict=True)
        with torch.inference_mode():
            shares = head(network.trunk(network.normalise(as_float(torch.stack(images))))).softmax(1)
        best = shares.topk(min(given.top, len(task.classes)), dim=1)
        for path, values, indices in zip(paths, best.values.tolist(), best.indices.tolist(), strict=True):
            named = [(task.classes[index], value) for index, value in zip(indices, values, strict=True)]
            if given.json:
                print(json.dumps({"image": str(path), "classes": dict(named)}))
            else:
                print("\t".join([shown(path), *(f"{shown(name)} {value:.3f}" for name, value in named)]))
    return 1 if bad else 0


def _pictures(paths: list[Path], bad: list[str]) -> Iterator[Path]:
    """The pictures that are meant; a folder is gone through."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = listed(path)
        for note in found.notes():
            _say(f"{path}: {note}")
        if not found.pictures:
            _complain(f"{path} must hold pictures ({', '.join(sorted(suffixes()))}); there are none", bad)
        yield from found.pictures


def _decoded(paths: Iterator[Path], size: int, bad: list[str]) -> Iterator[tuple[Path, Tensor]]:
    """The pictures that can be read; the others are said at once, and do not hold up the rest."""
    for path in paths:
        try:
            yield path, decoded(path, size, say=_say)
        except ValueError as error:
            _complain(str(error), bad)


def _complain(fault: str, bad: list[str]) -> None:
    bad.append(fault)
    _say(fault)


def _say(note: str) -> None:
    on_stderr(f"submasking predict: {note}")
