"""Few labels: what the grid has is read, other shares are trained in as many steps, and comparisons are by image."""

import numpy as np
import pytest

from submasking.experiments import methods
from submasking.experiments.analyses import low_shot
from submasking.experiments.analyses.low_shot import Budget
from submasking.experiments.run import Run
from submasking.records import analyses
from submasking.records.profiles import profile
from submasking.report import low_shot as report
from submasking.report.statistics import Sample

MODEL = "rn50-swav"


@pytest.fixture(scope="module")
def made(smoke_results):
    """The analysis on two data sets, one of which the grid does not adapt without labels; what a second call prints."""
    del smoke_results
    return low_shot.analyse("smoke", MODEL, Budget(("cifar10",), ("dtd",), (0,), (25.0, 100.0)))


@pytest.mark.usefixtures("smoke_results")
def test_every_way_has_every_share_and_masks_every_set(made, capsys):
    curve = {(row["method"], row["labels"]) for row in made.tables["curve"]}
    assert curve == {(way, share) for way in low_shot.LABELLED + low_shot.UNLABELLED for share in (25.0, 100.0)}
    asked = {(row["dataset"], row["method"], row["judge"]) for row in made.tables["sets"]}
    assert asked == {
        (name, way, judge) for name in ("cifar10", "dtd") for way in low_shot.MASKS for judge in ("knn", "lp")
    }
    capsys.readouterr()
    again = low_shot.analyse("smoke", MODEL, Budget(("cifar10",), ("dtd",), (0,), (25.0, 100.0)))
    assert again == made
    assert "SSM dtd" not in capsys.readouterr().out  # nothing is trained again


@pytest.mark.usefixtures("smoke_results")
def test_what_the_grid_has_is_what_the_analysis_says(made):
    (record,) = low_shot.keeping.records_of([Run("smoke", MODEL, "cifar10", "SSM", 0.0)])
    (probe,) = (r for r in made.tables["curve"] if (r["method"], r["labels"]) == ("SSM", 100.0))
    assert probe["top1"] == pytest.approx(record.metrics["lp@100"], abs=1e-5)
    (near,) = (r for r in made.tables["sets"] if (r["dataset"], r["method"], r["judge"]) == ("cifar10", "SSM", "knn"))
    assert near["top1"] == pytest.approx(record.metrics["knn"], abs=1e-5)


@pytest.mark.usefixtures("smoke_results")
@pytest.mark.parametrize(("share", "near"), [(5.0, 10.0), (20.0, 10.0), (50.0, 100.0)])
def test_another_share_takes_as_many_steps_at_the_rates_of_a_near_one(monkeypatch, share, near):
    seen = {}

    def adapt(backbone, images, method, plan, **others):
        seen.update(images=len(images), plan=plan)
        raise KeyboardInterrupt

    monkeypatch.setattr(methods, "adapt", adapt)
    task = Run("smoke", MODEL, "cifar10", "FFT", near)
    with pytest.raises(KeyboardInterrupt):
        low_shot._trained(task, share)
    usual = profile("smoke").method("FFT", MODEL, near)
    assert seen["plan"].lr == usual.lr
    assert seen["plan"].epochs == pytest.approx(usual.epochs * 100 / share, rel=0.1)
    train = methods.images_of(task, "train")
    assert seen["images"] == len(methods.with_labels(task, train, share)) < len(train)


def outcomes(gains, n=400, seed=0):
    """Samples of a few ways on two sets: the probe right half of the time, the others as much more often as told."""
    draw, known = np.random.default_rng(seed), {}
    for name in ("cifar10", "cifar100"):
        ways = {}
        for key, gain in gains.items():
            right = {k: draw.random(n) < 0.5 + gain for k in range(3)}
            ways[key] = Sample({k: float(v.mean()) for k, v in right.items()}, right, name=key)
        known[name] = ways
    return known


def test_a_gain_is_found_where_there_is_one_and_told():
    ways = low_shot.LABELLED + low_shot.UNLABELLED
    gains = {f"{way}@{share}": 0.3 * (way == "SSM-squared" and share == 5) for way in ways for share in (5, 100)}
    known = outcomes(gains | {"ZS knn": 0.0, "SSM knn": -0.3, "SSM-squared knn": 0.0})
    tables = low_shot.tables(known, Budget(("cifar10", "cifar100"), (), (0, 1, 2), (5.0, 100.0)))
    assert [(row["method"], row["labels"]) for row in tables["against"] if row["clear"]] == [("SSM-squared", 5.0)]
    worse = {(row["dataset"], row["method"]) for row in tables["sets"] if row["clear"]}
    assert worse == {("cifar10", "SSM"), ("cifar100", "SSM")}
    said = report.answer(tables)
    assert "SSM by nearest neighbours better on 0, worse on 2 of 2" in said
    assert "5 % SSM + LP, squared" in said
    assert "nan" not in said


@pytest.mark.usefixtures("smoke_results")
def test_the_tables_can_be_kept_and_drawn(made, tmp_path):
    analyses.write(made, tmp_path)
    for draw in report.FIGURES.values():
        for dark in (False, True):
            assert draw(made.tables, dark=dark).axes


@pytest.mark.parametrize("shares", [(), (0.0,), (10.0, 101.0), (-5.0,)])
def test_shares_out_of_range_are_refused(shares):
    with pytest.raises(ValueError, match=r"shares must lie above 0 and up to 100 .*such as 5,10,100"):
        Budget(("cifar10",), (), (0,), shares)


@pytest.mark.parametrize("shares", [(10.0, 10.0), (5.0, 10.0, 100.0, 5.0), (100.0, 100.0)])
def test_shares_that_are_named_twice_are_refused(shares):
    with pytest.raises(ValueError, match="shares must be named once each; got"):
        Budget(("cifar10",), (), (0,), shares)
