"""Analyses: written once, read where they asked the same, refused where the runs behind them are others."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic
from bookext import analyses as pages
from hypothesis import given, settings
from hypothesis import strategies as st

from submasking.experiments import grid
from submasking.experiments.analyses import keeping
from submasking.experiments.grid import Reads
from submasking.records import analyses, results
from submasking.records.analyses import Analysis

RECORDS = [record for record in synthetic.records() if record.method == "FS"][:4]
TABLE = [{"set": "a", "seed": 0, "share": 0.25}, {"set": "a", "seed": 1, "share": 0.5}, {"set": "b", "seed": 0,
         "share": None}]  # fmt: skip


def analysis(**changes):
    return replace(
        Analysis("layers", "tiny", "all", {"seeds": "all"}, analyses.read_by(RECORDS), {"shares": TABLE}), **changes
    )


def books(folder, records=RECORDS, profile="tiny", own=False):
    recipes = analyses.read_by(records)
    return SimpleNamespace(folder=folder, records=records, recipes=recipes, profile=profile, own=own)


@settings(max_examples=30, deadline=None)
@given(st.floats(-1e9, 1e9), st.text(max_size=9), st.booleans(), st.integers(-(10**12), 10**12))
def test_what_is_kept_is_what_was_found_to_six_digits(tmp_path_factory, number, word, true, count):
    folder = tmp_path_factory.mktemp("kept")
    rows = [{"number": number, "word": word, "true": true, "count": count, "none": None}]
    analyses.write(analysis(tables={"one": rows}), folder)
    (back,) = analyses.read(folder, "layers-all").tables["one"]
    assert back["number"] == pytest.approx(number, rel=1e-5)
    assert {key: back[key] for key in back if key != "number"} == {k: v for k, v in rows[0].items() if k != "number"}


@pytest.mark.parametrize("cell", [float("nan"), float("inf"), [1], np.float32("nan"), {"a": 1}, 1j])
def test_a_cell_that_is_no_plain_value_is_refused(tmp_path, cell):
    with pytest.raises(ValueError, match="share in table shares must be"):
        analyses.write(analysis(tables={"shares": [{"share": cell}]}), tmp_path)
    assert not list(tmp_path.rglob("*"))


def test_numbers_of_numpy_are_plain_ones(tmp_path):
    analyses.write(
        analysis(tables={"shares": [{"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True)}]}), tmp_path
    )
    assert analyses.read(tmp_path, "layers-all").tables["shares"] == [{"a": 0.5, "b": 3, "c": True}]


def test_a_table_without_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must have rows, shares has none"):
        analyses.write(analysis(tables={"shares": []}), tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: text.replace('"schema": 1', '"schema": 2'),
        lambda text: text.replace('"name": "layers"', '"name": "other"'),
    ],
)
def test_a_damaged_file_is_refused_and_made_again(tmp_path, damage):
    path = analyses.write(analysis(), tmp_path)
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ValueError, match="must be the analysis layers-all"):
        analyses.read(tmp_path, "layers-all")
    assert analyses.known(tmp_path, analysis()) is None


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"seeds": "0"}},
        {"runs": analyses.read_by(RECORDS[:3])},
        {"runs": analyses.read_by([*RECORDS[:3], replace(RECORDS[3], recipe={"lr": 7})])},
    ],
)
def test_an_analysis_is_known_only_if_it_asked_the_same_of_the_same_runs(tmp_path, change):
    analyses.write(analysis(), tmp_path)
    assert analyses.known(tmp_path, analysis()) is not None
    assert analyses.known(tmp_path, analysis(**change)) is None


def test_it_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    calls = []

    def make():
        calls.append(1)
        return {"shares": TABLE}

    first, second = (keeping.kept("layers", "tiny", "all", RECORDS, {"a": 1}, make) for _ in range(2))
    assert first == second
    assert len(calls) == 1
    assert first.tables["shares"] == TABLE
    assert first.versions
    keeping.kept("layers", "tiny", "all", RECORDS, {"a": 2}, make)
    assert len(calls) == 2


def test_the_book_shows_what_is_kept_if_it_read_these_runs_and_maybe_more(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    made = keeping.kept("layers", "tiny", "all", RECORDS, {"a": 2}, lambda: {"shares": TABLE})
    monkeypatch.setenv(results.READ_ONLY, "1")
    assert keeping.kept("layers", "tiny", "all", RECORDS[:2], {"a": 1}, dict) == made
    others = [*RECORDS[:2], replace(RECORDS[2], recipe={"lr": 7})]
    for name, records in (("layers", others), ("others", RECORDS)):
        with pytest.raises(FileNotFoundError, match="run its notebook"):
            keeping.kept(name, "tiny", "all", records, {"a": 2}, dict)


def test_the_book_refuses_an_analysis_of_other_runs_than_it_shows(tmp_path):
    analyses.write(analysis(), tmp_path)
    assert pages.find(books(tmp_path), "layers-all") is not None
    others = ([*RECORDS[:3], replace(RECORDS[3], recipe={"lr": 7})], RECORDS[1:])
    for records in others:
        with pytest.raises(
            ValueError, match="1 are others, first " + str(RECORDS[3 if records is others[0] else 0].path)
        ):
            pages.find(books(tmp_path, records), "layers-all")


def test_only_the_project_s_own_records_must_have_every_analysis(tmp_path):
    with pytest.raises(ValueError, match="must be an analysis layers-all"):
        pages.find(books(tmp_path), "layers-all")
    assert pages.find(books(tmp_path, own=True), "layers-all") is None
    assert pages.find(books(tmp_path, profile="smoke"), "layers-all") is None


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A book that has the analysis, whose report is one of a name only."""
    analyses.write(analysis(), tmp_path)
    monkeypatch.setattr(pages, "_report", lambda name: SimpleNamespace(__file__="report.py"))
    return books(tmp_path)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("share; set=a, seed=0", "0.25"),
        ("share; set=a, seed=1; .0%", "50 %"),
        ("seed; set=b", "0"),
        ("share; set=b", "–"),
        ("share; seed=1; +.2f", "+0.50"),
    ],
)
def test_a_number_is_the_cell_that_the_words_choose(shelf, words, shown):
    assert pages.evaluate(f"layers-all; shares; {words}", shelf).text == shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("shares; share", "chooses 3"),
        ("shares; share; set=c", "chooses 0"),
        ("shares; sum; set=b", "column of set, seed, share"),
        ("shares; share; colour=b", "column=value"),
        ("shares; share; set", "column=value"),
        ("others; share; set=b", "must be one of shares"),
    ],
)
def test_words_that_choose_no_single_cell_are_refused(shelf, words, told):
    with pytest.raises(ValueError, match=told):
        pages.evaluate(f"layers-all; {words}", shelf)


