"""Peak memory of training, each way in its own process: `python -m benchmarks.memory MODEL PIXELS BATCH WAY`.

The peak of a process differs from run to run by some MiB, with several threads by tens: each has one thread, and the
median of a few runs counts.
"""

import resource
import sys
from statistics import median
from typing import Any

import torch
from torch import nn

from benchmarks.process import fresh, held
from benchmarks.ways import WAYS, network
from submasking.masking.selection import decide

CASES = (("resnet18", 32, 64), ("resnet50", 32, 16), ("resnet50", 96, 16))
COMPARED = ("full fine-tuning", "masks", "masks, compiled", "masks, in backward", "mask in forward")
RUNS = 3


def measure(model: str, pixels: int, batch: int) -> list[dict[str, Any]]:
    """Return one row per way: peak memory in MiB, and how many copies of the masked weights it is above the first.

    Args:
        model: name of a timm network.
        pixels: side of its square images.
        batch: images a step.
    """
    seen = [{way: fresh("benchmarks.memory", model, pixels, batch, way) for way in COMPARED} for _ in range(RUNS)]
    peaks = {way: median(run[way] for run in seen) for way in COMPARED}
    weights = sum(p.numel() * 4 for n, p in network(model).named_parameters() if decide("resnet", n, p)[0] == "mask")
    return [
        {
            "model": model,
            "pixels": pixels,
            "batch": batch,
            "way": way,
            "peak_mib": round(peak / 2**20, 1),
            "spread_mib": round((max(run[way] for run in seen) - min(run[way] for run in seen)) / 2**20, 1),
            "runs": RUNS,
            "copies": round((peak - peaks[COMPARED[0]]) / weights, 2),
        }
        for way, peak in peaks.items()
    ]


def peak(model: str, pixels: int, batch: int, way: str) -> int:
    """Return the peak resident memory of this process in bytes, after three steps."""
    net = network(model)
    optimizers = WAYS[way](net)
    for _ in range(3):
        for optimizer in optimizers:
            optimizer.zero_grad()
        nn.functional.cross_entropy(net(torch.randn(batch, 3, pixels, pixels)), torch.zeros(batch).long()).backward()
        for optimizer in optimizers:
            optimizer.step()
    return high_water()


def high_water() -> int:
    """Return the most memory this process has held, in bytes.

    Linux hands ru_maxrss of the parent down to what it starts, so there the number is read from /proc.
    """
    return held("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(peak(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
