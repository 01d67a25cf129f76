"""`submasking mask`: train a mask, and a head, for a folder of images on a frozen backbone."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from submasking.commands import inspect
from submasking.commands.options import (
    add_bits,
    add_device,
    add_json,
    add_weights,
    pair,
    place,
    require_no_loop,
    require_place,
)
from submasking.experiments.run import SPLITS
from submasking.experiments.sole import holding_file
from submasking.files import contents, identity
from submasking.learning.adapt import Adapted, adapt
from submasking.learning.backbone import Backbone
from submasking.learning.device import PRECISIONS, choose
from submasking.learning.evaluate import features, top1
from submasking.learning.images import ImageSet
from submasking.masking.selection import PRESETS
from submasking.records.profiles import Optimisation
from submasking.records.surroundings import commit
from submasking.tasks import maskfile
from submasking.tasks.rounding import round_off
from submasking.worlds import folder, libraries
from submasking.worlds.told import require_channels

SETTINGS = (
    "model", "options", "size", "select", "from_stage", "versions", "epochs", "lr", "head_lr", "warmup", "batch_size",
    "seed", "rescale", "init", "norms", "precision", "head", "bits",
)  # fmt: skip
STARTS = ("constant", "magnitude", "squared")  # those that suit a threshold


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Learn which weights of a frozen backbone to switch off for the classes of an image folder"
        " (train/<class>/*, and test/<class>/* for the score). Both are read and checked before training; hidden files"
        " are passed over, and what else is no picture by its name is counted on stderr. After every epoch a checkpoint"
        " is written beside the output; after an interruption the same command, without --restart, goes on from it."
    )
    command.add_argument("folder", type=place, help="holds train/ and perhaps test/, one folder per class in each")
    command.add_argument(
        "--model", required=True, help="timm:NAME, torchvision:NAME, open_clip:NAME or efficientnet-lite0"
    )
    command.add_argument(
        "--out",
        type=place,
        required=True,
        metavar="FILE",
        help="the mask file to write, in place of a mask file that is there",
    )
    command.add_argument("--option", dest="options", type=pair, action="append", default=[], metavar="NAME=VALUE",
                         help="passed to timm's constructor, such as pad_type=same")  # fmt: skip
    add_weights(command)
    command.add_argument("--head", choices=libraries.HEADS, default="auto",
                         help="text: CLIP's, by the classes' names; auto: that where there is one")  # fmt: skip
    command.add_argument("--size", type=int, help="side of the images in pixels; none: the model's own")
    for kind in ("mean", "std"):
        command.add_argument(f"--{kind}", type=float, nargs=3, metavar="X", help="per channel; none: the model's own")
    command.add_argument("--select", choices=PRESETS, default="auto", help="which parameters are masked")
    command.add_argument("--from-stage", default="", metavar="NAME",
                         help="the first module that learns, such as layer3 or blocks.3; none: all learn")  # fmt: skip
    command.add_argument("--versions", type=int, default=0, metavar="N",
                         help="augmented versions of each image, for which what the frozen stages give is kept; 0: new"
                         " ones in each epoch")  # fmt: skip
    command.add_argument("--cache", type=float, default=2.0, metavar="GIB", help="most memory for what is kept")
    command.add_argument("--rescale", choices=("none", "variance"), default="none", help="see the method's page")
    command.add_argument("--init", choices=STARTS, default="constant",
                         help="start of the scores; squared follows fine-tuning and needs an --lr")  # fmt: skip
    command.add_argument("--norms", choices=("adapt", "freeze"), default="adapt",
                         help="statistics of batch norms: they follow the images, or are held, which stores none"
                         " and needs an --lr some hundred times smaller")  # fmt: skip
    command.add_argument("--epochs", type=int, default=20)
    command.add_argument(
        "--lr", type=float, help="of the scores; none: 50, or 10 for a transformer, but not for a squared start"
    )
    command.add_argument("--head-lr", type=float, default=0.1, help="of the head")
    command.add_argument("--warmup", type=float, default=0.25, help="share of training")
    command.add_argument("--batch-size", type=int, default=64)
    command.add_argument("--seed", type=int, default=0)
    add_device(command)
    command.add_argument("--precision", choices=PRECISIONS, default="float32",
                         help="of training; bfloat16 is faster on a GPU of today, and another result")  # fmt: skip
    add_bits(command, ", or as many more as leave each test image (or training image) its class")
    command.add_argument("--restart", action="store_true", help="forget the checkpoint of an earlier run")
    command.add_argument("--quiet", action="store_true", help="show no progress")
    add_json(command)


def run(given: argparse.Namespace) -> int:
    """Train, write the mask file, print a report."""
    _require_place(given)
    with holding_file(given.out):
        return _run(given)


def _run(given: argparse.Namespace) -> int:
    if given.size is not None and given.size < 1:
        raise ValueError(f"--size must be at least 1, got {given.size}; leave it out for the network's own")
    _require_numbers(given)
    _require_options([name for name, _ in given.options])
    given.device = choose(given.device)
    if given.lr is None and (given.init == "squared" or given.norms == "freeze"):
        # the usual rates are for a constant start and statistics that follow: with others they ruin the network
        named = "--init squared" if given.init == "squared" else "--norms freeze"
        raise ValueError(
            f"{named} must have an --lr of its own, the usual ones are for the constant start and norms that adapt; got"
            " none; pass one of fine-tuning, such as --lr 0.01"
        )
    backbone = libraries.build(
        given.model,
        given.weights,
        options=dict(given.options),
        size=given.size,
        mean=tuple(given.mean) if given.mean else None,
        std=tuple(given.std) if given.std else None,
        head=given.head,
    )
    splits = ("train", "test") if (given.folder / "test").is_dir() else ("train",)
    if "test" not in splits and (others := [name for name in folder.OTHERS if (given.folder / name).is_dir()]):
        folder.on_stderr(f"submasking mask: {others[0]}/ is not looked at; the score is of test/, which is not there")
    images = folder.load_all(given.folder, splits, backbone.size)  # all is read before anything is trained
    content = identity.of_folder(given.folder, SPLITS)
    plan = Optimisation(
        lr=_usual_lr(backbone) if given.lr is None else given.lr,
        epochs=given.epochs,
        warmup=given.warmup,
        head_lr=given.head_lr,
        norms=given.norms,
    )
    checkpoint = _checkpoint(given.out)
    # standard output is for the report: who has read enough of it, or takes JSON from it, has no part in training
    with _going_on(checkpoint, given.restart), redirect_stdout(sys.stderr):
        _train(given, backbone, images, plan, checkpoint, content)
    checkpoint.unlink(missing_ok=True)
    inspect.run(argparse.Namespace(file=given.out, json=given.json))
    return 0


def _checkpoint(out: Path) -> Path:
    return out.with_name(out.name + ".checkpoint")


@contextmanager
def _going_on(checkpoint: Path, restart: bool) -> Iterator[None]:
    """Say with an interruption how to go on, where a checkpoint of this very training is there."""
    before = _state(checkpoint) if restart else None
    try:
        yield
    except KeyboardInterrupt:
        if _state(checkpoint) in (None, before):
            raise
        same = "the same command without --restart" if restart else "the same command"
        raise KeyboardInterrupt(f"interrupted; {same} goes on after the last whole epoch") from None


def _state(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written anew; None where there is none."""
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None