def test_the_grid_executes_an_analysis_after_the_notebooks_whose_runs_it_reads(monkeypatch):
    monkeypatch.setattr(grid, "ANALYSES", {"layers": Reads(("FS", "SSM"))})
    assert "layers-all" in grid.notebooks("tiny")
    runs = grid.notebook_runs("layers-all", "tiny", "0")
    assert {run.method for run in runs} == {"FS", "SSM"}
    assert len(runs) == len(set(runs))
    before = grid.before("layers-all", "tiny")
    assert {"submasking-rn18-timm", "label_sparsity-rn50-swav"} <= set(before)
    assert not {"compression-all", "layers-all"} & set(before)
    assert set(grid.runs("tiny")) == set(without(monkeypatch))


def without(monkeypatch):
    monkeypatch.setattr(grid, "ANALYSES", {})
    return grid.runs("tiny")


def test_a_folder_of_pictures_has_no_grid_to_analyse(monkeypatch):
    monkeypatch.setattr(grid, "ANALYSES", {"layers": Reads(("FS",))})
    with pytest.raises(ValueError, match="profile images has not"):
        grid.analysed("layers", "images", "all")
    with pytest.raises(ValueError, match="model must be among"):
        grid.analysed("layers", "tiny", "rn19")


def test_a_file_of_an_analysis_is_no_record_of_a_run(tmp_path):
    analyses.write(analysis(), tmp_path)
    assert results.read(tmp_path) == []
    assert json.loads((tmp_path / "analyses" / "layers-all.json").read_text(encoding="utf-8"))["schema"] == 1


def test_long_heads_are_wrapped_in_print_only_where_the_table_is_too_wide():
    heads, cells = ["set", "tensors compared with the first"], [["a", "0"], ["b", "12"]]
    assert pages._spec(heads, cells, [False, True]) == "lr"
    many = heads + [f"tensors compared with number {k}" for k in range(3)]
    assert pages._spec(many, [["a", "0", "0", "0", "b" * 20]], [False] + [True] * 4) == "l" + 3 * "p{1.7cm}" + "r"
