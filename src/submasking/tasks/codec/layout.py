"""How a tensor is cut into stages, so that later ones can be coded knowing earlier ones, a whole stage at a time.

A tensor of shape (rows, columns, ...) is seen as a matrix of rows times (columns * kernel positions), its width padded
to a multiple of the number of stages n, 16, or 32 for a small tensor. Row o is turned right by o mod n places; position
j of a turned row belongs to stage j mod n. So each stage holds an equal share of every row, every column and every
kernel position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STAGES, MANY_STAGES = 16, 32
SMALL = 1 << 18  # weights up to which a tensor has many stages: they cost time and save bytes
LARGE = 128  # weights from which a tensor may have a refinement


@dataclass(frozen=True)
class Layout:
    """Shape of one tensor as the codec sees it.

    Attributes:
        rows: filters, the first dimension; 1 for a vector.
        columns: input channels, the second dimension; the length of a vector.
        kernel: positions of the filter, the product of the other dimensions.
        stages: their number.
    """

    rows: int
    columns: int
    kernel: int
    stages: int

    @classmethod
    def of(cls, shape: tuple[int, ...], stages: int | None = None) -> Layout:
        """The layout of a tensor of this shape, in `stages` or in as many as suit its size."""
        if stages is None:
            stages = MANY_STAGES if math.prod(shape) <= SMALL else STAGES
        if len(shape) < 2:
            return cls(1, int(np.prod(shape, dtype=np.int64)), 1, stages)
        return cls(shape[0], shape[1], int(np.prod(shape[2:], dtype=np.int64)), stages)

    @property
    def width(self) -> int:
        """Length of a row before padding."""
        return self.columns * self.kernel

    @property
    def large(self) -> bool:
        """Whether the tensor is large enough for a refinement."""
        return self.rows * self.width >= LARGE and min(self.rows, self.width) >= 4

    @property
    def staged_shape(self) -> tuple[int, int, int, int]:
        """Stages, blocks of as many rows, row within its block, places per stage."""
        return self.stages, -(-self.rows // self.stages), self.stages, -(-self.width // self.stages)

    @property
    def padded(self) -> bool:
        """Whether the stages have places that no weight belongs to."""
        return bool(self.rows % self.stages or self.width % self.stages)

    def split(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of the tensor in stage order: (stages, blocks, rows of a block, places), padding zero."""
        stages, blocks, _, places = self.staged_shape
        turned = np.zeros((blocks, stages, places * stages), values.dtype)
        matrix = values.reshape(self.rows, self.width)
        for row in range(min(stages, self.rows)):
            part = matrix[row::stages]
            fits = min(self.width, places * stages - row)
            turned[: len(part), row, row : row + fits] = part[:, :fits]
            turned[: len(part), row, : self.width - fits] = part[:, fits:]
        return np.ascontiguousarray(turned.reshape(blocks, stages, places, stages).transpose(3, 0, 1, 2))

    def join(self, staged: NDArray[Any]) -> NDArray[Any]:
        """Undo `split`: (rows, columns, kernel)."""
        stages, blocks, _, places = self.staged_shape
        turned = staged.transpose(1, 2, 3, 0).reshape(blocks, stages, places * stages)
        matrix = np.empty((self.rows, self.width), staged.dtype)
        for row in range(min(stages, self.rows)):
            part = matrix[row::stages]
            fits = min(self.width, places * stages - row)
            part[:, :fits] = turned[: len(part), row, row : row + fits]
            part[:, fits:] = turned[: len(part), row, : self.width - fits]
        return matrix.reshape(self.rows, self.columns, self.kernel)

    def places_of(self, stage: int, found: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Row, and place in the row, of flat positions within a stage."""
        stages, _, _, places = self.staged_shape
        row, place = np.divmod(found, places)
        return row, (place * stages + stage - row % stages) % (places * stages)