def _train(
    given: argparse.Namespace,
    backbone: Backbone,
    images: dict[str, ImageSet],
    plan: Optimisation,
    checkpoint: Path,
    content: str,
) -> None:
    """Train, and write the mask file."""
    adapted = adapt(
        backbone,
        images["train"],
        "FS",
        plan,
        batch_size=given.batch_size,
        select=given.select,
        from_stage=given.from_stage,
        versions=given.versions,
        cache_bytes=int(given.cache * 2**30),
        rescale=given.rescale,
        init=given.init,
        seed=given.seed,
        precision=given.precision,
        device=given.device,
        checkpoint=checkpoint,
        checkpoint_seconds=0.0,
        restart=given.restart,
        label=given.out.name,
        progress=not given.quiet and not given.json,
    )
    save = partial(_save, given, backbone, adapted, images["train"], content, {"lr": plan.lr})
    save({})  # first of all: whatever happens from here on, the training is kept
    if given.bits:
        _round(given, backbone, adapted, images.get("test", images["train"]))
        save({})
    if "test" in images:
        save(_scored(given, backbone, adapted, images["test"]))


def _require_numbers(given: argparse.Namespace) -> None:
    """Refuse what no training could use, before the network is built."""
    ranges = {
        "--cache": (given.cache, 0 <= given.cache < math.inf, "a finite number of GiB, at least 0"),
        "--head-lr": (given.head_lr, 0 <= given.head_lr < math.inf, "a finite number, at least 0"),
        "--seed": (given.seed, -(2**63) <= given.seed < 2**64, "a whole number of at most 64 bits"),
        "--mean": (given.mean, all(map(math.isfinite, given.mean or ())), "three finite numbers"),
        "--std": (given.std, all(0 < each < math.inf for each in given.std or ()), "three finite numbers above 0"),
    }
    for name, (value, fits, wanted) in ranges.items():
        if not fits:
            raise ValueError(f"{name} must be {wanted}, got {value}; leave it out for the usual one")
    for name, numbers in (("mean", given.mean), ("std", given.std)):
        require_channels(name, numbers or ())


