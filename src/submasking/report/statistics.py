"""Is one method better than another on a data set: the difference over seeds and test images, its interval and p.

The seeds are a sample of all runs that could have been made, the test images one of all that could have been asked,
and every run is asked the same ones. So the outcomes d[s, i], right or not or the difference of two runs, have two
random parts that cross, and the variance of their mean is that of the two-way layout (Satterthwaite 1946,
doi:10.2307/3002019). Few seeds say little about their own part: the interval is at least that of a t test over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.05
BOTH, SEEDS, IMAGES, NOTHING = "seeds and test images", "seeds", "test images", "no spread known"


@dataclass(frozen=True)
class Sample:
    """The runs of one method on one data set.

    Attributes:
        values: by seed what was measured.
        right: by seed whether each test image was given its label, bool [images]; empty where that is not known.
        test: what the test images are; samples can be paired by image only where it is the same.
        fixed: whether the seed decides nothing, so that the one run stands for all.
        name: for messages.
    """

    values: Mapping[int, float]
    right: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)
    test: str = ""
    fixed: bool = False
    name: str = ""


@dataclass(frozen=True)
class Estimate:
    """A mean with what is known about it.

    Attributes:
        value: mean of one sample, or difference of the means of two.
        low, high: ends of the 95 % interval; nan where no spread is known.
        p: two-sided, of the value being 0; nan where no spread is known.
        seeds: how many runs, or pairs of runs with the same seed.
        images: test images; 0 where the outcomes by image are not known.
        basis: what the interval holds: BOTH, SEEDS, IMAGES or NOTHING.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    seeds: int = 0
    images: int = 0
    basis: str = NOTHING


def estimate(sample: Sample) -> Estimate:
    """Mean of one sample with its interval; p says nothing here."""
    return _estimate(sample.values, sample.right, sample.fixed)


def difference(first: Sample, second: Sample) -> Estimate:
    """How much `first` is above `second`, paired by seed, and by test image where both samples know the outcomes.

    A fixed sample is paired with every seed of the other.

    Raises:
        ValueError: there is no pair, or the test images are not the same.
    """
    if first.right and second.right and first.test != second.test:
        raise ValueError(
            f"{first.name} and {second.name} must be judged on the same test images in the same order to be compared; "
            "run both again"
        )
    seeds = _pairs(first, second)
    pairs = [(_key(first, seed), _key(second, seed)) for seed in seeds]
    values = {seed: first.values[a] - second.values[b] for seed, (a, b) in zip(seeds, pairs, strict=True)}
    known = all(a in first.right and b in second.right for a, b in pairs)
    outcomes = {
        seed: first.right[a].astype(np.int8) - second.right[b].astype(np.int8)
        for seed, (a, b) in zip(seeds, pairs, strict=True)
        if known
    }
    return _estimate(values, outcomes, first.fixed and second.fixed)


def joined(samples: Sequence[Sample]) -> Sample:
    """Samples of one method on several data sets as one: the test images of all, for the seeds that all have.

    Raises:
        ValueError: there is none, no seed that all have, or one whose outcomes by image are not known.
    """
    seeds = sorted(set.intersection(*(set(one.right) for one in samples))) if samples else []
    if not seeds:
        raise ValueError(
            "samples must have a seed in common with known outcomes by image; there is none, run them again"
        )
    right = {seed: np.concatenate([one.right[seed] for one in samples]) for seed in seeds}
    values = {seed: float(outcomes.mean()) for seed, outcomes in right.items()}
    return Sample(values, right, " ".join(one.test for one in samples), name=samples[0].name)


def holm(values: Sequence[float]) -> list[float]:
    """Adjust p values so that all of them together raise a false alarm in 5 % of all cases at most; nan stays nan.

    Holm 1979, jstor.org/stable/4615733.
    """
    known = sorted((p, place) for place, p in enumerate(values) if not math.isnan(p))
    adjusted, before = list(values), 0.0
    for rank, (p, place) in enumerate(known):
        adjusted[place] = before = max(before, min(1.0, (len(known) - rank) * p))
    return adjusted


def two_way(outcomes: NDArray[np.number]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean, half the width of its 95 % interval, and p of its being 0, for outcomes [..., seeds, images], two of each.

    With the mean squares of seeds, images and rest, each over the number of outcomes, the variance of the mean is
    seeds + images - rest, and not below the larger of the first two; its degrees of freedom are Satterthwaite's.
    """
    count_seeds, count = outcomes.shape[-2], outcomes.shape[-2] * outcomes.shape[-1]
    free = count_seeds - 1, outcomes.shape[-1] - 1
    by_seed, by_image = outcomes.mean(-1, dtype=float), outcomes.mean(-2, dtype=float)
    mean = by_seed.mean(-1)
    squares = np.square(outcomes, dtype=float).sum((-2, -1)) - count * mean**2
    seeds = outcomes.shape[-1] * by_seed.var(-1, ddof=1)
    images = count_seeds * by_image.var(-1, ddof=1)
    rest = np.maximum(squares - seeds * free[0] - images * free[1], 0) / (free[0] * free[1])
    variance = np.maximum(seeds + images - rest, np.maximum(seeds, images))
    spread = seeds**2 / free[0] + images**2 / free[1] + rest**2 / (free[0] * free[1])
    freedom = np.divide(variance**2, spread, out=np.full_like(mean, free[0]), where=spread > 0)
    both = _test(mean, variance / count, np.maximum(freedom, free[0]))
    alone = _test(mean, seeds / count, np.full_like(mean, free[0]))
    return mean, np.maximum(both[0], alone[0]), np.maximum(both[1], alone[1])


def _test(
    mean: NDArray[np.float64], variance: NDArray[np.float64], freedom: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Half the width of the interval, and p, of a t test."""
    error = np.sqrt(variance)
    distance = np.divide(np.abs(mean), error, out=np.where(mean == 0, 0.0, np.inf), where=error > 0)
    return stats.t.isf(LEVEL / 2, freedom) * error, 2 * stats.t.sf(distance, freedom)


def _estimate(values: Mapping[int, float], outcomes: Mapping[int, NDArray[np.generic]], fixed: bool) -> Estimate:
    numbers = np.array(list(values.values()), dtype=float)
    if not numbers.size:
        raise ValueError("there must be a run, or two with the same seed to be compared; there is none")
    mean, images = float(numbers.mean()), len(next(iter(outcomes.values()), ()))
    if fixed and images > 1:
        alone = np.asarray(next(iter(outcomes.values())), dtype=float)
        width, p = _test(np.array(mean), np.array(alone.var(ddof=1) / images), np.array(images - 1.0))
        basis = IMAGES
    elif len(numbers) > 1 and len(outcomes) == len(numbers) and images > 1:
        _, width, p = two_way(np.stack([np.asarray(row) for row in outcomes.values()]))
        basis = BOTH
    elif len(numbers) > 1 and not fixed and numbers.var() > 0:
        width, p = _test(np.array(mean), np.array(numbers.var(ddof=1) / len(numbers)), np.array(len(numbers) - 1.0))
        basis = SEEDS
    else:
        return Estimate(mean, seeds=len(numbers), images=images)
    return Estimate(mean, mean - float(width), mean + float(width), float(p), len(numbers), images, basis)


def _pairs(first: Sample, second: Sample) -> list[int]:
    if first.fixed and second.fixed:
        return [min(first.values)]
    if first.fixed or second.fixed:
        return sorted((second if first.fixed else first).values)
    return sorted(set(first.values) & set(second.values))


def _key(sample: Sample, seed: int) -> int:
    return min(sample.values) if sample.fixed else seed
