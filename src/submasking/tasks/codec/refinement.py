"""A second look at each tensor: its own coefficients for what the model says, what its factors say, and its lifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from submasking.tasks.codec import kernels, rice
from submasking.tasks.codec.context import Context, Ints

TERMS = 8
PLAIN = (0, 64, 0, 0, 0, 0, 0, 0)  # a tensor without a second look


@dataclass(frozen=True)
class Refinement:
    """Coefficients of each tensor.

    Attributes:
        coefficients: (tensors, 8): a shift; a factor of the index; of the pull; of the pull times the share of stages
            that are done; of the row's lift of the same sign, of the other sign; and of the column's.
    """

    coefficients: NDArray[np.int8]

    def index(
        self, tensor: int, context: Context, stage: int, index: NDArray[np.int16], pull: NDArray[np.int16],
        lifts: Sequence[Ints],
    ) -> NDArray[np.int16]:  # fmt: skip
        """The refined index of each place of a stage."""
        shift, scale, early, late, *along = self.coefficients[tensor].tolist()
        rows, columns = (
            kernels.term(np.array([0, *slopes]), np.zeros(len(lift), np.int64), lift)
            for slopes, lift in ((along[:2], lifts[0]), (along[2:], lifts[1]))
        )
        refined = kernels.scaled(index, pull, scale, early + late * stage // context.layout.stages, 2 * shift)
        return context.spread(stage, [rows, columns, np.zeros((context.layout.kernel, 2), np.int64)], refined)

    def pack(self, large: NDArray[np.bool_]) -> bytes:
        """A 1, the coefficients that most large tensors share, a bit per large tensor for own ones, and how these
        differ, in a Rice code.
        """
        chosen = self.coefficients[large]
        kinds, counts = np.unique(chosen, axis=0, return_counts=True)
        common = kinds[counts.argmax()] if len(kinds) else np.array(PLAIN, np.int8)
        own = (chosen != common).any(1)
        apart = chosen[own].astype(np.int64) - common
        return b"\1" + common.tobytes() + np.packbits(own).tobytes() + rice.pack(apart)

    @classmethod
    def unpack(cls, data: bytes | memoryview, large: NDArray[np.bool_], version: int) -> tuple[Refinement | None, int]:
        """Read what `pack` wrote, or None after a 0; returns it and the number of bytes read.

        In version 2 the own coefficients stand there as they are, one byte each.

        Raises:
            ValueError: the data end early, start with another byte, or hold a coefficient that is out of range.
        """
        if not data or data[0] > 1:
            raise ValueError(f"a refinement starts with 0 or 1, got {bytes(data[:1]).hex() or 'nothing'}")
        if data[0] == 0:
            return None, 1
        numbers, count = np.frombuffer(data, np.int8), int(large.sum())
        start = 1 + TERMS + -(-count // 8)
        if len(numbers) < start:
            raise ValueError(f"a refinement of {count} tensors has at least {start} bytes, got {len(numbers)}")
        common = numbers[1 : 1 + TERMS]
        own = np.unpackbits(numbers[1 + TERMS : start].view(np.uint8), count=count).astype(np.bool_)
        if version == 2:
            end = start + TERMS * int(own.sum())
            if len(numbers) < end:
                raise ValueError(f"a refinement of {count} tensors has {end} bytes here, got {len(numbers)}")
            theirs = numbers[start:end].reshape(-1, TERMS).astype(np.int64)
        else:
            apart, used = rice.unpack(data[start:], int(own.sum()), TERMS)
            theirs, end = common + apart, start + used
        if len(theirs) and not -128 <= theirs.min() <= theirs.max() <= 127:
            raise ValueError(f"coefficients lie in -128..127, got {theirs.min()} to {theirs.max()}")
        coefficients = np.tile(np.array(PLAIN, np.int8), (large.size, 1))
        coefficients[large] = common
        coefficients[np.flatnonzero(large)[own]] = theirs
        return cls(coefficients), end
