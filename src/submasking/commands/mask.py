"""`submasking mask`: train a mask, and a head, for a folder of images on a frozen backbone."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from submasking import architecture, maskfile, results
from submasking.adaptation import MOMENTUM, sgd
from submasking.architecture import Network
from submasking.commands import inspect
from submasking.commands.options import add_json, add_weights, pair
from submasking.data import ImageSet, augment, folder
from submasking.evaluate import features, top1
from submasking.heads import linear_head
from submasking.masks import Masking
from submasking.masks import mask as masked
from submasking.selection import PRESETS
from submasking.train import Batches, cosine, fit

SETTINGS = ("model", "options", "size", "select", "epochs", "lr", "head_lr", "warmup", "batch_size", "seed", "rescale")


def add(commands: Any) -> None:
    """Describe the command."""
    command = commands.add_parser(
        "mask",
        help="train a mask for a folder of images",
        description="Learn which weights of a frozen backbone to switch off for the classes of an image folder"
        " (train/<class>/*, and test/<class>/* for the score). After every epoch a checkpoint is written beside the"
        " output; the same command goes on from it after an interruption.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.add_argument("folder", type=Path, help="holds train/ and perhaps test/, one folder per class in each")
    command.add_argument("--model", required=True, help="timm:NAME or open_clip:NAME")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="the mask file to write")
    command.add_argument("--option", dest="options", type=pair, action="append", default=[], metavar="NAME=VALUE",
                         help="passed to timm's constructor, such as pad_type=same")  # fmt: skip
    add_weights(command)
    command.add_argument("--size", type=int, help="side of the images in pixels; none: the model's own")
    for kind in ("mean", "std"):
        command.add_argument(f"--{kind}", type=float, nargs=3, metavar="X", help="per channel; none: the model's own")
    command.add_argument("--select", choices=[*PRESETS, "auto"], default="auto", help="which parameters are masked")
    command.add_argument("--rescale", choices=("none", "variance"), default="none", help="see the method's page")
    command.add_argument("--epochs", type=int, default=20)
    command.add_argument("--lr", type=float, help="of the scores; none: 50, or 10 for a transformer")
    command.add_argument("--head-lr", type=float, default=0.1, help="of the head")
    command.add_argument("--warmup", type=float, default=0.25, help="share of training")
    command.add_argument("--batch-size", type=int, default=64)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    command.add_argument("--restart", action="store_true", help="forget the checkpoint of an earlier run")
    command.add_argument("--quiet", action="store_true", help="show no progress")
    add_json(command)
    command.set_defaults(run=run, after="; the same command goes on after the last whole epoch")


@dataclass
class Setup:
    """What is trained, on what."""

    network: Network
    masking: Masking
    head: nn.Module
    train: ImageSet
    lr: float


def run(given: argparse.Namespace) -> int:
    """Train, write the mask file, print a report."""
    checkpoint = _checkpoint(given)
    setup = _prepared(given)
    _trained(given, setup, checkpoint)
    score = _scored(given, setup)
    maskfile.save(
        given.out,
        setup.masking,
        head=setup.head.cpu(),
        classes=setup.train.classes,
        preprocessing={"size": setup.network.size, "mean": setup.network.mean, "std": setup.network.std},
        score=score,
        architecture=given.model,
        weights=given.weights.name if given.weights else "pretrained",
        options=dict(given.options),
        provenance={
            "dataset": given.folder.resolve().name,
            "method": "FS",
            "images": len(setup.train),
            "recipe": _settings(given) | {"lr": setup.lr},
            "commit": results.commit(),
        },
    )
    _described(checkpoint).unlink(missing_ok=True)
    inspect.run(argparse.Namespace(file=given.out, json=given.json))
    return 0


def _settings(given: argparse.Namespace) -> dict[str, Any]:
    """What a resumed run must have in common with the one before."""
    settings = {name: getattr(given, name) for name in SETTINGS}
    return json.loads(json.dumps(settings | {"options": dict(given.options)}))


def _checkpoint(given: argparse.Namespace) -> Path:
    """Where training goes on from; a checkpoint of other settings is refused."""
    checkpoint = given.out.with_name(given.out.name + ".checkpoint")
    described = _described(checkpoint)
    if given.restart:
        checkpoint.unlink(missing_ok=True)
    settings = json.dumps(_settings(given) | {"folder": str(given.folder.resolve())}, sort_keys=True)
    if checkpoint.exists() and (not described.exists() or described.read_text(encoding="utf-8") != settings):
        raise ValueError(f"{checkpoint} is of a run with other settings; repeat those, or add --restart to forget it")
    results.write_atomically(described, settings)
    return checkpoint


def _described(checkpoint: Path) -> Path:
    return checkpoint.with_name(checkpoint.name + ".json")


def _prepared(given: argparse.Namespace) -> Setup:
    mean, std = (tuple(values) if values else None for values in (given.mean, given.std))
    network = architecture.build(
        given.model, given.weights, options=dict(given.options), size=given.size, mean=mean, std=std
    )
    train = folder.load(given.folder, "train", network.size)
    network.trunk.to(given.device)
    select = network.preset if given.select == "auto" else given.select
    masking = masked(network.trunk, select=select, rescale=given.rescale, seed=given.seed)
    head = linear_head(network.width, len(train.classes), seed=given.seed).to(given.device)
    return Setup(network, masking, head, train, given.lr or (10.0 if network.preset == "vit" else 50.0))


def _trained(given: argparse.Namespace, setup: Setup, checkpoint: Path) -> None:
    network, head = setup.network, setup.head

    def step_loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        return nn.functional.cross_entropy(head(network.trunk(images)), labels)

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        return network.normalise(augment.supervised(images, generator, augment.PHOTOS))

    loader = Batches(setup.train, given.batch_size, transform, seed=given.seed, device=given.device)
    optimizers = [setup.masking.optimizer(lr=setup.lr, momentum=MOMENTUM), sgd(head, given.head_lr, 0.0)]
    network.trunk.train()
    fit(
        step_loss,
        loader,
        optimizers,
        epochs=given.epochs,
        schedule=cosine(given.warmup),
        state={"trunk": network.trunk, "head": head, "loader": loader},
        checkpoint=checkpoint,
        checkpoint_seconds=0.0,
        label=given.out.name,
        progress=not given.quiet and not given.json,
    )


def _scored(given: argparse.Namespace, setup: Setup) -> dict[str, float]:
    """Accuracy on the test folder where there is one."""
    setup.network.trunk.eval()
    if not (given.folder / "test").is_dir():
        return {}
    test = folder.load(given.folder, "test", setup.network.size)
    found = features(setup.network.trunk, test, setup.network.normalise, device=given.device)
    with torch.inference_mode():
        return {"top1": top1(setup.head(found.to(given.device)).cpu(), test.labels)}
