"""Ablations: one change at a time, what was trained is read again, and what is told follows from the tables."""

import json
from dataclasses import replace

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from submasking.experiments.analyses import ablations
from submasking.experiments.analyses.ablations import PLAIN, PROTOTYPES, VARIANTS, Budget
from submasking.experiments.analyses.trials import Trials, compared
from submasking.records import analyses
from submasking.report import ablations as report
from submasking.report.statistics import Sample

CHOSEN = (PLAIN, "top half", "top half in stages", "top as found", "nothing frozen")


@pytest.fixture(scope="module")
def trained(smoke_results):
    """Tables of a few variants, and the files that were left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablations, "VARIANTS", tuple(each for each in VARIANTS if each.name in CHOSEN))
        patch.setattr(ablations, "PROTOTYPES", {name: PROTOTYPES[name] for name in ("as many", "ten times")})
        budget = Budget(("cifar10",), (0, 1), tries=2, epochs=2)
        tables = ablations.variants("smoke", budget)
        again = ablations.variants("smoke", budget)
    files = sorted((smoke_results / "smoke" / "analyses" / "ablations").glob("*.json"))
    return tables, again, files


@pytest.mark.usefixtures("smoke_results")
def test_each_variant_masks_what_it_says(trained):
    tables, again, files = trained
    rows = {row["variant"]: row for row in tables["variants"]}
    assert set(rows) == set(CHOSEN)
    assert rows["top half"]["off"] == pytest.approx(0.5, abs=0.002)
    assert rows["top half in stages"]["off"] == pytest.approx(0.5, abs=0.002)
    # of the pairs' two seeds each has a share of its own
    assert rows["top as found"]["off"] == pytest.approx(rows[PLAIN]["off"], abs=0.002)
    assert all(row["n"] == 2 for row in rows.values())
    numbers = {row["variant"]: row["number"] for row in tables["prototypes"]}
    assert numbers["ten times"] == 10 * numbers["as many"]
    assert again == tables
    assert len(files) == (len(CHOSEN) + 2) * (2 + 2)  # rates that were tried, then two seeds


def test_a_rate_is_taken_where_validation_images_say_so(trained):
    for name in CHOSEN:
        tried = [row for row in trained[0]["rates"] if row["variant"] == name]
        (taken,) = (row for row in tried if row["taken"])
        assert taken["accuracy"] == max(row["accuracy"] for row in tried)
        (row,) = (row for row in trained[0]["variants"] if row["variant"] == name)
        assert row["rate"] == taken["rate"]
    told = [json.loads(file.read_text(encoding="utf-8"))["told"] for file in trained[2]]
    assert {one["seed"] for one in told if one["split"] == "validation"} == {ablations.CHOOSING}
    assert {one["seed"] for one in told if one["split"] == "test"} == {0, 1}


def test_the_tables_can_be_kept_drawn_and_told(trained, tmp_path):
    runs = [record for record in synthetic.records() if record.labels == 100]
    tables = trained[0] | ablations.networks(runs) | ablations.starts(runs)
    analyses.write(analyses.Analysis("ablations", "smoke", "all", {}, {}, tables), tmp_path)
    for draw in (report.variants, report.networks):
        for dark in (False, True):
            assert draw(tables, dark=dark).axes
    said = report.answer(tables)
    assert "mean over 2 pairs of data set and seed" in said
    assert "nan" not in said


@given(
    st.lists(st.integers(-20, 20), min_size=1, max_size=6).filter(lambda gains: len(gains) == 1 or len({*gains}) > 1)
)
def test_ways_are_compared_pair_by_pair(gains):
    higher = {n: 0.5 + gain / 100 for n, gain in enumerate(gains)}
    values = {"a": Sample(higher), "b": Sample(dict.fromkeys(higher, 0.5))}
    one, turned = compared(values, [("a", "b"), ("b", "a")])
    assert one["points"] == pytest.approx(sum(gains) / len(gains))
    assert turned["points"] == pytest.approx(-one["points"])
    assert one["n"] == len(gains)
    assert (one["low"] is None) == (len(gains) == 1)
    assert None in (one["low"], one["high"]) or one["low"] <= one["points"] <= one["high"]


def test_what_was_made_is_not_made_again(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    calls = []

    def make():
        calls.append(1)
        return {"top1": 0.5}

    for total in (2, 3):
        trials = Trials("ablations", "tiny", total)
        assert trials.find({"way": "a", "seed": 1}, make) == {"top1": 0.5}
    assert trials.find({"way": "a", "seed": 2}, make) == {"top1": 0.5}
    assert len(calls) == 2
    assert "[1/3, 0 s left] a 1 (read): top1 0.500" in capsys.readouterr().out


@pytest.mark.parametrize("change", [{"tries": 0}, {"tries": 6}, {"epochs": 0}])
def test_a_budget_out_of_range_is_refused(change):
    with pytest.raises(ValueError, match="tries must be 1 to 5 and epochs at least 1"):
        replace(Budget(("cifar10",), (0,)), **change)
