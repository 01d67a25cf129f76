"""What rounding leaves of the theorems: equivalent settings trained on real images, in three number formats.

The draft asks for experimental evidence beside the proof; the published supplement compares (lr 50, S0 1, mu 0) with
(100, 2.5, 0.5). Here each is compared with its own reference, the run (lr, 1, 0) in the same number format.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from submasking.experiments.invariance.rules import SGD
from submasking.experiments.invariance.setup import Setup, scale, translate
from submasking.experiments.methods import STYLES
from submasking.experiments.run import identity_of, name_of, require_seed
from submasking.files import identity
from submasking.learning.adapt import MOMENTUM, head_for, sgd
from submasking.learning.backbone import Backbone
from submasking.learning.batches import Batches
from submasking.learning.evaluate import features, top1
from submasking.learning.images import ImageSet
from submasking.learning.train import cosine, fit
from submasking.learning.versions import augmented
from submasking.masking.criteria import Threshold
from submasking.masking.masks import Masking, mask
from submasking.masking.optimizer import MaskSGD, update
from submasking.records import results
from submasking.records.places import results_folder
from submasking.records.profiles import Optimisation, profile, settings
from submasking.records.results import Record
from submasking.records.surroundings import surroundings
from submasking.worlds import backbones, datasets, origin

METHOD = "invariance"


class Usual(NamedTuple):
    """The settings of the grid's run."""

    lr: float = 50.0
    epochs: int = 4
    images: int = 1088


USUAL = Usual()
REFERENCE = "reference"
# the runs of other number formats than float32, which has all
FORMATS = {
    "bfloat16": (REFERENCE, "scaled by 2", "both"),
    "float64": (REFERENCE, "both", "shifted by 1000"),
}


@dataclass(frozen=True)
class Variant:
    """One run: what it changes, its setting, the number format of scores and velocity, and whether theory equates it.

    The network itself computes in float32 in every run, so that equal masks mean equal gradients, bit for bit.
    """

    name: str
    lr: float
    start: float
    mu: float
    dtype: str = "float32"
    equivalent: bool = True
    seed_shift: int = 0

    @property
    def key(self) -> str:
        """Name of the run in the record: number format and name."""
        return f"{self.dtype} {self.name}"


def variants(lr: float = 50.0) -> tuple[Variant, ...]:
    """Return the runs of the experiment; the first of each number format is the reference of its format."""
    base = Setup(SGD(lr), 1.0, 0.0)
    both = translate(scale(base, 2.0), 0.5)
    found = [
        _variant(REFERENCE, base),
        _variant("repeated", base),
        _variant("scaled by 2", scale(base, 2.0)),
        _variant("scaled by 3", scale(base, 3.0)),
        _variant("shifted by 0.5", translate(base, 0.5)),
        _variant("both", both),
        _variant("shifted by 1000", translate(base, 1000.0)),
        replace(_variant("learning rate only", replace(base, rule=both.rule)), equivalent=False),
        replace(_variant("initial score only", replace(base, start=both.start)), equivalent=False),
        replace(_variant("threshold only", replace(base, threshold=both.threshold)), equivalent=False),
        replace(_variant("another seed", base), equivalent=False, seed_shift=1),
    ]
    by_name = {variant.name: variant for variant in found}
    for dtype, names in FORMATS.items():
        found += [replace(by_name[name], dtype=dtype) for name in names]
    return tuple(found)


def _variant(name: str, setup: Setup) -> Variant:
    return Variant(name, setup.rule.lr, setup.start, setup.threshold)


@dataclass(frozen=True)
class Outcome:
    """Of one run: packed masks before each step and after the last, loss of each step, accuracy, sparsity."""

    masks: list[np.ndarray]
    losses: list[float]
    top1: float
    sparsity: float
    weights: int

    def differing(self, other: Outcome) -> list[float]:
        """Share of mask bits, in [0, 1], that differ from another run's, at each step."""
        pairs = zip(self.masks, other.masks, strict=True)
        return [float(np.bitwise_count(one ^ two).sum()) / self.weights for one, two in pairs]


class Narrow(MaskSGD):
    """The masks' optimizer with scores and velocity in a number format narrower than float32.

    The library widens such scores, since steps of usual size would round to nothing. Here the tensors are float32 too,
    but each operation of a step is done in the narrow format, and they hold no other values.
    """

    def __init__(self, masking: Masking, lr: float, momentum: float, dtype: torch.dtype) -> None:
        super().__init__(masking, lr=lr, momentum=momentum)
        self.dtype = dtype

    def _update(self, *arguments: Any) -> None:
        parameter, gradient, frozen, scores, velocity, *rest = arguments
        narrow = scores.to(self.dtype), velocity.to(self.dtype)
        update(parameter, gradient, frozen, *narrow, *rest)
        scores.copy_(narrow[0])
        velocity.copy_(narrow[1])


