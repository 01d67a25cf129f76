"""Agreement of two measures of pairs of tasks, against scipy and against its own definition."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from submasking.report.pairs import agreement


def symmetric(tasks, random):
    drawn = random.normal(size=(tasks, tasks))
    return drawn + drawn.T


@settings(max_examples=10)
@given(st.integers(3, 7), st.integers(0, 2**31), st.floats(0, 3))
def test_it_is_spearman_s_over_pairs_or_within_targets(tasks, seed, noise):
    random = np.random.default_rng(seed)
    first = symmetric(tasks, random)
    second = np.round(first + noise * symmetric(tasks, random), 1)  # with ties
    pairs = np.triu_indices(tasks, 1)
    wanted = stats.spearmanr(first[pairs], second[pairs]).statistic
    assert agreement(first, second).value == pytest.approx(wanted, abs=1e-9, nan_ok=True)
    others = [np.delete(np.arange(tasks), target) for target in range(tasks)]
    directed = random.permuted(np.arange(tasks * tasks, dtype=float)).reshape(tasks, tasks)
    columns = [stats.spearmanr(first[rows, t], directed[rows, t]).statistic for t, rows in enumerate(others)]
    assert agreement(first, directed, by_target=True).value == pytest.approx(np.mean(columns), abs=1e-9)


def test_p_is_the_share_of_orders_that_agree_as_much():
    random = np.random.default_rng(0)
    first = symmetric(6, random)
    found = agreement(first, first**3)
    assert found.value == pytest.approx(1)
    assert found.p == pytest.approx(1 / math.factorial(6))
    assert found.low == pytest.approx(found.high)


@pytest.mark.parametrize("by_target", [False, True])
def test_a_false_alarm_is_raised_in_one_case_of_twenty(by_target):
    random = np.random.default_rng(1)
    tasks, alarms = 5, []
    for _ in range(60):  # each pair shares the lot of its tasks, so that pairs are not independent
        lots = random.normal(size=(2, tasks))
        first, second = (lot[:, None] + lot[None] for lot in lots)
        alarms.append(agreement(first, second, by_target=by_target).p <= 0.05)
    assert sum(alarms) <= 9


def test_a_measure_without_differences_agrees_with_nothing():
    found = agreement(np.ones((4, 4)), symmetric(4, np.random.default_rng(2)))
    assert math.isnan(found.value)
    assert math.isnan(found.p)


@pytest.mark.parametrize("shapes", [((2, 2), (2, 2)), ((3, 3), (4, 4)), ((3, 4), (3, 4))])
def test_too_few_tasks_are_refused(shapes):
    with pytest.raises(ValueError, match="must be square, of the same 3 tasks or more"):
        agreement(*(np.zeros(shape) for shape in shapes))
