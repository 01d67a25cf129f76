"""Time of one training step by each way, as a ratio to full fine-tuning; the ways take turns, step by step.

Seconds are those of the process (`time.process_time`), which other programs disturb least; the ratios by the clock on
the wall are kept too. With several threads, both include threads that wait.
"""

import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch import nn

from benchmarks.ways import Way, network

BASE = "full fine-tuning"


@dataclass(frozen=True)
class Case:
    """A network, its input in pixels, the batch, and how many steps of each way are timed after the first."""

    model: str
    pixels: int
    batch: int
    steps: int


CASES = (Case("resnet18", 32, 64, 15), Case("resnet50", 32, 16, 15), Case("resnet50", 224, 16, 3))
# a step at 224 pixels takes seconds: the two that the comparison is about
FEW = (BASE, "masks")
WARM_UP = 1


@dataclass(frozen=True)
class _Time:
    process: float
    wall: float
    update: float


def measure(case: Case, ways: dict[str, Way]) -> list[dict[str, Any]]:
    """Return one row per way: median seconds of a step and of its update, and ratios to full fine-tuning."""
    names = FEW if case.pixels > 200 else tuple(ways)
    models = {name: network(case.model) for name in names}
    optimizers = {name: ways[name](model) for name, model in models.items()}
    random = torch.Generator().manual_seed(0)
    images = torch.randn(case.batch, 3, case.pixels, case.pixels, generator=random)
    labels = torch.randint(0, 10, (case.batch,), generator=random)
    times: dict[str, list[_Time]] = {name: [] for name in names}
    for _ in range(WARM_UP + case.steps):
        for name, model in models.items():
            times[name].append(_step(model, optimizers[name], images, labels))
    return [_row(case, name, seen[WARM_UP:], times[BASE][WARM_UP:]) for name, seen in times.items()]


def _step(
    model: nn.Module, optimizers: list[torch.optim.Optimizer], images: torch.Tensor, labels: torch.Tensor
) -> _Time:
    wall, start = time.perf_counter(), time.process_time()
    for optimizer in optimizers:
        optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), labels).backward()
    middle = time.process_time()
    for optimizer in optimizers:
        optimizer.step()
    end = time.process_time()
    return _Time(end - start, time.perf_counter() - wall, end - middle)


def _row(case: Case, name: str, seen: list[_Time], base: list[_Time]) -> dict[str, Any]:
    pairs = list(zip(seen, base, strict=True))
    return {
        **asdict(case),
        "way": name,
        "seconds": round(median(t.process for t in seen), 5),
        "update_seconds": round(median(t.update for t in seen), 5),
        "ratio": round(median(t.process / b.process for t, b in pairs), 3),
        "ratio_wall": round(median(t.wall / b.wall for t, b in pairs), 3),
    }
