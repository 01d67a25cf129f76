"""The context model: whole-number coefficients that turn a context into a class, and a probability for each class.

A class holds the weights whose log odds of being off are about equal; its probability is the share of its weights that
are off, which the encoder has counted. So the coefficients need only put the weights in order.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from submasking.tasks.codec import kernels
from submasking.tasks.codec.context import LEVELS, Context, Ints
from submasking.tasks.shares import probability

# levels between which the curve over magnitudes is linear; beyond the ends it is flat
KNOTS = (0, 64, 88, 104, 116, 128, 136, 144, 152, 160, 168, 176, 192)
AXES = 3
ALL_ON, ALL_OFF = -128, 127
FINE, SHIFTS, SLOPES = 32, 16, 64  # units per nat of knots, shifts; slopes: 64ths of an index unit per feature unit
CLASS_BITS = 3  # a class spans 2 ** 3 index units, a quarter of a nat
CLASSES = 128
_FIXED = struct.Struct(f"<{len(KNOTS)}h{3 * AXES}hh")


@dataclass(frozen=True)
class Model:
    """What the encoder fitted and the decoder reads.

    Attributes:
        knots: index at each of `KNOTS`.
        slopes: 64 times the index per unit of mean level, of the same sign's lift and of the other sign's lift (the
            three columns), for rows, columns and kernel positions (the three rows).
        sibling: index added where the sibling task's mask is off.
        shifts: per tensor, half the index that it adds; `ALL_ON` and `ALL_OFF` stand for a tensor without a choice.
        shares: code of the probability of each class, see `submasking.tasks.shares`.
    """

    knots: Ints
    slopes: Ints
    sibling: int
    shifts: NDArray[np.int8]
    shares: NDArray[np.uint8]

    def pack(self) -> bytes:
        """The model as bytes: coefficients, a shift per tensor, the first class in use, their number and shares."""
        used = np.flatnonzero(self.shares)
        first, last = (int(used[0]), int(used[-1])) if used.size else (0, -1)
        fixed = _FIXED.pack(*self.knots.tolist(), *self.slopes.flatten().tolist(), self.sibling)
        return (
            fixed + self.shifts.tobytes() + bytes([first, last - first + 1]) + self.shares[first : last + 1].tobytes()
        )

    @classmethod
    def unpack(cls, data: bytes, tensors: int) -> tuple[Model, int]:
        """Read a model for so many tensors; returns it and the number of bytes read.

        Raises:
            ValueError: the data end early or name a class that does not exist.
        """
        head = _FIXED.size + tensors + 2
        if len(data) < head:
            raise ValueError(f"a coded mask of {tensors} tensors starts with {head} bytes, got {len(data)}")
        numbers = np.array(_FIXED.unpack_from(data), np.int64)
        shifts = np.frombuffer(data, np.int8, tensors, _FIXED.size)
        first, count = data[head - 2], data[head - 1]
        if first + count > CLASSES or len(data) < head + count:
            raise ValueError(f"classes {first} to {first + count - 1} must lie in 0..{CLASSES - 1} and be given")
        shares = np.zeros(CLASSES, np.uint8)
        shares[first : first + count] = np.frombuffer(data, np.uint8, count, head)
        knots, slopes = numbers[: len(KNOTS)], numbers[len(KNOTS) : -1].reshape(AXES, 3)
        return cls(knots, slopes, int(numbers[-1]), shifts, shares), head + count

    def curve(self, tensor: int) -> NDArray[np.int16]:
        """Index of each code of `Context.codes`, with the tensor's shift."""
        level = np.arange(LEVELS)
        left = np.clip(np.searchsorted(KNOTS, level, side="right") - 1, 0, len(KNOTS) - 2)
        start, end = np.array(KNOTS)[left], np.array(KNOTS)[left + 1]
        rise = (self.knots[left + 1] - self.knots[left]) * (np.minimum(level, KNOTS[-1]) - start) // (end - start)
        whole = np.clip(self.knots[left] + rise, -8000, 8000) + 2 * int(self.shifts[tensor])
        return np.tile(whole, 2).astype(np.int16)

    def terms(self, means: Sequence[Ints], lifts: Sequence[Ints]) -> list[Ints]:
        """Index added per row, column and kernel position by sign: (length, signs) each."""
        return [kernels.term(slope, mean, lift) for slope, mean, lift in zip(self.slopes, means, lifts, strict=True)]

    def index(
        self, curve: NDArray[np.int16], context: Context, stage: int, lifts: Sequence[Ints],
        sibling: NDArray[np.bool_] | None,
    ) -> NDArray[np.int16]:  # fmt: skip
        """32 times the log odds of being off, of each place of a stage."""
        index = context.index(stage, curve, self.terms(context.means, lifts))
        if sibling is not None:
            index += np.int16(self.sibling) * sibling
        return index

    def probabilities(self) -> NDArray[np.float32]:
        """Probability of being off by class: exact binary fractions."""
        return probability(self.shares)


def classes(index: NDArray[np.int16]) -> NDArray[np.int16]:
    """Class of each index: 0 for -16 nats and below, 127 for 15.75 nats and above."""
    return np.clip((index >> CLASS_BITS) + CLASSES // 2, 0, CLASSES - 1)
