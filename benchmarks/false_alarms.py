"""How often a comparison of two methods is wrong or finds what is there: `python -m benchmarks false_alarms`.

Runs are made up: an image is as hard as it is, harder or easier for one of the methods, and for each run anew; a run
is better or worse as a whole. Two methods without a difference are compared many times by `report.statistics`: how
often is the difference called clear? Then the second method is made better by some points: how often is that seen?
The number of simulations behind each share stands beside it, and with it a rule that looks at the seeds alone.
"""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from submasking.report import statistics

SEEDS = (2, 3, 5, 10)
NOISE = (0.0, 0.01, 0.02)  # standard deviation of a run's accuracy as a whole
REPEATS = 2000
# accuracy; test images; share of an image's difficulty that is one method's own; whether one method is without seeds
NULLS = tuple(itertools.product((0.3, 0.8, 0.95), (500, 1000), (0.3, 0.9), (False, True)))
POINTS = (0.01, 0.02, 0.05)
SETS = 8
COMMON = 0.7  # share of an image's difficulty that both methods have in common


def simulate(
    draw: np.random.Generator, repeats: int, seeds: int, case: tuple[float, int, float, bool], noise: float, gain: float
) -> NDArray[np.float32]:
    """Differences of outcomes [repeats, seeds, images]: second method minus first, better by `gain` of the images."""
    accuracy, images, own, fixed = case
    # variances of what makes an image hard: for both methods, for one, for one run of one
    parts = COMMON, (1 - COMMON) * own, (1 - COMMON) * (1 - own)
    common = _normal(draw, repeats, 1, images) * np.float32(parts[0] ** 0.5)
    outcomes = []
    for aim, runs in ((accuracy, 1 if fixed else seeds), (accuracy + gain, seeds)):
        place = norm.ppf(aim)
        level = 0.0 if fixed and runs == 1 else noise / norm.pdf(place)
        latent = common + _normal(draw, repeats, 1, images) * np.float32(parts[1] ** 0.5)
        latent = latent + _normal(draw, repeats, runs, images) * np.float32(parts[2] ** 0.5)
        latent += _normal(draw, repeats, runs, 1) * np.float32(level)
        outcomes.append((latent < place * (1 + level**2) ** 0.5).astype(np.float32))
    return outcomes[1] - outcomes[0]


def measure() -> list[dict[str, Any]]:
    """A row for each number of seeds and noise: shares of false alarms, and of differences that are seen."""
    return [_row(seeds, noise) for seeds in SEEDS for noise in NOISE]


def _row(seeds: int, noise: float) -> dict[str, Any]:
    draw = np.random.default_rng([seeds, round(1000 * noise)])
    alarms, before, family = [], [], []
    for case in NULLS:
        outcomes = simulate(draw, REPEATS, seeds, case, noise, 0.0)
        p = statistics.two_way(outcomes)[2]
        alarms.append(float((p < statistics.LEVEL).mean()))
        before.append(float(_two_errors(outcomes).mean()))
        adjusted = [statistics.holm(list(ps)) for ps in p.reshape(-1, SETS)]
        family.append(float(np.mean([min(ps) < statistics.LEVEL for ps in adjusted])))
    found = {
        gain: float((statistics.two_way(simulate(draw, REPEATS, seeds, (0.8, 1000, 0.6, False), noise, gain))[2]
                     < statistics.LEVEL).mean())
        for gain in POINTS
    }  # fmt: skip
    return {
        "seeds": seeds,
        "noise": noise,
        "alarms": round(float(np.mean(alarms)), 4),
        "alarms_most": round(max(alarms), 4),
        "family": round(float(np.mean(family)), 4),
        "two_errors": round(float(np.mean(before)), 4),
        **{f"seen_{round(100 * gain)}": round(share, 4) for gain, share in found.items()},
        "simulations": REPEATS * len(NULLS),
    }


def _two_errors(outcomes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether the mean lies beyond two standard errors over the seeds."""
    means = outcomes.mean(-1)
    return np.abs(means.mean(-1)) > 2 * means.std(-1, ddof=1) / outcomes.shape[-2] ** 0.5


def _normal(draw: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return draw.standard_normal(shape, dtype=np.float32)
