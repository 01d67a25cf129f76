"""What a mask costs, honestly: raw, by entropy and by general-purpose compressors; its file says what it takes coded.

Beside it what fine-tuned weights cost, by the same compressors.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Mapping

import numpy as np
import zstandard
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from submasking.tasks.shares import entropy_bits


def report(masks: Mapping[str, Bool[Tensor, "*shape"]]) -> dict[str, float]:
    """Sizes of a set of masks.

    Args:
        masks: by parameter name, true where the weight is on.

    Returns:
        "raw_bits": one per weight. "entropy_bits_global": by the share of all weights that are off.
        "entropy_bits_tensor": by that share in each tensor. "gzip_bytes", "bz2_bytes", "lzma_bytes", "zstd_bytes": of
        the packed bits, each at its highest setting.
    """
    off = [~masks[name].cpu().numpy().ravel() for name in sorted(masks)]
    whole = np.concatenate(off)
    sizes = {
        "raw_bits": float(whole.size),
        "entropy_bits_global": entropy_bits(int(whole.sum()), whole.size),
        "entropy_bits_tensor": sum(entropy_bits(int(bits.sum()), bits.size) for bits in off),
    }
    return sizes | {f"{name}_bytes": float(size) for name, size in compressed(np.packbits(whole).tobytes()).items()}


def weights_report(
    tuned: Mapping[str, Float[Tensor, "*shape"]], backbone: Mapping[str, Float[Tensor, "*shape"]]
) -> dict[str, float]:
    """Sizes of fine-tuned weights, the alternative to a mask.

    They are stored as float32, in quick settings of the compressors: on trained weights, whose low bits are noise, the
    highest settings gain less than 1 % and take seconds.

    Args:
        tuned: the weights that were trained, by parameter name: all that a task must store of the network.
        backbone: the weights before, of the same names; their holder needs the difference only.

    Returns:
        "weights_raw_bytes": four per weight. "weights_gzip_bytes", "weights_bz2_bytes", "weights_lzma_bytes",
        "weights_zstd_bytes": of the weights. "weights_delta_bytes": of their bits XOR those of the backbone, all
        first bytes before all second ones and so on, by zstd.
    """
    content = _float32(tuned, sorted(tuned)).tobytes()
    sizes = {"raw": len(content)} | compressed(content, quick=True) | {"delta": difference_bytes(tuned, backbone)}
    return {f"weights_{name}_bytes": float(size) for name, size in sizes.items()}


def difference_bytes(
    tuned: Mapping[str, Float[Tensor, "*shape"]], backbone: Mapping[str, Float[Tensor, "*shape"]]
) -> int:
    """Bytes of fine-tuned weights as their difference to the backbone, bit for bit, see `weights_report`."""
    after, before = (_float32(weights, sorted(tuned)) for weights in (tuned, backbone))
    planes = np.ascontiguousarray((after.view(np.uint32) ^ before.view(np.uint32)).view(np.uint8).reshape(-1, 4).T)
    return len(zstandard.compress(planes.tobytes(), 3))


def _float32(weights: Mapping[str, Tensor], names: list[str]) -> NDArray[np.float32]:
    return np.concatenate([weights[name].detach().cpu().float().contiguous().numpy().ravel() for name in names])


def compressed(content: bytes, *, quick: bool = False) -> dict[str, int]:
    """Bytes that general-purpose compressors make of some content, at their highest settings or at quick ones."""
    return {
        "gzip": len(gzip.compress(content, 6 if quick else 9, mtime=0)),
        "bz2": len(bz2.compress(content, 9)),
        "lzma": len(lzma.compress(content, preset=0 if quick else 9 | lzma.PRESET_EXTREME)),
        "zstd": len(zstandard.compress(content, 3 if quick else 22)),
    }