def masked_trunk(backbone: Backbone, variant: Variant) -> tuple[nn.Module, Masking, MaskSGD]:
    """Return a copy of the backbone, masked, and an optimizer of the scores in the variant's number format."""
    trunk, dtype = copy.deepcopy(backbone.trunk), getattr(torch, variant.dtype)
    masking = mask(trunk, backbone.preset, Threshold(variant.mu), init=variant.start)
    if dtype.itemsize < torch.float32.itemsize:
        return trunk, masking, Narrow(masking, variant.lr, MOMENTUM, dtype)
    for scores in masking.scores().values():
        scores.data = scores.data.to(dtype)
    return trunk, masking, masking.optimizer(lr=variant.lr, momentum=MOMENTUM)


def packed(masking: Masking) -> np.ndarray:
    """Return all mask bits, eight to a byte."""
    return np.packbits(torch.cat([bits.flatten() for bits in masking.masks().values()]).numpy())


def observe(
    variant: Variant, backbone: Backbone, train: ImageSet, test: ImageSet, plan: Optimisation, name: str, seed: int
) -> Outcome:
    """Train one variant as FS does and watch its masks; `name` is the profile's."""
    seed += variant.seed_shift
    trunk, masking, optimizer = masked_trunk(backbone, variant)
    head = head_for(backbone, train.classes, seed)
    optimizers: list[torch.optim.Optimizer] = [optimizer]
    if any(parameter.requires_grad for parameter in head.parameters()):
        optimizers.append(sgd(head, plan.head_lr, plan.head_weight_decay))
    chosen = profile(name)
    loader = Batches(train, chosen.batch_size, augmented(backbone, STYLES[chosen.photographs, True]), seed=seed)
    masks: list[np.ndarray] = []
    losses: list[float] = []

    def step_loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        masks.append(packed(masking))
        loss = nn.functional.cross_entropy(head(trunk(images)), labels)
        losses.append(loss.item())
        return loss

    trunk.train()
    fit(step_loss, loader, optimizers, epochs=plan.epochs, schedule=cosine(plan.warmup), progress=False)
    masks.append(packed(masking))
    with torch.inference_mode():
        accuracy = top1(head(features(trunk, test, backbone.normalise)), test.labels)
    return Outcome(masks, losses, accuracy, masking.sparsity(), sum(each.numel() for each in masking.scores().values()))


