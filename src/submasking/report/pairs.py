"""Do two measures of pairs of tasks agree? Pairs that share a task are not independent: the tasks are what is drawn.

The p value is that of Mantel's test (1967, Cancer Research 27): one matrix gets its tasks permuted, rows and columns
alike. The interval is a bootstrap over tasks, in which pairs of a task with itself do not count.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

DRAWS = 2000
EVERY = 8  # of so many tasks every order is tried, of more `DRAWS` of them
LEAST = 3  # tasks
Matrix = Float[np.ndarray, "tasks tasks"]
Stack = Float[np.ndarray, "*draws tasks tasks"]


@dataclass(frozen=True)
class Agreement:
    """Rank correlation (Spearman's) of two measures.

    Attributes:
        value: in [-1, 1]; nan where a measure is the same for all pairs.
        low, high: ends of the 95 % interval over tasks.
        p: two-sided, of there being no connection; at least one over the number of orders of the tasks.
        tasks: how many.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    tasks: int = 0


def agreement(first: Matrix, second: Matrix, *, by_target: bool = False, seed: int = 0) -> Agreement:
    """How far two measures put pairs of tasks into the same order.

    Args:
        first: a measure of each pair of a source and a target, [sources, targets]; the diagonal does not count.
        second: another.
        by_target: order the sources of each target, and take the mean over the targets: so what makes a target easy or
            hard does not count. Else all pairs are one order; of symmetric measures each pair counts once.
        seed: of the bootstrap, and of the orders where not all are tried.

    Raises:
        ValueError: fewer than three tasks, or shapes that differ.
    """
    count = len(first)
    if first.shape != second.shape or first.shape != (count, count) or count < LEAST:
        raise ValueError(
            f"measures must be square, of the same {LEAST} tasks or more; got {first.shape} and {second.shape}; name"
            " more data sets"
        )
    random, others = np.random.default_rng(seed), ~np.eye(count, dtype=bool)
    units = [_unit(matrix, others, by_target) for matrix in (first, second)]
    if not all(unit.any() for unit in units):
        return Agreement(math.nan, tasks=count)
    orders = _orders(count, random)
    first_ranks, second_ranks = units
    chance = _together(first_ranks, second_ranks[orders[:, :, None], orders[:, None, :]], by_target)
    value = float(_together(first_ranks, second_ranks, by_target).clip(-1, 1))
    p = float(np.mean(np.abs(chance) >= abs(value) - 1e-9))
    chosen = random.integers(count, size=(2 * DRAWS, count))
    chosen = chosen[[len(set(tasks)) >= LEAST for tasks in chosen]][:DRAWS]
    there = chosen[:, :, None] != chosen[:, None, :]
    drawn = [_unit(each[chosen[:, :, None], chosen[:, None, :]], there, by_target) for each in (first, second)]
    low, high = np.quantile(_together(drawn[0], drawn[1], by_target).clip(-1, 1), [0.025, 0.975])
    return Agreement(value, float(low), float(high), p, count)


def _unit(matrix: Stack, there: NDArray[np.bool_], by_target: bool) -> Stack:
    """Ranks of sources for each target, or of all pairs, centred and of length one; nought where a pair is not there.

    A centred rank is half the number of those below less those above.
    """
    shape = matrix.shape
    known = np.where(there, matrix, np.nan)
    columns = known if by_target else known.reshape(*shape[:-2], -1, 1)
    ranks = np.zeros_like(columns)
    for row in range(columns.shape[-2]):
        ranks += np.nan_to_num(np.sign(columns - columns[..., row : row + 1, :]))
    length = np.sqrt((ranks**2).sum(-2, keepdims=True))
    return np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0).reshape(shape)


def _together(first: Stack, second: Stack, by_target: bool) -> NDArray[np.float64]:
    return (first * second).sum((-2, -1)) / (first.shape[-1] if by_target else 1)


def _orders(count: int, random: np.random.Generator) -> Int[np.ndarray, "orders tasks"]:
    if count <= EVERY:
        return np.array(list(itertools.permutations(range(count))))
    drawn = [random.permutation(count) for _ in range(DRAWS - 1)]
    return np.array([np.arange(count), *drawn])  # the order that there is counts, so that no p is nought
