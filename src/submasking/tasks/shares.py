"""Probabilities of one byte each, and the binary model of the range coder that takes them.

They are exact binary fractions, so that float and rounding are the same everywhere.
"""

from __future__ import annotations

import constriction
import numpy as np
from numpy.typing import NDArray

BERNOULLI = constriction.stream.model.Bernoulli(perfect=False)


def probability(code: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probability that a one-byte code stands for: a number with a mantissa of 3 bits and an exponent of 4.

    With m the low 3 bits and e the next 4, q = (8 + m) * 2 ** e / 2 ** 20; the code is for q, or for 1 - q when its
    highest bit is set. So q lies in [2 ** -17, 0.47].
    """
    small = code & 0x7F
    q = ((8 + (small & 7)).astype(np.int64) << (small >> 3)).astype(np.float32) / np.float32(1 << 20)
    return np.where(code & 0x80, np.float32(1) - q, q).astype(np.float32)


def nearest_codes(shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The one-byte codes that come closest to shares in (0, 1), in log odds."""
    codes = np.arange(256, dtype=np.uint8)
    p = probability(codes).astype(np.float64)
    order = np.argsort(p)
    table = np.log(p / (1 - p))[order]
    wanted = np.log(shares / (1 - shares))
    return codes[order][np.abs(table[None] - wanted[:, None]).argmin(1)]


def counted_codes(ones: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The codes of the shares of ones among `total` bits: of what was not seen a little, 0 where there are no bits."""
    return np.where(total > 0, nearest_codes((ones + 0.02) / (total + 0.04)), 0).astype(np.uint8)


def entropy_bits(ones: int, total: int) -> float:
    """Bits that `total` independent draws with a share of `ones` / `total` ones cost at least."""
    if ones in (0, total):
        return 0.0
    p = ones / total
    return float(-total * (p * np.log2(p) + (1 - p) * np.log2(1 - p)))
