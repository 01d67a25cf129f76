"""What a method makes of a backbone: what is trainable, its optimizer, its head or loss, what the network sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from submasking.backbones import Backbone
from submasking.data import augment
from submasking.heads import CosineHead, linear_head
from submasking.masks import Masking, mask
from submasking.profiles import Optimisation, Swav
from submasking.selection import decide
from submasking.swav import SwavHead, SwavLoss

MOMENTUM = 0.9


def adapt(
    trunk: nn.Module, backbone: Backbone, plan: Optimisation, *, masked: bool
) -> tuple[Masking | None, list[Any]]:
    """Make `trunk` trainable by masks, or by the very weights that would be masked, and give its optimizer."""
    if masked:
        masking = mask(trunk, select=backbone.preset)
        return masking, [masking.optimizer(lr=plan.lr, momentum=MOMENTUM)]
    for name, parameter in trunk.named_parameters():
        parameter.requires_grad_(decide(backbone.preset, name, parameter).action == "mask")
    return None, [sgd(trunk, plan.lr, plan.weight_decay)]


def head_for(backbone: Backbone, classes: tuple[str, ...], seed: int) -> nn.Module:
    """CLIP's text head where the backbone asks for it, else a new linear head."""
    embeddings = backbone.text_head(classes) if backbone.head == "text" else None
    if embeddings is not None:
        return CosineHead(embeddings, backbone.logit_scale)
    return linear_head(backbone.width, len(classes), seed=seed)


def swav_loss(width: int, swav: Swav, *, seed: int, steps: int) -> SwavLoss:
    """The self-supervised loss with a new head, initialised from `seed` alone, for a run of `steps` steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = SwavHead(width, swav.dimensions, swav.prototypes)
    return SwavLoss(
        head,
        temperature=swav.temperature,
        epsilon=swav.epsilon,
        iterations=swav.iterations,
        large=swav.crops[0],
        queue=swav.queue,
        queue_from=int(swav.queue_from * steps),
        freeze_prototypes=swav.freeze_prototypes,
    )


def augmented(backbone: Backbone, profile_name: str) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Transform of a supervised batch: augmentation, then the backbone's normalisation."""
    style = _styles(profile_name)[0]
    return lambda images, generator: backbone.normalise(augment.supervised(images, generator, style))


def views(backbone: Backbone, swav: Swav, profile_name: str) -> Callable[[Tensor, torch.Generator], list[Tensor]]:
    """Transform of a self-supervised batch: crops of each image, large ones first, normalised."""
    style = _styles(profile_name)[1]
    sizes = [size for size, count in zip(swav.sizes, swav.crops, strict=True) for _ in range(count)]
    return lambda images, generator: [
        backbone.normalise(view) for view in augment.views(images, generator, sizes, style=style)
    ]


def _styles(profile_name: str) -> tuple[augment.Style, augment.Style]:
    """Augmentation of supervised images and of views: photographs may be flipped, characters may not."""
    photos = profile_name == "images"
    return (augment.PHOTOS, augment.PHOTO_VIEWS) if photos else (augment.GLYPHS, augment.GLYPH_VIEWS)


def sgd(module: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """SGD with momentum over what `module` lets train."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return torch.optim.SGD(trained, lr=lr, momentum=MOMENTUM, weight_decay=weight_decay, fused=True)
