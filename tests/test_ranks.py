"""Rank correlations over data sets: Spearman's, with p by dealing the outcomes out, and what is common by making."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from submasking.report import ranks


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=9))
def test_correlation_is_spearman_s_with_ties(pairs):
    one, other = np.array(pairs).T
    found = ranks.correlation(one, other)
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(one, other).statistic)


@pytest.mark.parametrize("seed", range(4))
def test_p_is_that_of_the_exact_permutation_test(seed):
    one, other = draw(seed, 1, 6), draw(seed + 100, 1, 6)
    reference = stats.permutation_test(
        (one[0],), lambda x: stats.spearmanr(x, other[0]).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    far = np.abs(reference.null_distribution) >= abs(reference.statistic) - 1e-9
    assert ranks.ranked(one, other, draws=10).p == pytest.approx(far.mean())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.permutations(range(5)))
def test_neither_the_order_of_the_sets_nor_the_scale_of_a_measure_matters(seed, networks, order):
    one, other = draw(seed, networks, 5), draw(seed + 1, networks, 5)
    found = ranks.ranked(one, other, draws=10)
    again = ranks.ranked(np.exp(one)[:, order], (3 * other + 1)[:, order], draws=10)
    assert (again.value, again.p, again.chance) == pytest.approx((found.value, found.p, found.chance))


def test_networks_on_the_same_sets_are_no_further_sets():
    one, other = draw(1, 1, 6), draw(2, 1, 6)
    alone, copies = ranks.ranked(one, other, draws=50), ranks.ranked(one.repeat(5, 0), other.repeat(5, 0), draws=50)
    assert (copies.value, copies.p, copies.low, copies.high) == pytest.approx(
        (alone.value, alone.p, alone.low, alone.high)
    )
    assert len(copies.each) == 5


@pytest.mark.parametrize("count", [4, 5, 6])
def test_the_smallest_p_is_that_of_the_two_extreme_orders(count):
    rising = np.arange(count)[None]
    found = ranks.ranked(rising, rising**2)
    assert found.value == pytest.approx(1)
    assert found.p == pytest.approx(2 / math.factorial(count))
    assert found.low == found.high == pytest.approx(1)


def test_a_common_term_is_chance_not_evidence():
    """Accuracies that have nothing to do with each other: the difference goes down with what is taken off it."""
    alarms, plain, chances = 0, 0, []
    for seed in range(60):
        probe, masks = draw(seed, 2, 6), draw(seed + 1000, 2, 6)
        found = ranks.ranked(probe, masks, probe, draws=10)
        alarms += found.p < 0.05
        plain += ranks.ranked(probe, masks - probe, draws=10).p < 0.05
        chances.append(found.chance)
    assert np.mean(chances) < -0.5
    assert alarms <= 8  # 3 are to be expected
    assert plain > 25


def test_deals_come_in_one_order_so_that_they_can_be_laid_beside_each_other():
    one, other = draw(3, 2, 4), draw(4, 2, 4)
    orders = list(itertools.permutations(range(4)))
    dealt = ranks.deals(one, other)
    for number in (0, 7, 23):
        each = [stats.spearmanr(a, b[list(orders[number])]).statistic for a, b in zip(one, other, strict=True)]
        assert dealt[number] == pytest.approx(np.mean(each))


def test_a_measure_that_all_sets_share_has_no_correlation():
    found = ranks.ranked(np.ones((1, 5)), draw(1, 1, 5), draws=10)
    assert all(math.isnan(number) for number in (found.value, found.low, found.high, found.p))


@pytest.mark.parametrize("shapes", [((5,), (5,)), ((1, 5), (1, 4)), ((2, 5), (1, 5)), ((1, 10), (1, 10))])
def test_tables_that_do_not_fit_are_refused(shapes):
    with pytest.raises(ValueError, match="by at most 9 data sets"):
        ranks.ranked(*(np.zeros(shape) for shape in shapes))
