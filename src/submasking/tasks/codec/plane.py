"""One tensor on its way through the encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from submasking.tasks.codec.context import Context, Ints
from submasking.tasks.codec.model import classes
from submasking.tasks.codec.refinement import Refinement

Bits = NDArray[np.bool_]


@dataclass
class Plane:
    """A tensor, its place among all, its bits and its sibling's in stages; then what is known before each stage.

    Attributes:
        number: place of the tensor in the order of the names.
        context: of its weights.
        off, sibling: bits, 1 where the weight is off.
        lifts: of rows, columns and kernel positions.
        index: of the model.
        pull: of the factors, for a large tensor.
    """

    number: int
    context: Context
    off: Bits
    sibling: Bits | None
    lifts: list[list[Ints]] = field(default_factory=list)
    index: list[NDArray[np.int16]] = field(default_factory=list)
    pull: list[NDArray[np.int16]] = field(default_factory=list)

    @property
    def stages(self) -> range:
        """The stages in the order in which they are coded."""
        return range(self.context.layout.stages)

    def beside(self, stage: int) -> Bits | None:
        """The sibling's bits of a stage."""
        return None if self.sibling is None else self.sibling[stage]

    def coded(self, refinement: Refinement | None) -> Iterator[tuple[NDArray[np.int16], Bits]]:
        """Class and bit of every weight, stage by stage."""
        for stage in self.stages:
            index = self.index[stage]
            if refinement is not None and self.pull:
                index = refinement.index(self.number, self.context, stage, index, self.pull[stage], self.lifts[stage])
            real = self.context.valid[stage] if self.context.valid is not None else slice(None)
            yield classes(index[real].reshape(-1)), self.off[stage][real].reshape(-1)
