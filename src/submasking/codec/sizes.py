"""What a mask costs, honestly: raw, by entropy, by general-purpose compressors, and by this codec."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from submasking import codec


def report(
    masks: Mapping[str, Bool[Tensor, "*shape"]], weights: Mapping[str, Float[Tensor, "*shape"]]
) -> dict[str, float]:
    """Sizes of a set of masks.

    Args:
        masks: by parameter name, true where the weight is on.
        weights: the frozen weights of the same names.

    Returns:
        "raw_bits": one per weight. "entropy_bits_global": by the share of all weights that are off.
        "entropy_bits_tensor": by that share in each tensor. "gzip_bytes", "bz2_bytes", "lzma_bytes": of the packed
        bits, each at its highest setting. "coded_bytes": by `codec.encode`.
    """
    off = [~masks[name].cpu().numpy().ravel() for name in sorted(masks)]
    whole = np.concatenate(off)
    sizes = {
        "raw_bits": float(whole.size),
        "entropy_bits_global": entropy_bits(int(whole.sum()), whole.size),
        "entropy_bits_tensor": sum(entropy_bits(int(bits.sum()), bits.size) for bits in off),
    }
    sizes |= {f"{name}_bytes": float(size) for name, size in compressed(np.packbits(whole).tobytes()).items()}
    return sizes | {"coded_bytes": float(len(codec.encode(masks, weights)))}


def entropy_bits(ones: int, total: int) -> float:
    """Bits that `total` independent draws with a share of `ones` / `total` ones cost at least."""
    if ones in (0, total):
        return 0.0
    p = ones / total
    return float(-total * (p * np.log2(p) + (1 - p) * np.log2(1 - p)))


def compressed(content: bytes) -> dict[str, int]:
    """Bytes that compressors of the standard library make of some content, at their highest settings."""
    return {
        "gzip": len(gzip.compress(content, 9, mtime=0)),
        "bz2": len(bz2.compress(content, 9)),
        "lzma": len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)),
    }
