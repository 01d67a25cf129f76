"""Small networks of timm that are pretrained on the spot, in place of those that `pretrained=True` would download.

They learn Latin letters of the project's own small world from nothing, in seconds on one core.
"""

from functools import cache

import timm
import torch
from torch import nn

from submasking.worlds import datasets

SIZE = 32
LETTERS, IMAGES, EPOCHS, BATCH, LR = 26, 1000, 8, 25, 4e-3
SMALL = {
    "resnet": ("resnet10t", {"channels": (16, 32, 48, 64), "stem_width": 16, "stem_type": ""}),
    "vit": ("vit_tiny_patch16_224", {"img_size": SIZE, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3}),
    # without the scales of 1e-6 that a ConvNeXt starts from, which need more steps than there are here to grow
    "convnext": (
        "convnext_atto",
        {"depths": (1, 1, 2, 1), "dims": (12, 24, 32, 48), "patch_size": 2, "ls_init_value": None},
    ),
}
create_model = timm.create_model  # the true one: tests put another in its place


def build(family: str, classes: int) -> nn.Module:
    """Return a network of `SMALL` with a new classifier and, but for that, the weights that know letters."""
    model = _new(family, classes)
    model.load_state_dict(_weights(family), strict=False)
    return model


def pixels(images: torch.Tensor) -> torch.Tensor:
    return images.float() / 127.5 - 1


def _new(family: str, classes: int) -> nn.Module:
    name, options = SMALL[family]
    return create_model(name, num_classes=classes, **options)


@cache
def _weights(family: str) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        letters = datasets.render("latin", "train", IMAGES, SIZE, limit=LETTERS)
        images, model = pixels(letters.images), _new(family, LETTERS)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=EPOCHS * (IMAGES // BATCH))
        for _ in range(EPOCHS):
            for batch in torch.randperm(IMAGES).split(BATCH):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[batch]), letters.labels[batch]).backward()
                optimizer.step()
                schedule.step()
    model.reset_classifier(0)
    return model.state_dict()
