"""What the bits decoded so far say of one that is to come, by way of the filters and channels that behave alike.

A weight falls where its gradient, summed over training, agrees in sign with it. Such sums are close to a matrix of low
rank, outer products of what reaches a layer and what comes back to it. So the signed surprises of the earlier stages
are approached by few factors, found by orthogonal iteration and freed from noise, and read off where nothing is known
yet. All of it in whole numbers whose sums are exact in floating point, so that every machine gets the same.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submasking.tasks.codec import kernels
from submasking.tasks.codec.context import Context
from submasking.tasks.codec.layout import MANY_STAGES

Floats = NDArray[np.floating[Any]]
RANK = 24
UNIT = 1024  # of a pull: so many mean a surprise of one bit
ONE = 16  # of a surprise: a bit that was sure to be on and is off
NOISE = 2.0
_NORM = 10  # the columns of the left factor have a length of about 2 ** _NORM
_RIGHT = 11  # entries of the right factor stay below 2 ** _RIGHT in size
# index (32 times log odds) from which k + 1 sixteenths are expected: 32 ln((k + 1/2) / (15 1/2 - k)), rounded up
_EDGES = (-109, -72, -53, -40, -30, -20, -12, -4, 5, 13, 21, 31, 41, 54, 73, 110)
_EXPECTED = np.searchsorted(_EDGES, np.arange(-128, 128), side="right").astype(np.int8)


class Factors:
    """Signed surprises of one tensor, and what their factors expect of the next stage.

    Args:
        context: the tensor's.
    """

    def __init__(self, context: Context) -> None:
        layout = context.layout
        stages, blocks, _, places = layout.staged_shape
        self.context, self.layout = context, layout
        self.rank = min(RANK, min(layout.rows, layout.width) // 2)
        large = max(layout.rows, layout.width) > 1 << 14  # sums stay below 2 ** 24, or else below 2 ** 53
        self._bits = 48 if large else 20
        self._surprise = np.zeros((blocks * stages, places * stages), np.float64 if large else np.float32)
        self._squares = 0
        spread = np.arange(1, places * stages + 1)[:, None] * (2 * np.arange(self.rank) + 1) * 40503
        self._right: Floats = ((spread >> 13) % 2 * 2 - 1).astype(self._surprise.dtype)

    def update(self, stage: int, off: NDArray[np.bool_], index: NDArray[np.int16]) -> None:
        """Take in the bits of a stage and the index that each was expected by; of the last, no other can learn."""
        if stage + 1 == self.layout.stages:
            return
        codes, size = self.context.codes[stage], (self.layout.rows, self.layout.width)
        self._squares += kernels.surprises(self._surprise, off, index, codes, stage, ONE, _EXPECTED, *size)

    def pull(self, stage: int) -> NDArray[np.int16]:
        """`UNIT` times the surprise that is expected of each place of a stage: (blocks, rows of a block, places)."""
        _, blocks, stages, places = self.layout.staged_shape
        if self.rank == 0 or self._squares == 0:
            return np.zeros((blocks, stages, places), np.int16)
        left, right, scale = self._split((2 if stages == MANY_STAGES else 1) + 2 * (stage == 1))
        unit = self._surprise.dtype.type(scale * UNIT * stages / stage)
        return kernels.pulls(left, right, self.context.codes[stage], stage, unit, 8191)

    def _split(self, rounds: int) -> tuple[Floats, Floats, float]:
        """Factors with whole entries, and what one unit of their product is worth in surprises of one bit."""
        kind = self._surprise.dtype
        for following in reversed(range(rounds)):
            image = self._surprise @ self._right
            left = (self._small(image) if following else orthonormal(image)).astype(kind)
            image = self._surprise.T @ left
            self._right = self._small(image).astype(kind)
        top = math.frexp(float(np.abs(image).max()))[1]
        shift = 2.0 ** (_RIGHT - top)
        right = np.rint(image.astype(np.float64) * shift)
        rows, width = self.layout.rows, self.layout.width
        size = math.sqrt(rows) + math.sqrt(width)
        noise = self._squares / (rows * width) * (size * size)  # a power is not rounded alike everywhere
        kept = np.rint(signal(right.T @ right, NOISE * noise * (shift * 2**_NORM) ** 2) * 4096)
        return left, np.rint(right @ kept / 4096).astype(kind), 1 / (shift * 4**_NORM * ONE)

    def _small(self, columns: Floats) -> Floats:
        """The columns, so that sums of their products with surprises are exact."""
        return kernels.below(columns, self._bits - len(columns).bit_length())


def orthonormal(columns: Floats) -> Floats:
    """Whole columns of length 2 ** 10 that span what the given ones span, in their order; dependent ones become 0."""
    columns = kernels.below(columns, 12)
    mixed = kernels.mixing(columns.T @ columns, 2.0 ** (_NORM + 20))
    mixed = np.clip(np.rint(mixed), -(2.0**36), 2.0**36)
    return np.clip(np.rint(columns @ mixed.T / 2**20), -(2**_NORM), 2**_NORM)


def signal(gram: Floats, noise: float) -> Floats:
    """I - (I + (gram / noise) ** 2) ** -1: near 1 along directions that stand out from the noise, near 0 along others.

    Args:
        gram: symmetric, of whole numbers.
        noise: the eigenvalue of `gram` at which half is kept.
    """
    share = np.rint(np.clip(gram / noise, -1e3, 1e3) * 4096)
    identity = np.eye(len(gram))
    return identity - kernels.inverted(share @ share / 2.0**24 + identity)
