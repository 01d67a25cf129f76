"""`submasking apply`: a task laid on its backbone as a plain checkpoint, and back to a mask file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from submasking.commands.backbone import INSTEAD, backbone_of, complete, of_trunk
from submasking.commands.options import add_bits, add_weights, place, require_place
from submasking.files import contents, store
from submasking.masking.masks import mask
from submasking.tasks import maskfile
from submasking.tasks.fingerprint import fingerprint
from submasking.tasks.heads import check_width
from submasking.tasks.rounding import round_off
from submasking.worlds import libraries

_HEAD, _KEY = "head.", "submasking.task"
_KINDS: dict[type, tuple[str, ...]] = {
    dict: ("backbone", "preprocessing", "score", "provenance"),
    list: ("masked", "trained", "classes"),
    str: ("rescale",),
}
ROUNDED = 2**-20  # relative: what theta / alpha may differ by from machine to machine


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Write the masked weights, norm buffers and head of a task as a plain safetensors checkpoint"
        " (names of the backbone, the head below head.). With --back make a mask file from such a checkpoint: a"
        " weight that is zero there and not in the backbone is off."
    )
    command.add_argument("file", type=place, help="a mask file; with --back a baked checkpoint")
    command.add_argument("--out", type=place, required=True, help="the file to write")
    command.add_argument("--back", action="store_true", help="from a baked checkpoint to a mask file")
    add_weights(command)
    add_bits(command)


def run(given: argparse.Namespace) -> int:
    """Write the file."""
    if given.bits and not given.back:
        raise ValueError(f"--bits rounds a mask file, so it belongs to --back; got {given.bits}; leave it out")
    require_place(given.out, contents.MASK_FILE if given.back else _KEY, file=given.file, weights=given.weights)
    (_back if given.back else _bake)(given)
    print(f"{given.out}: {given.out.stat().st_size:,} bytes")
    return 0


def _bake(given: argparse.Namespace) -> None:
    task = maskfile.load(given.file)
    network = backbone_of(task, given.weights)
    complete(network.trunk, task.state)
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
    kept = _described(given.file, metadata)
    wanted = kept["preprocessing"]
    network = libraries.build(
        kept["backbone"]["architecture"],
        given.weights,
        options=of_trunk(kept["backbone"]["options"]),
        size=wanted.get("size"),
        instead=INSTEAD,
    )
    actions = dict.fromkeys(kept["masked"], "mask") | dict.fromkeys(kept.get("trained", ()), "train")
    complete(network.trunk, {name: tensors[name] for name in kept["trained"] if name in tensors})
    now = network.trunk.state_dict()
    beside = [name for name in tensors if name.startswith(_HEAD) and name not in now]  # a ViT has a `head` of its own
    head = {name.removeprefix(_HEAD): tensors.pop(name) for name in beside}
    _require_same_names(given.file, tensors, now)
    _require_backbone(given.file, kept, now)
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


def _described(file: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """What `_bake` wrote beside the tensors; a file that comes from elsewhere may hold anything there."""
    if _KEY not in metadata:
        raise ValueError(
            f"with --back the file must be a checkpoint that `submasking apply` has baked; {file} is none; leave"
            " --back out for a mask file"
        )
    try:
        kept: dict[str, Any] = {"trained": []} | dict(json.loads(metadata[_KEY]))
        wrong = _wrong(kept)
    except (ValueError, TypeError, RecursionError) as error:
        kept, wrong = {}, str(error)
    if wrong:
        raise ValueError(
            f"{file} must say what `submasking apply` has written beside its tensors, but that is damaged ({wrong});"
            " bake the task again"
        )
    return kept


def _wrong(kept: dict[str, Any]) -> str:
    """The first entry that is missing or of another kind; "" where there is none."""
    wanted = [(name, kind) for kind, names in _KINDS.items() for name in names]
    odd = [name for name, kind in wanted if not isinstance(kept.get(name), kind)]
    if not odd:
        backbone = kept["backbone"]
        odd = [name for name in ("architecture", "weights", "fingerprint") if not isinstance(backbone.get(name), str)]
        odd += [] if isinstance(backbone.get("options"), dict) else ["options"]
        lists = ("masked", "trained", "classes")
        odd += [name for name in lists if not all(isinstance(each, str) for each in kept[name])]
    return f"{odd[0]} is missing or of another kind" if odd else ""


def _require_same_names(file: Path, tensors: dict[str, Tensor], now: dict[str, Tensor]) -> None:
    odd = [name for name in {**tensors, **now} if name not in tensors or name not in now]
    odd += [name for name in tensors if name in now and tensors[name].shape != now[name].shape]
    if odd:
        raise ValueError(
            f"a baked checkpoint must hold the tensors of its backbone; {odd[0]!r} in {file} is missing, one more, or"
            " of another shape; bake the task again"
        )


def _require_backbone(file: Path, kept: dict[str, Any], now: dict[str, Tensor]) -> None:
    """Refuse other weights first: over the baked ones themselves a mask with nothing off would do."""
    found = fingerprint({name: value for name, value in now.items() if name not in kept["trained"]})
    wanted = kept["backbone"]
    if found != wanted["fingerprint"]:
        raise ValueError(
            f"{file} must go back over the weights of its backbone, {wanted['weights'] or 'without a name'},"
            f" fingerprint {wanted['fingerprint'][:12]}; these have {found[:12]}; pass the --weights that it was baked"
            " over"
        )


def _require_same(file: Path, tensors: dict[str, Tensor], now: dict[str, Tensor], rtol: float) -> None:
    """Refuse what no mask over these weights makes, such as a checkpoint that was trained on."""
    odd = [
        name
        for name, value in tensors.items()
        if not torch.allclose(now[name], value.to(now[name].dtype), rtol=rtol, atol=0.0)
    ]
    if odd:
        raise ValueError(
            f"a baked checkpoint must be its backbone under a mask; {len(odd)} tensors of {file}, first {odd[0]!r}, are"
            " not; keep what was trained since as a plain checkpoint, or bake the task again"
        )


def _linear(head: dict[str, Tensor]) -> torch.nn.Linear | None:
    if not head:
        return None
    if head.keys() - {"weight", "bias"} or "weight" not in head or head["weight"].dim() != 2:
        raise ValueError(f"the head of a baked checkpoint must be a linear layer, got {sorted(head)}; bake it again")
    classes, width = head["weight"].shape
    linear = torch.nn.Linear(width, classes, bias="bias" in head)
    linear.load_state_dict(head)
    return linear
