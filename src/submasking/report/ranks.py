"""Do two measures put the data sets in the same order? Spearman's rank correlation, its interval, and p by counting.

With as few data sets as a paper has, every way to deal the outcomes out among them can be tried, so p is exact
(Pitman 1937, doi:10.2307/2984124). Networks that meet the same data sets are no further data sets: their correlations
are averaged, and all are dealt out alike.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import stats

MOST = 9  # data sets whose orders can all be tried
DRAWS = 4000
Table = Float[np.ndarray, "networks sets"]


@dataclass(frozen=True)
class Ranked:
    """A rank correlation over data sets, mean over networks; nan where a measure is the same for all sets.

    Attributes:
        value: in [-1, 1].
        low, high: 95 % interval, by drawing data sets with replacement.
        p: share of all deals that lie as far from `chance` or farther, both sides.
        chance: mean over all deals; far from 0 where both measures hold a common term.
        each: the correlation of each network.
        sets: number of data sets.
    """

    value: float
    low: float
    high: float
    p: float
    chance: float
    each: tuple[float, ...]
    sets: int


def correlation(first: NDArray[np.number], second: NDArray[np.number]) -> NDArray[np.float64]:
    """Spearman's rank correlation along the last axis, ties share their rank; nan where a side has one value only."""
    ranks = [stats.rankdata(side, axis=-1) for side in (first, second)]
    one, other = (side - side.mean(-1, keepdims=True) for side in ranks)
    return _share((one * other).sum(-1), (one**2).sum(-1) * (other**2).sum(-1))


def _share(product: NDArray[np.float64], squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """A product over the largest that it could be; nan where that is 0."""
    product = np.asarray(product, dtype=float)
    return np.divide(product, np.sqrt(squares), out=np.full(product.shape, math.nan), where=squares > 0)


def ranked(measure: Table, outcome: Table, less: Table | None = None, draws: int = DRAWS) -> Ranked:
    """How far a measure orders the data sets as an outcome does.

    Args:
        measure: of each network and data set.
        outcome: of the same.
        less: what is taken off the outcome, where the measure holds it too: it stays with its data set while the
            outcome is dealt out, so that what both have in common by making counts as chance.
        draws: of data sets, for the interval.

    Raises:
        ValueError: other shapes, or more data sets than can be dealt out in every way.
    """
    taken = np.zeros_like(outcome) if less is None else less
    if measure.ndim != 2 or not measure.shape == outcome.shape == taken.shape or measure.shape[1] > MOST:
        raise ValueError(
            f"measures must be alike tables of networks by at most {MOST} data sets; got {measure.shape},"
            f" {outcome.shape} and {taken.shape}; leave sets out"
        )
    count = measure.shape[1]
    each = correlation(measure, outcome - taken)
    dealt = deals(measure, outcome, less)
    value, chance = float(each.mean()), round(float(dealt.mean()), 9) + 0.0
    far = np.abs(dealt - chance) >= abs(value - chance) - 1e-9
    drawn = np.random.default_rng(0).integers(count, size=(draws, count))
    again = correlation(measure[:, drawn], (outcome - taken)[:, drawn]).mean(0)
    again = again[~np.isnan(again)]  # a draw may hold one data set only
    low, high = np.quantile(again, [0.025, 0.975]) if len(again) else (math.nan, math.nan)
    p = math.nan if math.isnan(value) else float(far.mean())
    return Ranked(value, float(low), float(high), p, chance, tuple(map(float, each)), count)


def deals(measure: Table, outcome: Table, less: Table | None = None) -> NDArray[np.float64]:
    """The mean correlation for every way to deal the outcomes out among the data sets, in one order for all calls."""
    orders = np.array(list(itertools.permutations(range(measure.shape[1]))))
    found = np.zeros(len(orders))
    if less is not None:
        for one, other, taken in zip(measure, outcome, less, strict=True):
            found += correlation(np.broadcast_to(one, orders.shape), other[orders] - taken)
        return found / len(measure)
    for pair in zip(measure, outcome, strict=True):  # ranks go along with what is dealt out: ranked once, not each time
        first, second = (ranks - ranks.mean() for ranks in map(stats.rankdata, pair))
        found += _share(second[orders] @ first, (first**2).sum() * (second**2).sum())
    return found / len(measure)
