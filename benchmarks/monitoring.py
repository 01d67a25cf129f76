"""What watching the masks costs: a step with a `Monitor` against the same step without, taking turns."""

import time
from statistics import median
from typing import Any

import torch
from torch import nn

from benchmarks.ways import network
from submasking import Monitor, mask

CASES = (("resnet18", 32, 64), ("resnet50", 32, 16))
EVERY = 50  # the default of Monitor
READ = 3


def measure() -> list[dict[str, Any]]:
    """Return one row per case: seconds of a step, of reading once, and the share of a step that a reading adds."""
    return [_row(*case) for case in CASES]


def _row(model: str, pixels: int, batch: int) -> dict[str, Any]:
    net = network(model)
    masking = mask(net, "resnet")
    optimizer = masking.optimizer(lr=50.0)
    images, labels = torch.randn(batch, 3, pixels, pixels), torch.randint(0, 10, (batch,))
    steps: dict[bool, list[float]] = {True: [], False: []}
    for round_ in range(2 * READ + 2):
        watched = round_ % 2 == 1
        monitor = Monitor(masking, optimizer, every=1) if watched else None
        start = time.process_time()
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        middle = time.process_time()
        optimizer.step()
        update = time.process_time() - middle
        if round_ > 1:
            steps[watched].append(update)
        if not watched:
            plain = time.process_time() - start
        if monitor is not None:
            monitor.close()
    reading = median(steps[True]) - median(steps[False])
    return {
        "model": model,
        "pixels": pixels,
        "batch": batch,
        "every": EVERY,
        "step_seconds": round(plain, 5),
        "reading_seconds": round(reading, 5),
        "share": round(reading / EVERY / plain, 5),
    }
