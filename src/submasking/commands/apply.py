"""`submasking apply`: a task laid on its backbone as a plain checkpoint, and back to a mask file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from submasking.commands.backbone import backbone_of
from submasking.commands.options import add_weights
from submasking.files import store
from submasking.masking.masks import mask
from submasking.tasks import maskfile
from submasking.tasks.heads import check_width
from submasking.worlds import libraries

_HEAD, _KEY = "head.", "submasking.task"


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Write the masked weights, norm buffers and head of a task as a plain safetensors checkpoint"
        " (names of the backbone, the head below head.). With --back make a mask file from such a checkpoint: a"
        " weight that is zero there and not in the backbone is off."
    )
    command.add_argument("file", type=Path, help="a mask file; with --back a baked checkpoint")
    command.add_argument("--out", type=Path, required=True, help="the file to write")
    command.add_argument("--back", action="store_true", help="from a baked checkpoint to a mask file")
    add_weights(command)


def run(given: argparse.Namespace) -> int:
    """Write the file."""
    (_back if given.back else _bake)(given)
    print(f"{given.out}: {given.out.stat().st_size:,} bytes")
    return 0


def _bake(given: argparse.Namespace) -> None:
    task = maskfile.load(given.file)
    network = backbone_of(task, given.weights)
    if task.head_kind == "linear":
        check_width(task.head(), network.width)
    model = task.apply(network.trunk).bake()
    kept = {
        "backbone": task.backbone,
        "masked": list(task.shapes),
        "rescale": task.rescale,
        "classes": list(task.classes),
        "preprocessing": task.preprocessing,
        "score": task.score,
        "provenance": task.provenance,
    }
    tensors = dict(model.state_dict()) | {_HEAD + name: value for name, value in task.head_state.items()}
    store.save(given.out, tensors, {_KEY: json.dumps(kept)})


def _back(given: argparse.Namespace) -> None:
    tensors, metadata = store.read(given.file)
    if _KEY not in metadata:
        raise ValueError(
            f"with --back the file must be a checkpoint that `submasking apply` has baked; {given.file} is none; leave"
            " --back out for a mask file"
        )
    kept = json.loads(metadata[_KEY])
    wanted = kept["preprocessing"]
    network = libraries.build(
        kept["backbone"]["architecture"], given.weights, options=kept["backbone"]["options"], size=wanted.get("size")
    )
    head = {name.removeprefix(_HEAD): tensors.pop(name) for name in list(tensors) if name.startswith(_HEAD)}
    masked = set(kept["masked"])
    masking = mask(network.trunk, lambda name, _: "mask" if name in masked else "freeze", rescale=kept["rescale"])
    masking.load_masks({name: (tensors[name] != 0) | (theta == 0) for name, theta in masking.frozen().items()})
    now = network.trunk.state_dict()
    with torch.no_grad():
        for name in masking.before():
            if name in tensors and name in now:
                now[name].copy_(tensors[name])
    maskfile.save(
        given.out,
        masking,
        head=_linear(head),
        classes=kept["classes"],
        preprocessing=wanted,
        score=kept["score"],
        architecture=kept["backbone"]["architecture"],
        weights=kept["backbone"]["weights"],
        options=kept["backbone"]["options"],
        provenance=kept["provenance"],
    )


def _linear(head: dict[str, Tensor]) -> torch.nn.Linear | None:
    if not head:
        return None
    classes, width = head["weight"].shape
    linear = torch.nn.Linear(width, classes, bias="bias" in head)
    linear.load_state_dict(head)
    return linear
