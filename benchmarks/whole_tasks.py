"""Whole task files of a finished grid, coded and rounded: `python -m benchmarks whole_tasks`.

Each file is laid on its backbone and saved anew, first as it is, then rounded (`submasking.round_off` as it comes).
What is saved must be what the model holds, bit for bit; test images are classified before and after rounding.
"""

import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.process import fresh
from benchmarks.round_trips import PROFILE, folder, models
from submasking import Masking, TaskFile, maskfile, round_off
from submasking.learning.evaluate import features
from submasking.tasks.taskfile import own_state
from submasking.worlds import backbones
from submasking.worlds import datasets as data

Found = dict[str, Any]


def measure(profile: str = PROFILE) -> list[Found]:
    """Return a row for each model and one for all: sizes of whole files, and what rounding has changed."""
    found = {model: fresh("benchmarks.whole_tasks", profile, model) for model in models(profile)}
    return [_row(*each) for each in (*found.items(), ("all", [one for files in found.values() for one in files]))]


def _row(model: str, files: Sequence[Found]) -> Found:
    sums = {
        key: sum(one[key] for one in files) for key in ("weights", "plain", "exact", "rounded", "images", "changed")
    }
    return {
        "model": model,
        "files": len(files),
        "plain_kb": round(sums["plain"] / len(files) / 1000, 2),
        "exact": round(sums["exact"] / sums["plain"], 4),
        "rounded": round(sums["rounded"] / sums["plain"], 4),
        "largest": round(max(one["rounded"] / one["plain"] for one in files), 4),
        "bits_plain": round(8 * sums["plain"] / sums["weights"], 4),
        "bits_rounded": round(8 * sums["rounded"] / sums["weights"], 4),
        "images": sums["images"],
        "changed": sums["changed"],
        "moved": max(one["moved"] for one in files),
    }


def read(profile: str, model: str) -> list[Found]:
    """What each mask file of a model gives in this process."""
    with tempfile.TemporaryDirectory() as place:
        files = sorted((folder(profile) / model).rglob("*.safetensors"))
        return [_one(profile, model, path, Path(place) / "task") for path in files]


@torch.no_grad()
def _one(profile: str, model: str, path: Path, again: Path) -> Found:
    backbone = backbones.load(model, profile, seed=int(path.stem.rpartition("-seed")[2]))
    task = maskfile.load(path)
    masking, head = task.apply(backbone.trunk.eval()), task.head(backbone.text_head)
    test = data.load(profile, path.parent.name, "test")

    def outputs() -> torch.Tensor:
        found = features(backbone.trunk, test, backbone.normalise)
        return found if head is None else head(found)

    before, exact = outputs(), _saved(again, task, masking, head)
    round_off(masking, head)
    after, rounded = outputs(), _saved(again, task, masking, head)
    judged = head is not None
    return {
        "weights": sum(math.prod(shape) for shape in task.shapes.values()),
        "plain": _plain(exact),
        "exact": exact.size,
        "rounded": rounded.size,
        "images": len(test) if judged else 0,
        "changed": int((before.argmax(1) != after.argmax(1)).sum()) if judged else 0,
        "moved": float((before - after).abs().max()) if judged else 0.0,
    }


def _saved(path: Path, task: TaskFile, masking: Masking, head: nn.Module | None) -> TaskFile:
    """A task saved anew, which must give back what it was given."""
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
    held = {} if task.head_kind != "linear" or head is None else head.state_dict()
    for name, value in (own_state(masking) | held).items():
        if not torch.equal((saved.state | saved.head_state)[name], value):
            raise AssertionError(f"{name!r} of {task.provenance} came back as other numbers")
    return saved


def _plain(task: TaskFile) -> int:
    """Bytes of a file in which numbers stand as they are."""
    sizes = task.sizes()
    coded, raw = (sizes[f"buffers{kind}"] + sizes[f"head{kind}"] for kind in ("_bytes", "_raw_bytes"))
    return task.size - coded + raw


if __name__ == "__main__":
    print(json.dumps(read(*sys.argv[1:])))
