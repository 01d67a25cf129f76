"""Coding masks on one core: `python -m benchmarks codec`. Size and speed, beside compressors of the standard library.

The masks are drawn, not learned: a weight falls where it agrees with a matrix of low rank plus noise, stronger in some
filters and channels, as learned masks do (the page on what a task costs has those that were learned). Times are of the
processor, with one thread.
"""

import lzma
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import timm
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from submasking.tasks.codec import stream

CASES = (("resnet50", 0.05), ("resnet50", 0.2), ("mobilenetv2_100", 0.05), ("vit_tiny_patch16_224", 0.05))
ROUNDS = 3


def masks(weights: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Masks that switch off a share of the weights of each tensor; true where off."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    drawn = {}
    for name, theta in weights.items():
        matrix = theta.flatten(1)
        rows, columns = matrix.shape
        gradient = normal(rows, 4) @ normal(4, columns) / 2 + normal(rows, columns)
        push = matrix * gradient * normal(rows, 1).exp() * normal(1, columns).exp()
        drawn[name] = (push > push.flatten().kthvalue(round((1 - share) * push.numel())).values).view_as(theta)
    return drawn


def measure() -> list[dict[str, Any]]:
    """Return a row for each case and coder: bits per weight, what is above the model's ideal, millions a second."""
    rows = []
    with threadpool_limits(1):
        for name, share in CASES:
            model = timm.create_model(name)
            weights = {key: value.detach() for key, value in model.named_parameters() if value.dim() > 1}
            rows += _case(name, share, weights)
    return rows


def _case(name: str, share: float, weights: dict[str, Tensor]) -> list[dict[str, Any]]:
    off = {key: mask.numpy() for key, mask in masks(weights, share).items()}
    values = {key: value.numpy() for key, value in weights.items()}
    count = sum(bits.size for bits in off.values())
    packed = np.packbits(np.concatenate([bits.ravel() for bits in off.values()])).tobytes()
    _, fitted, pairs = stream.prepare(off, values, None)
    ideal = stream.ideal_bits(fitted, pairs)
    coders: dict[str, tuple[Callable[[], bytes], Callable[[bytes], Any]]] = {
        "submasking": (lambda: stream.encode(off, values, None), lambda data: stream.decode(data, values, None)),
        "lzma": (lambda: lzma.compress(packed, preset=9 | lzma.PRESET_EXTREME), lzma.decompress),
        "gzip": (lambda: zlib.compress(packed, 9), zlib.decompress),
    }
    rows = []
    for coder, (encode, decode) in coders.items():
        data, coding = _fastest(encode)
        _, decoding = _fastest(lambda decode=decode, data=data: decode(data))  # type: ignore[misc]
        rows.append(
            {
                "model": name,
                "weights": count,
                "off": share,
                "coder": coder,
                "bits": round(8 * len(data) / count, 4),
                "above_ideal": round(8 * len(data) / ideal - 1, 4) if coder == "submasking" else None,
                "coding": round(count / coding / 1e6, 1),
                "decoding": round(count / decoding / 1e6, 1),
            }
        )
    return rows


def _fastest(work: Callable[[], Any]) -> tuple[Any, float]:
    """What some work gives, and the shortest of its processor times in seconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        found = work()
        times.append(time.process_time() - start)
    return found, min(times)
