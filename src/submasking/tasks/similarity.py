"""How alike two masks are, beyond chance (the draft's open idea on task similarity).

Both tasks switch off few weights, and both prefer large ones, so masks overlap even when the tasks have nothing in
common. The null model draws each mask anew, keeping how many weights are off in every stratum: every tensor, or every
tensor and magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

MAGNITUDES = 16
Bits = NDArray[np.bool_]
Counts = NDArray[Any]


@dataclass(frozen=True)
class Similarity:
    """Overlap of the weights that two masks switch off.

    Attributes:
        both: weights that both switch off.
        either: weights that at least one switches off.
        expected: what the null model expects of `both`.
        deviation: standard deviation of `both` under the null model.
        most: the largest value of `both` that the counts allow.
    """

    both: int
    either: int
    expected: float
    deviation: float
    most: int

    @property
    def jaccard(self) -> float:
        """Overlap over union, in [0, 1]; 1 where neither switches anything off."""
        return self.both / self.either if self.either else 1.0

    @property
    def corrected(self) -> float:
        """0 at chance, 1 at the largest overlap that the counts allow, below 0 for less than chance."""
        return (self.both - self.expected) / (self.most - self.expected) if self.most > self.expected else 0.0

    @property
    def z(self) -> float:
        """Standard deviations above chance; 0 where the null model has no freedom."""
        return (self.both - self.expected) / self.deviation if self.deviation else 0.0


def similarity(
    first: Mapping[str, Bool[Tensor, "*shape"]],
    second: Mapping[str, Bool[Tensor, "*shape"]],
    weights: Mapping[str, Float[Tensor, "*shape"]] | None = None,
) -> Similarity:
    r"""Compare two masks over the same tensors.

    In a stratum of :math:`n` weights with :math:`a` and :math:`b` off, the overlap of independent masks is
    hypergeometric: mean :math:`ab/n`, variance :math:`ab(n-a)(n-b)/(n^2(n-1))`. Strata are independent.

    Args:
        first: masks by name, true where on.
        second: likewise.
        weights: the frozen weights; then a stratum is a sixteenth of a tensor by magnitude, else a tensor.

    Raises:
        ValueError: the masks cover other tensors, or other shapes, or are none.
    """
    for name in first.keys() & second.keys():
        like = [first[name], second[name], *([] if weights is None or name not in weights else [weights[name]])]
        if any(mask.dtype.is_floating_point or mask.dtype.is_complex for mask in like[:2]):
            raise ValueError(f"masks must be bool; that of {name!r} is not; pass such as masking.masks()")
        if len({tuple(tensor.shape) for tensor in like}) > 1 or (weights is not None and name not in weights):
            raise ValueError(
                f"masks must cover the same tensors; those of {name!r} have other shapes, or no weights; compare masks"
                " of one selection of one network"
            )
    return overlap(
        {name: ~_array(mask) for name, mask in first.items()},
        {name: ~_array(mask) for name, mask in second.items()},
        None if weights is None else {name: _array(weights[name].float()) for name in first},
    )


def overlap(
    first: Mapping[str, Bits], second: Mapping[str, Bits], weights: Mapping[str, NDArray[np.float32]] | None = None
) -> Similarity:
    """`similarity` for arrays, without torch; true where a weight is off."""
    if first.keys() != second.keys():
        raise ValueError(
            f"masks must cover the same tensors; {sorted(first.keys() ^ second.keys())[0]!r} is in one only; compare"
            " masks of one selection"
        )
    n, a, b, both = (np.concatenate(counts).astype(np.float64) for counts in zip(*(
        _counts(first[name], second[name], None if weights is None else weights[name]) for name in sorted(first)
    ), strict=True))  # fmt: skip
    variance = a * b * (n - a) * (n - b) / (n * n * np.maximum(n - 1, 1))
    return Similarity(
        both=int(both.sum()),
        either=int((a + b - both).sum()),
        expected=float((a * b / n).sum()),
        deviation=math.sqrt(float(variance.sum())),
        most=int(np.minimum(a, b).sum()),
    )


def _counts(first: Bits, second: Bits, weights: NDArray[np.float32] | None) -> tuple[Counts, ...]:
    """Per stratum: weights, off in the first, off in the second, off in both."""
    sets = [off.reshape(-1) for off in (first, second, first & second)]
    total, strata = first.size, 1 if weights is None else min(MAGNITUDES, first.size)
    # a weight of rank r, by magnitude, is in stratum r * strata // total, so each stratum is a run of ranks
    edges = [-(-total * stratum // max(strata, 1)) for stratum in range(strata + 1)]
    if weights is None:
        counts = [np.array([off.sum()]) for off in sets]
    else:
        keys = _ranked(weights)
        # only the smallest key of each stratum is needed, and the strata of the few weights that are off
        starts = np.partition(keys, edges[1:-1])[edges[:-1]] if strata > 1 else keys[:0]
        places = [np.searchsorted(starts[1:], keys[off], side="right") for off in sets]
        counts = [np.bincount(place, minlength=strata) for place in places]
    return np.diff(edges), *counts


def _ranked(weights: NDArray[np.float32]) -> NDArray[np.uint64]:
    """A key for each weight, in the order of the magnitudes (as float32), equal ones in the order of memory."""
    bits = weights.reshape(-1).view(np.uint32) & np.uint32(0x7FFFFFFF)
    return bits.astype(np.uint64) << np.uint64(32) | np.arange(bits.size, dtype=np.uint64)


def _array(value: Tensor) -> NDArray[Any]:
    return np.ascontiguousarray(value.detach().cpu().numpy())
