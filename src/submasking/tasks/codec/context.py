"""What the decoder knows of a weight before it reads its bit, in integers only, so that every machine sees the same.

The frozen weight gives its magnitude and sign. The stages decoded so far give for its filter, its input channel and its
kernel position how many more weights were switched off there than their magnitudes let expect, by sign: a mask bit
falls when the gradient and the weight disagree for long, and gradients share factors along filters and channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from submasking.tasks.codec import kernels
from submasking.tasks.codec.layout import Layout

Ints = NDArray[np.int64]
LEVELS = kernels.NEGATIVE
OCTAVE = 16  # levels per factor of two
MIDDLE = LEVELS // 2
# 2 ** (k / 8) for k = 0..7, times 2 ** 16
_POWERS = (65536, 71468, 77936, 84990, 92682, 101070, 110218, 120194)


def _square(level: int) -> int:
    """The square of a weight `level` sixteenths of an octave from the middle, 2 ** 16 being that of the middle."""
    octaves = min(level // 8, 10)
    return _POWERS[level % 8] << octaves if octaves >= 0 else _POWERS[level % 8] >> -octaves


SQUARES = np.array([_square(level) for level in range(-MIDDLE, LEVELS - MIDDLE)], dtype=np.int64)


class Context:
    """The running context of one tensor.

    Attributes:
        layout: its shape in stages.
        codes: level of the magnitude (0..255, 128 = the tensor's geometric mean, 16 per octave), plus 256 where the
            weight is negative; in stage order.
        valid: which places hold a weight, in stage order; None where all do.
        means: mean level of each row, column and kernel position, against the middle.
    """

    def __init__(self, weights: NDArray[np.float32], stages: int | None = None) -> None:
        self.layout = Layout.of(weights.shape, stages)
        bits = weights.reshape(self.layout.rows, self.layout.columns, self.layout.kernel).view(np.int32)
        magnitude = (bits >> 19) & 0xFFF
        centre = int(magnitude.sum(dtype=np.int64)) // max(magnitude.size, 1)
        level = np.clip(magnitude - (centre - MIDDLE), 0, LEVELS - 1).astype(np.uint16)
        negative = bits < 0
        self.codes = self.layout.split(level + negative.astype(np.uint16) * LEVELS)
        self.valid = self.layout.split(np.ones(bits.shape, np.bool_)) if self.layout.padded else None
        sums = np.split(kernels.sums(level, negative, SQUARES), np.cumsum(level.shape)[:2])
        self.means = [part[:, 0] // max(level.size // len(part), 1) - MIDDLE for part in sums]
        self._squares = [np.ascontiguousarray(part[:, 1:]) for part in sums]
        self._offs = [np.zeros_like(squares) for squares in self._squares]

    def lifts(self) -> list[Ints]:
        """16 log2 of (off + 1) / (expected off + 1) so far, per row, column and kernel position: (length, signs)."""
        total = int(self._offs[0].sum())
        # of 62 bits: the count, 8 bits of fraction, and what is left for the share of the squares
        shift = max(int(self._squares[0].sum()).bit_length() - (54 - total.bit_length()), 0)
        whole = max(int(self._squares[0].sum()) >> shift, 1)
        return [
            kernels.lifts(offs, squares, total, shift, whole)
            for offs, squares in zip(self._offs, self._squares, strict=True)
        ]

    def update(self, stage: int, off: NDArray[np.bool_]) -> None:
        """Take in the decoded bits of a stage: (blocks, rows of a block, places)."""
        kernels.count(off, self.codes[stage], stage, self.layout.columns, self.layout.kernel, *self._offs)

    def index(self, stage: int, curve: NDArray[np.int16], terms: Sequence[Ints]) -> NDArray[np.int16]:
        """The index of each place of a stage: 32 times the model's log odds of being off.

        Args:
            stage: which.
            curve: what each code contributes.
            terms: what each row, column and kernel position contributes by sign: (length, signs).
        """
        return self.spread(stage, terms, curve[self.codes[stage]])

    def spread(self, stage: int, terms: Sequence[Ints], index: NDArray[np.int16]) -> NDArray[np.int16]:
        """Add to the index of each place what its row, column and kernel position contribute, in place."""
        rows, columns, kernel = terms
        kernels.spread(index, self.codes[stage], rows, kernels.across_width(columns, kernel), stage)
        return index
