"""Where to compute: a device by its name, or the best that is here; and in which precision.

One run takes one device. A grid of many runs fills several GPUs with as many runs, rather than one run with several:
batches of 64 are small, and splitting them would change the statistics of every batch norm.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor

DEVICE = "SUBMASKING_DEVICE"
PRECISIONS = ("float32", "bfloat16")


def choose(asked: str = "auto") -> str:
    """Name of the device to compute on.

    Args:
        asked: "auto", or a device as torch names it: cpu, cuda, cuda:1, mps. "auto" takes what the environment's
            SUBMASKING_DEVICE says, else of several GPUs the one with most free memory, else Apple's mps, else the cpu.

    Raises:
        ValueError: for a device that is unknown or not here.
    """
    asked = os.environ.get(DEVICE) or "auto" if asked == "auto" else asked
    if asked == "auto":
        if torch.cuda.is_available():
            free = [torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count())]
            return f"cuda:{free.index(max(free))}"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=asked).add(1).cpu()
    except (RuntimeError, AssertionError, ValueError) as error:
        said = " ".join(str(error).split()).partition(" Exception raised")[0][:200]
        raise ValueError(f"device must be one that is here, {asked!r} is not ({said}); try cpu, or auto") from error
    return asked


def described(device: str) -> str:
    """The device for a record: its name, and of a GPU its make."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def computed(network: Callable[[Tensor], Tensor], precision: str, device: str) -> Callable[[Tensor], Tensor]:
    """A network whose forward pass computes in a precision; what it gives stays float32.

    Args:
        network: images -> features.
        precision: "float32", or "bfloat16", where torch's autocast takes it: parameters, scores and norms' statistics
            stay float32.
        device: where it lies.

    Raises:
        ValueError: for another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    if precision == "float32":
        return network

    def forward(images: Tensor) -> Tensor:
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            return network(images).float()

    return forward