def compare(outcome: Outcome, reference: Outcome, window: int) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Return metrics and series of a run against its reference; `window` steps at the end average the loss."""
    share = outcome.differing(reference)
    first = next((step for step, value in enumerate(share) if value > 0), len(share))
    end = [float(np.mean(run.losses[-window:])) for run in (outcome, reference)]
    metrics = {
        "top1": outcome.top1,
        "sparsity": outcome.sparsity,
        "differing": share[-1],
        "identical_steps": float(first),
        "first_bits": share[first] * outcome.weights if first < len(share) else 0.0,
        "loss_gap": abs(end[0] - end[1]),
    }
    return metrics, {"differing": share, "loss": outcome.losses}


def recipe(
    name: str, model: str, lr: float, epochs: int, images: int, weights: str = "", options: str = ""
) -> dict[str, Any]:
    """Return every hyper-parameter of the experiment, as the record stores it.

    Raises:
        ValueError: for an unknown profile or model, or a number out of its range.
    """
    for what, value in (("lr", lr), ("epochs", epochs), ("images", images)):
        if not value > 0:
            raise ValueError(f"{what} must be positive; got {value}: the notebook's parameters say what is usual")
    chosen = settings(name, "FS", model) | {"lr": lr, "epochs": epochs, "momentum": MOMENTUM, "train_images": images}
    pretraining = origin.of(model, name, weights=weights, options=options)
    chosen |= {"variants": [asdict(variant) for variant in variants(lr)], "pretraining": pretraining}
    return json.loads(json.dumps(chosen))


def variant_of(name: str, wanted: dict[str, Any]) -> str:
    """What sets a try apart from the experiment of the grid: "" for the usual settings, else a hash of the recipe."""
    usual = {"lr": USUAL.lr, "epochs": USUAL.epochs, "train_images": USUAL.images}
    return identity.short(wanted) if name == "images" or wanted != wanted | usual else ""


def training_images(name: str, dataset: str, images: int) -> ImageSet:
    """Return at most that many training images: the first of a rendered set, evenly spread ones of photographs.

    A rendered set is in random order; a folder, and most of the paper's sets, are in order of their classes, so that
    the first images are of few classes.
    """
    train = datasets.load(name, dataset, "train")
    count = min(images, len(train))
    chosen = torch.arange(count)
    return train.subset(chosen * len(train) // count if profile(name).photographs else chosen)


def run(
    name: str, model: str, dataset: str, *, seed: int = 0, lr: float = USUAL.lr, epochs: int = USUAL.epochs,
    images: int = USUAL.images, weights: str = "", options: str = "", notebook: dict[str, Any] | None = None,
) -> Record:  # fmt: skip
    """Return the record of the experiment: read where it exists with the same recipe, else computed and written.

    Args:
        name: profile.
        model: name in `submasking.records.names.MODELS`; in profile images the timm architecture.
        dataset: one of the paper's names; in profile images a folder.
        seed: order of the images, augmentation, head.
        lr: learning rate of the reference, positive.
        epochs: of each run, at least 1.
        images: number of training images, at least 1 (`training_images`); all where the set has fewer.
        weights: safetensors file of the backbone, for profile images.
        options: of the backbone and its images, for profile images, see `submasking.worlds.told`.
        notebook: name and parameters of the notebook that asks.

    Raises:
        ValueError: for an unknown profile, model or data set, a missing or foreign weights file, a number out of range.
        FileNotFoundError: there is no such record and the environment variable SUBMASKING_READ_ONLY is set.
    """
    require_seed(seed)
    wanted, dataset_name = recipe(name, model, lr, epochs, images, weights, options), name_of(name, dataset)
    wanted |= {"identity": found} if (found := identity_of(name, dataset, weights)) else {}
    variant = variant_of(name, wanted)
    file = results_folder(name) / "records" / results.record_path(model, dataset_name, METHOD, 100.0, seed, variant)
    if (known := results.known(file, wanted)) is not None:
        return known
    started = time.perf_counter()
    backbone = backbones.load(model, name, weights=weights, options=options)
    train, test = training_images(name, dataset, images), datasets.load(name, dataset, "test")
    plan = replace(profile(name).method("FS", model), epochs=epochs)
    metrics, series = _observe_all(variants(lr), backbone, train, test, plan, name, seed)
    record = Record(
        profile=name,
        model=model,
        dataset=dataset_name,
        method=METHOD,
        labels=100.0,
        seed=seed,
        variant=variant,
        recipe=wanted,
        metrics=metrics,
        series=series,
        stand_in={"model": backbone.stand_in, "dataset": datasets.stand_in(name, dataset)},
        backbone=_describe(backbone),
        data={"classes": len(train.classes), "train": len(train), "labelled": len(train), "test": len(test)},
        timings={"total_s": time.perf_counter() - started},
        notebook=_portable(notebook or {}),
        **surroundings(),
    )
    return results.kept(record, results_folder(name) / "records")


def _observe_all(
    chosen: Sequence[Variant], backbone: Backbone, train: ImageSet, test: ImageSet, plan: Optimisation, name: str,
    seed: int,
) -> tuple[dict[str, float], dict[str, dict[str, list[float]]]]:  # fmt: skip
    metrics: dict[str, float] = {}
    series: dict[str, dict[str, list[float]]] = {}
    references: dict[str, Outcome] = {}
    for number, variant in enumerate(chosen, 1):
        outcome = observe(variant, backbone, train, test, plan, name, seed)
        reference = references.setdefault(variant.dtype, outcome)
        measured, series[variant.key] = compare(outcome, reference, len(outcome.losses) // plan.epochs)
        metrics |= {f"{variant.key}/{metric}": value for metric, value in measured.items()}
        same, steps = measured["identical_steps"], len(outcome.masks)
        text = f"{measured['differing']:.4%} of bits differ at the end, equal for {same:.0f} of {steps} steps"
        print(f"[{number}/{len(chosen)}] {variant.key}: top-1 {outcome.top1:.3f}, {text}", flush=True)
    return metrics, series


def _portable(notebook: dict[str, Any]) -> dict[str, Any]:
    """What asked, with folders and files by their last name: a record can be shown to others."""
    given = notebook.get("parameters", {})
    names = {key: Path(given[key]).name for key in ("dataset", "weights") if key in given}
    return notebook | {"parameters": given | names} if names else notebook


def _describe(backbone: Backbone) -> dict[str, Any]:
    _, masking, _ = masked_trunk(backbone, variants()[0])
    return {
        "architecture": backbone.architecture,
        "weights": backbone.weights,
        "fingerprint": backbone.fingerprint,
        "parameters": sum(parameter.numel() for parameter in backbone.trunk.parameters()),
        "masked": sum(scores.numel() for scores in masking.scores().values()),
    }
