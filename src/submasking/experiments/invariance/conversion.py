"""Equivalent settings: the same masks from another learning rate, initial score, threshold and decays."""

from __future__ import annotations

from submasking.experiments.invariance.rules import Number
from submasking.experiments.invariance.setup import Setup, scale, translate


def convert(setup: Setup, start: Number, threshold: Number = 0) -> Setup:
    """Return the setup with this initial score and threshold that has the same masks at every step.

    Its learning rate is factor = (start - threshold) / (S0 - mu) times the old one, its weight decay 1 / factor times.
    What that decay makes of a shift of the threshold, the constant decay of `SGD` takes up.

    Raises:
        ValueError: if no setup with these values is equivalent.
    """
    gap, wanted = setup.start - setup.threshold, start - threshold
    if (gap > 0) != (wanted > 0) or (gap < 0) != (wanted < 0):
        raise ValueError(
            f"initial scores must lie on the same side of their thresholds; S0 - mu is {gap} before and {wanted}"
            " after; no positive factor makes one of the other: choose S0 on the old side of mu"
        )
    return _affine(setup, wanted / gap if gap else 1, threshold)


def with_lr(setup: Setup, lr: Number, threshold: Number = 0) -> Setup:
    """Return the setup with this learning rate and threshold that has the same masks at every step.

    Raises:
        ValueError: if lr is not positive, or no setup with these values is equivalent.
    """
    if not lr > 0:
        raise ValueError(f"the learning rate must be positive; got {lr}")
    return _affine(setup, lr / setup.rule.lr, threshold)


def canonical(setup: Setup) -> Setup:
    """Return the equivalent setup with S0 = 1 and mu = 0, the paper's.

    Raises:
        ValueError: if there is none: S0 <= mu, or mu != 0 with weight decay in a rule without constant decay.
    """
    return convert(setup, start=1, threshold=0)


def equivalent(first: Setup, second: Setup) -> bool:
    """Tell whether the theorems give both setups the same masks, whatever the network, data and schedule.

    Numbers are compared as they are: use `Fraction` where rounding could hide an equality.
    """
    factor = second.rule.lr / first.rule.lr
    if not factor > 0 or type(first.rule) is not type(second.rule):
        return False
    try:
        return _affine(first, factor, second.threshold) == second
    except ValueError:
        return False


def _affine(setup: Setup, factor: Number, threshold: Number) -> Setup:
    scaled = scale(setup, factor)
    shift = threshold - scaled.threshold
    if shift != 0 and setup.rule.weight_decay != 0 and not hasattr(setup.rule, "constant_decay"):
        raise ValueError(
            f"with weight decay only mu = {scaled.threshold} is equivalent; got {threshold}: decay pulls scores to 0,"
            f" moving the threshold moves it against that point, and {type(setup.rule).__name__} has no constant decay"
            " to take that up; set weight_decay = 0 or keep that threshold"
        )
    return translate(scaled, shift)
