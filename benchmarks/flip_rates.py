"""Learning rates that `find_lr` gives for wanted flip rates on the tiny backbones, and what flips when they are used.

The heads learn alone for a while first, as a random head has gradients of its own size.
"""

import copy
from typing import Any

import torch
from torch import nn

from submasking import Monitor, find_lr, mask
from submasking.learning.backbone import Backbone
from submasking.tasks.heads import linear_head
from submasking.worlds import backbones
from submasking.worlds import datasets as data

MODELS = ("rn18-timm", "rn50-swav", "vitb32-clip")
DATASET = "dtd"
WANTED = (1e-5, 1e-4, 1e-3)
STEPS, BATCH, HEAD_STEPS = 10, 64, 40


def measure() -> list[dict[str, Any]]:
    """Return one row per model and wanted flip rate."""
    return [_row(name, wanted) for name in MODELS for wanted in WANTED]


def _row(name: str, wanted: float) -> dict[str, Any]:
    backbone = backbones.load(name, "tiny")
    images = data.load("tiny", DATASET, "train")
    net = nn.Sequential(copy.deepcopy(backbone.trunk), linear_head(backbone.width, len(images.classes), seed=0))
    masking = mask(net[0], backbone.preset)
    random = torch.Generator().manual_seed(0)
    learner = torch.optim.SGD(net[1].parameters(), lr=0.1, momentum=0.9)

    def backward() -> None:
        chosen = torch.randint(0, len(images), (BATCH,), generator=random)
        _loss(net.train(), backbone, images.images[chosen], images.labels[chosen]).backward()

    for _ in range(HEAD_STEPS):
        net.zero_grad()
        backward()
        learner.step()
    lr = find_lr(masking, backward, flip_rate=wanted, steps=STEPS)
    monitor = Monitor(masking, optimizer := masking.optimizer(lr), every=1)
    for _ in range(STEPS):
        net.zero_grad()
        backward()
        optimizer.step()
    found = sum(reading.flip_rate for reading in monitor.readings) / STEPS
    return {"model": name, "wanted": wanted, "lr": float(f"{lr:.3g}"), "found": float(f"{found:.3g}"), "steps": STEPS}


def _loss(net: nn.Module, backbone: Backbone, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(net(backbone.normalise(images.float() / 255)), labels)
