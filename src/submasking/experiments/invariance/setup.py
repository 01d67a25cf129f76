"""What a run of submasking is, for the theorems: an update rule, an initial score, a threshold, a gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from submasking.experiments.invariance.rules import Number, Rule, State

Mask: TypeAlias = Any
# the masks M^0 ... M^t -> the gradient g^t: all that a network, its batches, head and norms do to the scores
Gradient: TypeAlias = Callable[[list[Mask]], Number]


@dataclass(frozen=True)
class Setup:
    """What the theorems compare.

    Attributes:
        rule: update rule with its hyper-parameters.
        start: initial score S^0, one for all or an array.
        threshold: mu.
    """

    rule: Rule
    start: Number
    threshold: Number = 0


class Trajectory(NamedTuple):
    """Masks and scores of every step, the initial ones first."""

    masks: list[Mask]
    scores: list[Number]


def above(score: Number, threshold: Number) -> Mask:
    """Return the mask [S > mu]; a score equal to the threshold is off."""
    return score > threshold


def trajectory(
    setup: Setup,
    gradient: Gradient,
    multipliers: Sequence[Number],
    criterion: Callable[[Number, Number], Mask] = above,
) -> Trajectory:
    """Train the scores for one step per multiplier of the learning-rate schedule.

    Args:
        setup: rule, initial score, threshold.
        gradient: masks so far -> gradient of the loss with respect to the present mask, which passes through to the
            scores (draft, equation 5).
        multipliers: of the learning rate, one per step.
        criterion: score and threshold -> mask.
    """
    score, state, masks, scores = setup.start, State(), [criterion(setup.start, setup.threshold)], [setup.start]
    for multiplier in multipliers:
        score, state = setup.rule.step(score, gradient(masks), state, multiplier)
        scores.append(score)
        masks.append(criterion(score, setup.threshold))
    return Trajectory(masks, scores)


def translate(setup: Setup, shift: Number, decays: tuple[str, ...] = ("constant_decay",)) -> Setup:
    """Move initial score and threshold by the same amount (draft, A.1.1).

    Args:
        setup: what to move.
        shift: any number.
        decays: hyper-parameters that take up what weight decay makes of the shift, where the rule has them. The default
            is the right one: a constant decay becomes smaller by weight_decay * shift.
    """
    rule: Any = setup.rule
    smaller = {name: getattr(rule, name) - rule.weight_decay * shift for name in decays if hasattr(rule, name)}
    return Setup(replace(rule, **smaller), setup.start + shift, setup.threshold + shift)


def scale(setup: Setup, factor: Number, decays: tuple[str, ...] = ("weight_decay",)) -> Setup:
    """Multiply initial score, threshold and learning rate by factor, and divide decays by it (draft, A.1.2).

    Args:
        setup: what to scale.
        factor: positive.
        decays: hyper-parameters that are divided by factor. The default is the right one: a decay proportional to the
            score is divided, a constant one is not.
    """
    rule: Any = setup.rule
    divided = {name: getattr(rule, name) / factor for name in decays if hasattr(rule, name)}
    return Setup(replace(rule, lr=factor * rule.lr, **divided), factor * setup.start, factor * setup.threshold)