def _require_options(names: list[str]) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"each --option must be said once; got {twice[0]!r} twice; leave one out")
    if beside := [name for name in ("mean", "std") if name in names]:
        raise ValueError(f"an --option must be of the network; got {beside[0]!r}; say it as --{beside[0]} X X X")


def _require_place(given: argparse.Namespace) -> None:
    """Refuse before training what could not be written after it."""
    require_no_loop(given.out)
    if _checkpoint(given.out).is_dir():
        raise ValueError(
            f"{_checkpoint(given.out)}, where checkpoints of the training go, must be a file, it is a folder; move it"
            " away, or name another --out"
        )
    for split in SPLITS:  # here a file of any name may be one of the pictures, or become one
        if given.out.resolve().is_relative_to((given.folder / split).resolve()):
            raise ValueError(
                f"--out must lie outside the pictures, got {given.out} in {given.folder / split}; name a file elsewhere"
            )
    require_place(given.out, contents.MASK_FILE, weights=given.weights)
    if given.out.exists():
        folder.on_stderr(f"submasking mask: {given.out} is there already; it will be replaced after training")


def _save(
    given: argparse.Namespace,
    backbone: Backbone,
    adapted: Adapted,
    train: ImageSet,
    content: str,
    chosen: dict[str, Any],
    score: dict[str, float],
) -> None:
    assert adapted.masking is not None  # FS learns masks
    assert adapted.head is not None  # with labels
    maskfile.save(
        given.out,
        adapted.masking,
        head=adapted.head.cpu(),
        classes=train.classes,
        preprocessing=backbone.preprocessing,
        score=score,
        architecture=backbone.architecture,
        weights=backbone.weights,
        options=backbone.options,
        provenance={
            "dataset": given.folder.resolve().name,
            "data": content,
            "method": "FS",
            "images": len(train),
            "recipe": _settings(given) | chosen,
            "commit": commit(),
        },
    )


def _settings(given: argparse.Namespace) -> dict[str, Any]:
    """What the mask was trained with."""
    settings = {name: getattr(given, name) for name in SETTINGS}
    return json.loads(json.dumps(settings | {"options": dict(given.options)}))


def _usual_lr(backbone: Backbone) -> float:
    """The paper's learning rates: 10 for a transformer, 50 for the others."""
    return 10.0 if any(isinstance(module, nn.LayerNorm) for module in backbone.trunk.modules()) else 50.0


def _round(given: argparse.Namespace, backbone: Backbone, adapted: Adapted, images: ImageSet) -> None:
    """Round the task, with enough bits for all images to keep the class that they are given."""
    assert adapted.masking is not None  # FS learns masks
    classes = lambda: _logits(given, backbone, adapted, images).argmax(1)  # noqa: E731
    try:
        round_off(adapted.masking, adapted.head, bits=given.bits, keep=classes)
    except Exception as error:  # such as a device that is full
        raise ValueError(
            f"{given.out} is written, but not rounded: it could not be ({error}); the mask in it is whole"
        ) from error


@torch.inference_mode()
def _logits(given: argparse.Namespace, backbone: Backbone, adapted: Adapted, images: ImageSet) -> Tensor:
    assert adapted.head is not None
    return adapted.head(features(adapted.trunk, images, backbone.normalise, device=given.device))


def _scored(given: argparse.Namespace, backbone: Backbone, adapted: Adapted, test: ImageSet) -> dict[str, float]:
    """Accuracy on the test images."""
    try:
        return {"top1": top1(_logits(given, backbone, adapted, test), test.labels)}
    except Exception as error:  # such as a device that is full
        raise ValueError(
            f"{given.out} is written, but without a score: it could not be had ({error}); the mask in it is whole"
        ) from error
