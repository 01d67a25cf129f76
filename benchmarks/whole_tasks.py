"""Whole task files of a finished grid, coded and rounded: `python -m benchmarks whole_tasks`.

There is one for each model and data set, of the method FS and the first seed. Each is laid on its backbone and rounded
(`submasking.round_off` as it comes); where a test image is given another class then, it is rounded again with as many
bits as keep them all. What is saved must be what the model holds. `whole_photographs` does so with mask files and
folders of photographs that it is given, and begins with fewer bits.
"""

import copy
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.process import fresh
from benchmarks.round_trips import PROFILE, folder, models
from submasking import Masking, TaskFile, maskfile, round_off
from submasking.commands.backbone import backbone_of
from submasking.learning.backbone import Backbone
from submasking.learning.evaluate import features
from submasking.learning.images import ImageSet
from submasking.tasks import codec
from submasking.tasks.packing import packed
from submasking.tasks.taskfile import own_state
from submasking.worlds import backbones
from submasking.worlds import datasets as data
from submasking.worlds.folder import load as folder_of

Found = dict[str, Any]
FILE = "FS-labels100-seed0.safetensors"
FEWER = 8  # bits to begin with on photographs, as for `submasking mask --bits`


def measure(profile: str = PROFILE) -> list[Found]:
    """Return a row for each model and one for all: sizes of whole files, and what rounding has changed."""
    found = {model: fresh("benchmarks.whole_tasks", profile, model) for model in models(profile)}
    return [_row(*each) for each in (*found.items(), ("all", [one for files in found.values() for one in files]))]


def photographs(pairs: Sequence[str]) -> list[Found]:
    """Return the same for tasks that `submasking mask` has learnt on folders of photographs, and for all of them.

    Args:
        pairs: FILE=FOLDER each, a mask file and the images that it was learnt on; or FILE=FOLDER=WEIGHTS, with those of
            its network, where no package brings them.

    Raises:
        NoTaskError: a file or a folder is not there, or they do not fit.
    """
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for pair in pairs:
            file, images, weights = [*pair.split("="), "", ""][:3]
            try:
                task = maskfile.load(file)
                backbone = backbone_of(task, Path(weights) if weights else None)
                test = folder_of(Path(images), "test", backbone.size, say=lambda _: None)
                once = weigh(task, backbone, test, Path(place) / "task", bits=FEWER)
                found[Path(images).resolve().name] = [once]
            except (OSError, ValueError) as error:
                raise NoTaskError(f"--tasks must be FILE=FOLDER[=WEIGHTS]; {pair!r} gave: {error}") from error
    return [_row(*each) for each in (*found.items(), ("all", [one for files in found.values() for one in files]))]


class NoTaskError(ValueError):
    """What was given is no mask file, or no folder of its images."""


def _row(model: str, files: Sequence[Found]) -> Found:
    plain, exact, rounded, weights, images, changed = (
        sum(one[key] for one in files) for key in ("plain", "exact", "rounded", "weights", "images", "changed")
    )
    return {
        "model": model,
        "files": len(files),
        "plain_kb": round(plain / len(files) / 1000, 2),
        "exact": round(exact / plain, 4),
        "rounded": round(rounded / plain, 4),
        "largest": round(max(one["rounded"] / one["plain"] for one in files), 4),
        "bits_plain": round(8 * plain / weights, 4),
        "bits_rounded": round(8 * rounded / weights, 4),
        "images": images,
        "changed": changed,
        "more": sum(one["more"] for one in files),
        "bits": max(one["bits"] for one in files),
        "moved": round(max(one["moved"] for one in files), 5),
    }


def read(profile: str, model: str) -> list[Found]:
    """What each of these files of a model gives in this process."""
    with tempfile.TemporaryDirectory() as place:
        files = sorted((folder(profile) / model).rglob(FILE))
        return [_one(profile, model, path, Path(place) / "task") for path in files]


def _one(profile: str, model: str, path: Path, again: Path) -> Found:
    backbone = copy.deepcopy(_backbone(model, profile, int(path.stem.rpartition("-seed")[2])))
    return weigh(maskfile.load(path), backbone, _test(profile, path.parent.name), again)


@torch.no_grad()
def weigh(task: TaskFile, backbone: Backbone, test: ImageSet, again: Path, *, bits: int = 10) -> Found:
    """What a task takes as it is, coded and rounded, and which test images are given another class then.

    Args:
        task: a mask file with a linear head.
        backbone: its own, which is changed.
        test: the images.
        again: where it is saved anew.
        bits: with how many it is rounded first, see `submasking.round_off`.

    Raises:
        ValueError: it has no head.
    """
    masking, head = task.apply(backbone.trunk.eval()), task.head(backbone.text_head)
    if head is None:
        raise ValueError("a task must have a head to be rounded; got one without; train it with a linear head")

    def logits() -> Tensor:
        return head(features(backbone.trunk, test, backbone.normalise))

    exact, before = _numbers(masking, head), logits()
    used, after = round_off(masking, head, bits=bits).bits, logits()
    changed = int((before.argmax(1) != after.argmax(1)).sum())
    if changed:
        task.apply(backbone.trunk)
        head.load_state_dict(task.head_state)
        used, after = round_off(masking, head, bits=bits, keep=lambda: logits().argmax(1)).bits, logits()
    saved = _saved(again, task, masking, head)
    sizes = saved.sizes()
    rest = saved.size - sizes["buffers_bytes"] - sizes["head_bytes"]
    return {
        "images": len(test),
        "changed": changed,
        "more": int(changed > 0),
        "moved": float((before - after).abs().max()),
        "weights": sum(math.prod(shape) for shape in task.shapes.values()),
        "plain": rest + sizes["buffers_raw_bytes"] + sizes["head_raw_bytes"],
        "exact": rest + exact,
        "rounded": saved.size,
        "bits": used,
    }


def _numbers(masking: Masking, head: nn.Module) -> int:
    """Bytes of the coded numbers beside the masks."""
    return len(packed(own_state(masking))) + len(packed(dict(head.named_parameters())))


@lru_cache(maxsize=8)
def _backbone(model: str, profile: str, seed: int) -> Backbone:
    return backbones.load(model, profile, seed=seed)


@cache
def _test(profile: str, dataset: str) -> ImageSet:
    return data.load(profile, dataset, "test")


def _saved(path: Path, task: TaskFile, masking: Masking, head: nn.Module) -> TaskFile:
    """A task saved anew, which must give back what it was given; the mask is the same, and so is its code."""
    with patch.object(codec, "encode", lambda *unused, **named: task.coded):
        saved = maskfile.save(
            path,
            masking,
            head=head,
            classes=task.classes,
            preprocessing=task.preprocessing,
            score=task.score,
            architecture=task.backbone["architecture"],
            weights=task.backbone["weights"],
            options=task.backbone["options"],
            provenance=task.provenance,
        )
    held = own_state(masking) | dict(head.named_parameters())
    for name, value in held.items():
        if not torch.equal((saved.state | saved.head_state)[name], value):
            raise AssertionError(f"{name!r} of {task.provenance} came back as other numbers")
    return saved


if __name__ == "__main__":
    print(json.dumps(read(*sys.argv[1:])))
