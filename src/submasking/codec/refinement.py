"""A second look at each tensor: its own coefficients for what the model says, what its factors say, and its lifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from submasking.codec import kernels
from submasking.codec.context import Context, Ints

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
        across = kernels.across_width(columns, np.zeros((context.layout.kernel, 2), np.int64))
        strength = early + late * stage // context.layout.stages
        return kernels.refined(index, pull, context.codes[stage], scale, strength, 2 * shift, rows, across, stage)

    def pack(self, large: NDArray[np.bool_]) -> bytes:
        """A 1, the coefficients that most large tensors share, a bit per large tensor for own ones, and these."""
        chosen = self.coefficients[large]
        kinds, counts = np.unique(chosen, axis=0, return_counts=True)
        common = kinds[counts.argmax()] if len(kinds) else np.array(PLAIN, np.int8)
        own = (chosen != common).any(1)
        return b"\1" + common.tobytes() + np.packbits(own).tobytes() + chosen[own].tobytes()

    @classmethod
    def unpack(cls, data: bytes | memoryview, large: NDArray[np.bool_]) -> tuple[Refinement | None, int]:
        """Read what `pack` wrote, or None after a 0; returns it and the number of bytes read.

        Raises:
            ValueError: the data end early or start with another byte.
        """
        if not data or data[0] > 1:
            raise ValueError(f"a refinement starts with 0 or 1, got {bytes(data[:1]).hex() or 'nothing'}")
        if data[0] == 0:
            return None, 1
        numbers, count = np.frombuffer(data, np.int8), int(large.sum())
        flags = 1 + TERMS
        start = flags + -(-count // 8)
        own = np.unpackbits(numbers[flags:start].view(np.uint8), count=count).astype(np.bool_)
        end = start + TERMS * int(own.sum())
        if len(numbers) < end:
            raise ValueError(f"a refinement of {count} tensors has {end} bytes here, got {len(numbers)}")
        coefficients = np.tile(np.array(PLAIN, np.int8), (large.size, 1))
        coefficients[large] = numbers[1:flags]
        coefficients[np.flatnonzero(large)[own]] = numbers[start:end].reshape(-1, TERMS)
        return cls(coefficients), end
