"""Pretraining of the stand-ins on Latin letters: with labels, with SwAV, with captions.

Every number comes from `Profile.pretraining`; the images show the training faces only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from submasking.learning import augment
from submasking.learning.batches import Batches
from submasking.learning.images import ImageSet
from submasking.learning.swav import SwavHead, SwavLoss, forward_crops
from submasking.learning.train import Schedule, cosine, fit
from submasking.worlds import networks

MEAN, STD = 0.7, 0.25  # of the letters' pixels, rounded
STYLES = {
    "colours": augment.GLYPHS,
    "plain": augment.Style(jittered=0.0, grey=0.0, shift=0.06),
    "strong": augment.Style(jitter=0.45, shift=0.08, turn=0.1),
}
OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
    "adamw": (torch.optim.AdamW, {}),
}
Recipe = dict[str, Any]
Tensors = dict[str, Tensor]
# modules that train, loss of a batch, batches
Plan = tuple[nn.ModuleDict, Callable[[Any], Tensor], Batches]


def pretrain(recipe: Recipe, letters: ImageSet, *, label: str = "", progress: bool = True) -> Tensors:
    """Weights of a stand-in, trained as the recipe says; the same recipe gives the same weights.

    Args:
        recipe: kind ("supervised", "swav" or "clip"), architecture and the numbers of that kind.
        letters: the source images; only "supervised" and "clip" look at their classes.
        label: what the progress bar says.
        progress: show the bar.

    Returns:
        Tensors "trunk.*", and "text.*" for CLIP.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe["seed"])
        modules, step_loss, loader = KINDS[recipe["kind"]](recipe, letters)
        modules.train()
        kind, options = OPTIMIZERS[recipe["optimizer"]]
        rates = {"lr": recipe["lr"], "weight_decay": recipe["weight_decay"]}
        optimizer = kind(modules.parameters(), **rates, **options)
        schedule: Schedule = _steps if recipe["schedule"] == "steps" else cosine(0.1)
        fit(step_loss, loader, [optimizer], epochs=recipe["epochs"], schedule=schedule, label=label, progress=progress)
    kept = nn.ModuleDict({name: modules[name] for name in ("trunk", "text") if name in modules})
    return {name: tensor.clone() for name, tensor in kept.state_dict().items()}


def supervised(recipe: Recipe, letters: ImageSet) -> Plan:
    """Cross-entropy on the letters' labels; the head is thrown away."""
    size = letters.images.shape[-1]
    trunk = networks.trunk(recipe["architecture"], size).to(memory_format=torch.channels_last)
    head = nn.Linear(networks.width(recipe["architecture"], size), len(letters.classes))
    loss = nn.CrossEntropyLoss(label_smoothing=recipe["smoothing"])

    def step_loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        return loss(head(trunk(images)), labels)

    return nn.ModuleDict({"trunk": trunk, "head": head}), step_loss, _batches(recipe, letters)


def swav(recipe: Recipe, letters: ImageSet) -> Plan:
    """SwAV on the letters without their labels; projection and prototypes are thrown away."""
    size = letters.images.shape[-1]
    trunk = networks.trunk(recipe["architecture"], size).to(memory_format=torch.channels_last)
    head = SwavHead(networks.width(recipe["architecture"], size), recipe["dimensions"], recipe["prototypes"])
    loss = SwavLoss(head, queue=recipe["queue"], freeze_prototypes=recipe["freeze_prototypes"])

    def transform(images: Tensor, generator: torch.Generator) -> list[Tensor]:
        crops = augment.views(images, generator, recipe["sizes"])
        return [normalise(crop) for crop in crops]

    def step_loss(batch: tuple[list[Tensor], Tensor]) -> Tensor:
        return loss(forward_crops(trunk, batch[0]))

    loader = Batches(letters, recipe["batch_size"], transform, seed=recipe["seed"])
    return nn.ModuleDict({"trunk": trunk, "loss": loss}), step_loss, loader


def clip(recipe: Recipe, letters: ImageSet) -> Plan:
    """Contrastive image-caption loss; the caption of a letter is its Unicode name."""
    from open_clip.loss import ClipLoss

    trunk, text = networks.clip(recipe["architecture"], letters.images.shape[-1])
    trunk.to(memory_format=torch.channels_last)
    tokens = networks.tokenize(letters.classes)
    contrast = ClipLoss()

    def step_loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        pictures = nn.functional.normalize(trunk(images), dim=1)
        captions = nn.functional.normalize(text(tokens[labels]), dim=1)
        return contrast(pictures, captions, text.logit_scale.clamp(max=MAX_LOGIT_SCALE).exp())

    return nn.ModuleDict({"trunk": trunk, "text": text}), step_loss, _batches(recipe, letters)


KINDS: dict[str, Callable[[Recipe, ImageSet], Plan]] = {"supervised": supervised, "swav": swav, "clip": clip}
MAX_LOGIT_SCALE = 4.6052  # log 100, as in CLIP


def normalise(images: Tensor) -> Tensor:
    """Images in [0, 1] as the stand-ins see them."""
    return (images - MEAN) / STD


def _batches(recipe: Recipe, letters: ImageSet) -> Batches:
    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        return normalise(augment.supervised(images, generator, STYLES[recipe["style"]]))

    return Batches(letters, recipe["batch_size"], transform, seed=recipe["seed"])


def _steps(progress: float) -> float:
    """A tenth after each third of the training, as torchvision's first recipe does."""
    return 0.1 ** int(3 * progress)
