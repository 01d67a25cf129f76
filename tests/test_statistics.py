import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks import false_alarms
from submasking.report import statistics
from submasking.report.statistics import BOTH, IMAGES, NOTHING, SEEDS, Sample


def sample(outcomes, *, test="a", fixed=False, first=0):
    right = {first + seed: np.asarray(row, dtype=bool) for seed, row in enumerate(outcomes)}
    return Sample({seed: float(row.mean()) for seed, row in right.items()}, right, test, fixed, "a method")


def drawn(seed, seeds=3, images=40, share=0.7):
    return np.random.default_rng(seed).random((seeds, images)) < share


def literal(outcomes):
    """Mean squares of the two-way layout, summed one by one, and the wider of the two intervals."""
    rows = [list(map(float, row)) for row in outcomes]
    s, i = len(rows), len(rows[0])
    mean = sum(map(sum, rows)) / (s * i)
    by_seed = [sum(row) / i for row in rows]
    by_image = [sum(row[k] for row in rows) / s for k in range(i)]
    a = i * sum((x - mean) ** 2 for x in by_seed) / (s - 1)
    b = s * sum((x - mean) ** 2 for x in by_image) / (i - 1)
    rest = sum((rows[j][k] - by_seed[j] - by_image[k] + mean) ** 2 for j in range(s) for k in range(i))
    c = rest / ((s - 1) * (i - 1))
    variance = max(a + b - c, a, b)
    freedom = max(variance**2 / (a**2 / (s - 1) + b**2 / (i - 1) + c**2 / ((s - 1) * (i - 1))), s - 1)
    widths = [
        stats.t.ppf(0.975, freedom) * math.sqrt(variance / (s * i)),
        stats.t.ppf(0.975, s - 1) * math.sqrt(a / (s * i)),
    ]
    return mean, max(widths)


@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(5, 30))
def test_the_interval_is_that_of_the_literal_two_way_layout(seed, seeds, images):
    outcomes = drawn(seed, seeds, images)
    if outcomes.all() or not outcomes.any():
        return
    mean, width, _ = statistics.two_way(outcomes.astype(np.int8))
    assert (float(mean), float(width)) == pytest.approx(literal(outcomes))


@given(st.integers(0, 10**6), st.integers(2, 5))
def test_p_is_below_five_percent_where_the_interval_leaves_out_nought_and_only_there(seed, seeds):
    found = statistics.difference(sample(drawn(seed, seeds)), sample(drawn(seed + 1, seeds, share=0.6)))
    assert found.basis == BOTH
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


@given(st.integers(0, 10**6))
def test_turning_the_question_turns_the_answer(seed):
    one, two = sample(drawn(seed)), sample(drawn(seed + 1))
    there, back = statistics.difference(one, two), statistics.difference(two, one)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert there.p == pytest.approx(back.p)


def test_a_method_against_itself_is_no_difference():
    found = statistics.difference(sample(drawn(0)), sample(drawn(0)))
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_only_seeds_in_common_are_paired():
    found = statistics.difference(sample(drawn(0, 4)), sample(drawn(1, 3), first=2))
    assert found.seeds == 2
    with pytest.raises(ValueError, match="two with the same seed"):
        statistics.difference(sample(drawn(0, 2)), sample(drawn(1, 2), first=2))


def test_a_run_that_no_seed_changes_is_paired_with_every_seed():
    found = statistics.difference(sample(drawn(0, 3)), sample(drawn(1, 1), fixed=True))
    assert (found.seeds, found.images, found.basis) == (3, 40, BOTH)


def test_two_such_runs_differ_by_the_images_alone():
    one, two = drawn(0, 1, 200), drawn(1, 1, 200, 0.4)
    found = statistics.difference(sample(one, fixed=True), sample(two, fixed=True))
    assert found.basis == IMAGES
    assert found.p == pytest.approx(stats.ttest_rel(one[0].astype(float), two[0].astype(float)).pvalue)


def test_without_outcomes_by_image_the_seeds_are_all_there_is():
    one, two = Sample({0: 0.9, 1: 0.8, 2: 0.85}), Sample({0: 0.7, 1: 0.72, 2: 0.71})
    found = statistics.difference(one, two)
    assert (found.basis, found.images) == (SEEDS, 0)
    assert found.p == pytest.approx(stats.ttest_rel([0.9, 0.8, 0.85], [0.7, 0.72, 0.71]).pvalue)


def test_one_run_each_says_nothing_of_the_spread():
    found = statistics.difference(Sample({0: 0.9}), Sample({0: 0.1}))
    assert found.basis == NOTHING
    assert math.isnan(found.p)
    assert found.value == pytest.approx(0.8)


def test_runs_on_other_test_images_cannot_be_compared():
    with pytest.raises(ValueError, match="the same test images in the same order"):
        statistics.difference(sample(drawn(0)), sample(drawn(1), test="b"))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_agrees_with_the_step_down_rule(values):
    adjusted = statistics.holm(values)
    order = sorted(range(len(values)), key=lambda place: values[place])
    stopped = False
    for rank, place in enumerate(order):
        stopped = stopped or values[place] * (len(values) - rank) >= 0.05
        assert (adjusted[place] < 0.05) == (not stopped)


def test_holm_leaves_out_what_has_no_p():
    adjusted = statistics.holm([0.02, math.nan, 0.03])
    assert adjusted[0] == pytest.approx(0.04)
    assert adjusted[2] == pytest.approx(0.04)
    assert math.isnan(adjusted[1])


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_false_alarms_are_about_five_percent_where_two_standard_errors_of_the_seeds_raise_many(noise):
    outcomes = false_alarms.simulate(np.random.default_rng(0), 1000, 3, (0.8, 300, 0.5, False), noise, 0.0)
    assert (statistics.two_way(outcomes)[2] < 0.05).mean() < 0.08
    better = false_alarms.simulate(np.random.default_rng(0), 200, 5, (0.8, 300, 0.5, False), noise, 0.15)
    assert (statistics.two_way(better)[2] < 0.05).mean() > 0.8
