"""What goes along with accuracy: the distance of two sets, a point for each data set, one family of questions."""

import math

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from submasking.experiments import grid
from submasking.experiments.analyses import correlations
from submasking.experiments.analyses.distance import frechet
from submasking.records import analyses
from submasking.records.names import DATASETS
from submasking.report import correlations as report


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-5, 5))
def test_distance_knows_neither_where_nor_how_large_features_are(seed, scale, shift):
    one, other = draw(seed, 30, 3), 2 * draw(seed + 1, 20, 3) + 1
    turn = np.linalg.qr(draw(seed + 2, 3, 3))[0]
    moved = [scale * side @ turn + shift for side in (one, other)]
    assert frechet(*moved) == pytest.approx(frechet(one, other), rel=1e-6)


@given(st.integers(0, 10**6))
def test_distance_of_one_feature_is_that_of_two_normal_distributions(seed):
    one, other = draw(seed, 15, 1), 3 * draw(seed + 1, 12, 1) + 2
    expected = (one.mean() - other.mean()) ** 2 + (one.std(ddof=1) - other.std(ddof=1)) ** 2
    wide = [np.hstack([side, np.zeros_like(side)]) for side in (one, other)]
    assert frechet(*wide) == pytest.approx(expected / one.var(ddof=1), rel=1e-6)


def test_a_set_has_no_distance_from_itself_and_more_the_farther_it_is_moved():
    features = draw(0, 40, 5)
    found = [frechet(features, features + shift) for shift in (0, 0.5, 1, 2)]
    assert found[0] == pytest.approx(0, abs=1e-9)
    assert found == sorted(found)


@pytest.mark.parametrize(("first", "second"), [((1, 3), (5, 3)), ((5, 3), (1, 3)), ((5, 3), (5, 4))])
def test_features_that_cannot_be_compared_are_refused(first, second):
    with pytest.raises(ValueError, match="two images at least and of one width"):
        frechet(draw(0, *first), draw(1, *second))


def test_features_without_spread_are_refused():
    with pytest.raises(ValueError, match="must differ between images"):
        frechet(np.ones((5, 2)), draw(1, 5, 2))


@pytest.fixture(scope="module")
def small():
    """A made-up grid of two networks whose distances are known: its tasks, records and tables."""
    tasks = grid.analysed("correlations", "tiny", "rn18-timm,rn50-torch", "0,1,2")
    records = [synthetic.record(task) for task in tasks]
    return tasks, records, tables(tasks, records)


def tables(tasks, records):
    known = {(task.model, task.dataset): float(DATASETS.index(task.dataset)) for task in tasks}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correlations, "measured", lambda tasks, images: known)
        return correlations.tables(tasks, records, 2)


def test_a_data_set_is_the_mean_of_the_seeds_that_all_methods_have(small):
    _, records, made = small
    rows = made["sets"]
    assert {(row["model"], row["seeds"]) for row in rows} == {("rn18-timm", 3), ("rn50-torch", 1)}
    for row in rows:
        seeds = range(row["seeds"])
        runs = [one for one in records if (one.model, one.dataset) == (row["model"], row["dataset"])]
        of = {(one.method, one.seed): one.metrics for one in runs}
        assert row["FS"] == pytest.approx(np.mean([of["FS", seed]["top1"] for seed in seeds]))
        assert row["ZS"] == pytest.approx(np.mean([of["ZS", seed]["knn"] for seed in seeds]))


def test_what_goes_along_perfectly_is_found_and_what_is_constant_is_no_number(small, tmp_path):
    tasks = small[0]
    records = [synthetic.record(task) for task in tasks]
    for record in records:
        if record.method == "FS":
            record.metrics["top1"] = 0.9 - 0.05 * DATASETS.index(record.dataset)  # falls with the distance
    made = tables(tasks, records)
    rows = {(row["measure"], row["outcome"]): row for row in made["correlations"]}
    assert rows["distance", "FS"]["value"] == pytest.approx(-1)
    assert rows["distance", "FS"]["clear"]
    assert rows["distance", "FS"]["p"] == pytest.approx(2 / math.factorial(8))
    for outcome in ("FS", "FS − LP", "FS − FFT"):  # all made-up sets have ten classes
        assert rows["classes", outcome]["value"] is None
        assert not rows["classes", outcome]["clear"]
    (family,) = made["family"]
    assert family["questions"] == len(rows) - 6
    assert family["expected"] == pytest.approx(0.05 * family["questions"])
    assert 0 < family["largest_by_chance"] < 1
    analyses.write(analyses.Analysis("correlations", "tiny", "all", {}, {}, made), tmp_path)


def test_what_a_probe_shares_with_the_gain_over_it_is_chance(small):
    rows = {(row["measure"], row["outcome"]): row for row in small[2]["correlations"]}
    assert rows["LP", "FS − LP"]["chance"] < -0.3
    others = [row["chance"] for key, row in rows.items() if key != ("LP", "FS − LP") and row["chance"] is not None]
    assert others == pytest.approx([0] * len(others), abs=1e-9)


def test_every_correction_is_over_all_questions(small):
    rows = [row for row in small[2]["correlations"] if row["p"] is not None]
    least = min(rows, key=lambda row: row["p"])
    assert least["holm"] == pytest.approx(min(1, least["p"] * len(rows)))


@pytest.mark.parametrize("name", report.FIGURES)
def test_every_figure_can_be_drawn(small, name):
    for dark in (False, True):
        figure = report.FIGURES[name](small[2], dark=dark)
        figure.canvas.draw()
        assert all(axes.lines for axes in figure.axes if axes.get_visible())


def test_the_answer_counts_what_chance_would_give(small):
    said = report.sentence(small[2])
    assert "Rank correlations over 8 data sets, mean of 2 networks" in said
    assert "chance alone gives 0.65" in said


def test_the_paper_s_own_networks_have_no_source_to_be_far_from():
    assert correlations.measured(grid.analysed("correlations", "paper", "rn18-timm"), 2) == {}


@pytest.mark.parametrize(
    ("given_here", "told"),
    [({"images": 1}, "images must be 2 or more"), ({"model": "rn50-clip"}, "adapts; got 'rn50-clip'")],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(given_here, told):
    with pytest.raises(ValueError, match=told):
        correlations.analyse("smoke", **given_here)
