"""How a tensor is cut into eight stages, so that later ones can be coded knowing earlier ones, a whole stage at a time.

A tensor of shape (rows, columns, ...) is seen as a matrix of rows times (columns * kernel positions), its width padded
to a multiple of 8. Row o is turned right by o mod 8 places; position j of a turned row belongs to stage j mod 8. So
each stage holds an eighth of every row, every column and every kernel position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STAGES = 8


@dataclass(frozen=True)
class Layout:
    """Shape of one tensor as the codec sees it.

    Attributes:
        rows: filters, the first dimension; 1 for a vector.
        columns: input channels, the second dimension; the length of a vector.
        kernel: positions of the filter, the product of the other dimensions.
    """

    rows: int
    columns: int
    kernel: int

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> Layout:
        """The layout of a tensor of this shape."""
        if len(shape) < 2:
            return cls(1, int(np.prod(shape, dtype=np.int64)), 1)
        return cls(shape[0], shape[1], int(np.prod(shape[2:], dtype=np.int64)))

    @property
    def width(self) -> int:
        """Length of a row before padding."""
        return self.columns * self.kernel

    @property
    def staged_shape(self) -> tuple[int, int, int, int]:
        """Stages, blocks of eight rows, row within its block, places per stage."""
        return STAGES, -(-self.rows // STAGES), STAGES, -(-self.width // STAGES)

    @property
    def padded(self) -> bool:
        """Whether the stages have places that no weight belongs to."""
        return bool(self.rows % STAGES or self.width % STAGES)

    def split(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of the tensor in stage order: (stages, blocks, 8, places), padding zero."""
        stages, blocks, _, places = self.staged_shape
        turned = np.zeros((blocks, STAGES, places * STAGES), values.dtype)
        matrix = values.reshape(self.rows, self.width)
        for row in range(min(STAGES, self.rows)):
            part = matrix[row::STAGES]
            fits = min(self.width, places * STAGES - row)
            turned[: len(part), row, row : row + fits] = part[:, :fits]
            turned[: len(part), row, : self.width - fits] = part[:, fits:]
        return np.ascontiguousarray(turned.reshape(blocks, STAGES, places, stages).transpose(3, 0, 1, 2))

    def join(self, staged: NDArray[Any]) -> NDArray[Any]:
        """Undo `split`: (rows, columns, kernel)."""
        _, blocks, _, places = self.staged_shape
        turned = staged.transpose(1, 2, 3, 0).reshape(blocks, STAGES, places * STAGES)
        matrix = np.empty((self.rows, self.width), staged.dtype)
        for row in range(min(STAGES, self.rows)):
            part = matrix[row::STAGES]
            fits = min(self.width, places * STAGES - row)
            part[:, :fits] = turned[: len(part), row, row : row + fits]
            part[:, fits:] = turned[: len(part), row, : self.width - fits]
        return matrix.reshape(self.rows, self.columns, self.kernel)

    def along_rows(self, values: NDArray[Any]) -> NDArray[Any]:
        """A value per row, shaped to spread over a stage: (blocks, 8, 1)."""
        _, blocks, _, _ = self.staged_shape
        padded = np.zeros(blocks * STAGES, values.dtype)
        padded[: self.rows] = values
        return padded.reshape(blocks, STAGES, 1)

    def along_width(self, values: NDArray[Any]) -> NDArray[Any]:
        """A value per place of a row, shaped to spread over the stages: (stages, 8, places)."""
        stages, _, _, places = self.staged_shape
        padded = np.zeros(places * STAGES, values.dtype)
        padded[: self.width] = values
        turned = np.stack([np.roll(padded, row) for row in range(STAGES)])
        return np.ascontiguousarray(turned.reshape(STAGES, places, stages).transpose(2, 0, 1))

    def places_of(self, stage: int, found: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Row, and place in the row, of flat positions within a stage."""
        _, _, _, places = self.staged_shape
        row, place = np.divmod(found, places)
        return row, (place * STAGES + stage - row % STAGES) % (places * STAGES)
