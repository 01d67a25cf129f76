"""`submasking apply`: a task laid on its backbone as a plain checkpoint, and back to a mask file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from submasking.commands.backbone import backbone_of
from submasking.commands.options import add_bits, add_weights, require_place
from submasking.files import store
from submasking.masking.masks import mask
from submasking.tasks import maskfile
from submasking.tasks.heads import check_width
from submasking.tasks.rounding import round_off
from submasking.worlds import libraries

_HEAD, _KEY = "head.", "submasking.task"
ROUNDED = 2**-20  # relative: what theta / alpha may differ by from machine to machine


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
    add_bits(command)


def run(given: argparse.Namespace) -> int:
    """Write the file."""
    if given.bits and not given.back:
        raise ValueError(f"--bits rounds a mask file, so it belongs to --back; got {given.bits}; leave it out")
    require_place(given.out, file=given.file, weights=given.weights)
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
        "trained": list(task.trained),
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
    actions = dict.fromkeys(kept["masked"], "mask") | dict.fromkeys(kept.get("trained", ()), "train")
    _require_same_names(given.file, tensors, network.trunk.state_dict())
    masking = mask(network.trunk, lambda name, _: actions.get(name, "freeze"), rescale=kept["rescale"])
    masking.load_masks({name: (tensors[name] != 0) | (theta == 0) for name, theta in masking.frozen().items()})
    now = network.trunk.state_dict()
    with torch.no_grad():
        for name in masking.before():
            now[name].copy_(tensors[name])
    _require_same(given.file, tensors, now, ROUNDED if kept["rescale"] == "variance" else 0.0)
    linear, rounded = _linear(head), {}
    if given.bits:
        round_off(masking, linear, bits=given.bits)
        rounded = {"bits": given.bits}  # the score is still that from before
    maskfile.save(
        given.out,
        masking,
        head=linear,
        classes=kept["classes"],
        preprocessing=wanted,
        score=kept["score"],
        architecture=kept["backbone"]["architecture"],
        weights=kept["backbone"]["weights"],
        options=kept["backbone"]["options"],
        provenance=kept["provenance"] | rounded,
    )


def _require_same_names(file: Path, tensors: dict[str, Tensor], now: dict[str, Tensor]) -> None:
    odd = [name for name in {**tensors, **now} if name not in tensors or name not in now]
    odd += [name for name in tensors if name in now and tensors[name].shape != now[name].shape]
    if odd:
        raise ValueError(
            f"a baked checkpoint must hold the tensors of its backbone; {odd[0]!r} in {file} is missing, one more, or"
            " of another shape; bake the task again"
        )


def _require_same(file: Path, tensors: dict[str, Tensor], now: dict[str, Tensor], rtol: float) -> None:
    """Refuse what no mask over these weights makes: other weights, or a checkpoint that was trained on."""
    odd = [
        name
        for name, value in tensors.items()
        if not torch.allclose(now[name], value.to(now[name].dtype), rtol=rtol, atol=0.0)
    ]
    if odd:
        raise ValueError(
            f"a baked checkpoint must be its backbone under a mask; {len(odd)} tensors of {file}, first {odd[0]!r}, are"
            " not; pass the --weights that it was baked over, and keep what was trained since as a plain checkpoint"
        )


def _linear(head: dict[str, Tensor]) -> torch.nn.Linear | None:
    if not head:
        return None
    classes, width = head["weight"].shape
    linear = torch.nn.Linear(width, classes, bias="bias" in head)
    linear.load_state_dict(head)
    return linear
