import csv
import io
import math
import re
from pathlib import Path

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from submasking.records import profiles
from submasking.records.profiles import TINY
from submasking.report import frames, storage, tables
from submasking.report.tables import DRAFT, HERE, MISSING, PUBLISHED, Cell, Query

ROOT = Path(__file__).resolve().parents[1]
shares = st.floats(0, 1)
SEEDS = (0, 1, 2)  # of the made-up grid


@pytest.fixture(scope="module")
def frame():
    records = synthetic.records()
    return frames.to_frame(records).join(storage.columns(records))


@pytest.fixture(scope="module")
def reported():
    return frames.reported()


def test_a_cell_prints_as_in_the_draft():
    assert Cell(0.9512, 0.0049, 5, digits=3).text() == "0.951 ± 0.005"
    assert Cell(0.87, n=1).text() == "0.87"
    assert Cell(0.62, n=1).text() == "0.62"
    assert Cell().text() == MISSING


@given(st.lists(shares, min_size=1, max_size=5))
def test_a_measured_cell_is_mean_and_sample_deviation_over_seeds(values):
    identity = {"model": "m", "dataset": "d", "method": "FS", "labels": 100.0}
    frame = frames.pd.DataFrame([identity | {"seed": k, "top1": value} for k, value in enumerate(values)])
    cell = tables.measured(frame, "m", "d", "FS", "top1")
    mean = sum(values) / len(values)
    assert cell.value == pytest.approx(mean)
    assert (cell.n, cell.seeds) == (len(values), tuple(range(len(values))))
    if len(values) == 1:
        assert math.isnan(cell.std)
    else:
        assert cell.std**2 == pytest.approx(sum((v - mean) ** 2 for v in values) / (len(values) - 1), abs=1e-9)


def test_a_probe_that_did_not_converge_is_marked_and_explained():
    identity = {"model": "m", "dataset": "d", "method": "LP", "labels": 100.0}
    rows = [identity | {"seed": k, "top1": 0.5, "converged": 1.0 - k} for k in (0, 1)]
    cell = tables.measured(frames.pd.DataFrame(rows), "m", "d", "LP", "top1")
    assert cell.text() == "0.500 ± 0.000" + tables.UNCONVERGED
    assert "stopped before it converged in 1 of them" in cell.provenance()
    assert tables.UNCONVERGED not in tables.measured(frames.pd.DataFrame(rows[:1]), "m", "d", "LP", "top1").text()


def test_labels_are_all_unless_asked(frame):
    few = tables.measured(frame, "rn50-swav", "sun397", "LP", "top1", 10.0)
    every = tables.measured(frame, "rn50-swav", "sun397", "LP", "top1")
    assert few.n == every.n == len(SEEDS)
    assert few.value != every.value
    assert tables.measured(frame, "rn50-swav", "sun397", "SSM", "lp@10").n == len(SEEDS)


def test_nothing_measured_is_a_missing_cell(frame):
    assert tables.measured(frame, "rn18-timm", "dtd", "SSM", "lp@10").missing
    assert tables.measured(frame, "rn18-timm", "dtd", "FS", "no such metric").missing
    assert tables.measured(frames.to_frame([]), "rn18-timm", "dtd", "FS", "top1").missing


def test_a_density_of_the_published_paper_reads_as_sparsity(reported):
    cell = tables.quoted(reported, Query(PUBLISHED, "S4", "sparsity", "rn18-timm", "FS", "cifar10"))
    assert cell.text() == "0.152"


def test_what_a_paper_leaves_out_stays_missing(reported):
    gap = tables.quoted(reported, Query(DRAFT, "1", "top1", "rn50-swav", "LP", "eurosat"))
    nan = tables.quoted(reported, Query(DRAFT, "5", "knn", "rn18-timm", "ZS", "cifar10"))
    assert gap.missing
    assert nan.missing
    assert gap.provenance() == "not reported by the draft"


@pytest.mark.parametrize("number", tables.specs(TINY))
def test_every_reported_number_of_a_table_of_the_draft_is_shown(number, frame, reported):
    shown = [cell.value for query, cell in tables.build(number, frame, reported, TINY).cells() if query.source == DRAFT]
    known = reported[(reported.source == DRAFT) & reported.table.str.startswith(number)].value.dropna()
    if number == "2":  # empty in the draft: the numbers of Tables 3b and 4b stand for it
        known = reported[(reported.source == DRAFT) & reported.table.isin(["3b", "4b"])].value
    assert sorted(value for value in shown if not math.isnan(value)) == sorted(known)


@pytest.mark.parametrize("number", tables.specs(TINY))
def test_a_whole_grid_leaves_no_cell_of_ours_empty(number, frame, reported):
    made = tables.build(number, frame, reported, TINY)
    assert [query for query, cell in made.cells() if query.source == HERE and cell.missing] == []
    # some methods and models are run with the first seed only
    assert {len(SEEDS)} <= set(made.counts()) <= {1, len(SEEDS)}


@pytest.mark.parametrize("name", ["smoke", "paper", "paper-faithful"])
def test_a_table_asks_for_what_the_grid_of_its_profile_runs_and_no_more(name, reported):
    records = synthetic.records(name, "0,1")
    shown = frames.to_frame(records).join(storage.columns(records))
    for number in tables.specs(profiles.profile(name)):
        made = tables.build(number, shown, reported, profiles.profile(name))
        assert [query for query, cell in made.cells() if query.source == HERE and cell.missing] == []
        rows = [line for line in made.latex().splitlines() if line.endswith("\\\\")]
        assert {line.count("&") for line in rows if "multicolumn" not in line} == {len(made.spec.columns)}
        assert "tiny" not in made.latex()


def test_a_profile_without_controls_and_starts_has_no_rows_of_them(frame, reported):
    for number in ("controls", "starts", "starts-off"):
        made = tables.build(number, frame, reported, profiles.PAPER)
        assert list(made.cells()) == []
        assert made.spec.notebooks == ()
        assert "Nothing that the grid of this profile runs" in made.latex()
    models = {query.model for query, _ in tables.build("bits", frame, reported, profiles.PAPER).cells()}
    assert models == set(profiles.PAPER.full_models)


@pytest.mark.parametrize("number", tables.specs(TINY))
def test_every_row_has_a_cell_for_every_column(number, frame, reported):
    made = tables.build(number, frame, reported, TINY)
    assert {len(cells) for _, rows in made.body for _, cells in rows} == {len(made.spec.columns)}


def test_csv_holds_every_cell_and_keeps_gaps_empty(frame, reported):
    made = tables.build("1", frame, reported, TINY)
    lines = list(csv.DictReader(io.StringIO(made.csv())))
    assert len(lines) == len(list(made.cells()))
    gap = [
        line
        for line in lines
        if (line["source"], line["model"], line["method"], line["dataset"]) == (DRAFT, "rn50-swav", "LP", "eurosat")
    ]
    assert [(line["value"], line["n"]) for line in gap] == [("", "")]
    ours = next(line for line in lines if line["source"] == HERE and line["method"] == "FS")
    assert (ours["n"], ours["seeds"]) == (str(len(SEEDS)), " ".join(map(str, SEEDS)))


@pytest.mark.parametrize("number", tables.specs(TINY))
def test_latex_has_as_many_cells_in_each_row_as_columns(number, frame, reported):
    made = tables.build(number, frame, reported, TINY)
    rows = [line for line in made.latex().splitlines() if line.endswith("\\\\") and "multicolumn" not in line]
    assert {line.count("&") for line in rows} == {len(made.spec.columns)}
    assert "±" not in made.latex()
    assert not re.search(r"(?<!\\)%", made.latex())  # what follows would be a comment
    assert MISSING not in made.latex()
    assert not re.search(r"\b0\.\d", made.latex()), "eight columns fit only without the zero before the point"


def test_an_unknown_table_lists_those_there_are(frame, reported):
    with pytest.raises(ValueError, match=r"table must be one of 1, 2, .*, bytes; got '7'"):
        tables.build("7", frame, reported, TINY)


def test_the_page_names_the_cells_that_the_draft_leaves_out(reported):
    gaps = {
        (query.table, query.model, query.method, query.dataset)
        for number in ("1", "3", "4", "5", "6")
        for group in tables.specs(TINY)[number].groups
        for _, queries in group.rows
        for query in queries
        if query.source == DRAFT and tables.quoted(reported, query).missing
    }
    assert gaps == {
        ("1", "rn50-swav", "LP", "eurosat"), ("4a", "rn50-swav", "LP", "eurosat"),
        ("5", "rn18-timm", "ZS", "cifar10"), ("5", "rn18-timm", "ZS", "sun397"), ("6", "rn50-swav", "ZS", "eurosat"),
    }  # fmt: skip
    page = " ".join((ROOT / "book" / "experiments.md").read_text(encoding="utf-8").split())
    assert (
        "Tables 1 and 4a have no linear probe of rn50-swav on eurosat, its Table 5 no zero-shot number of rn18-timm on"
        " cifar10 and sun397, its Table 6 none of rn50-swav on eurosat"
    ) in page


def test_the_draft_agrees_with_the_published_paper_to_its_two_digits(reported):
    keys = ["model", "method", "dataset"]
    draft = reported[(reported.source == DRAFT) & (reported.table == "1")].set_index(keys).value
    later = reported[(reported.source == PUBLISHED) & (reported.table == "1") & (reported.metric == "top1")]
    difference = (later.set_index(keys).value - draft).dropna().abs()
    assert len(difference) == 48
    assert difference.max() < 0.0101


def test_what_stands_in_for_a_set_is_below_its_name_in_print(frame, reported):
    for number in tables.specs(TINY):
        made = tables.build(number, frame, reported, TINY)
        plain, told = (
            made.latex(below=said).splitlines() for said in (lambda _: "", lambda name: "brick" * (name == "dtd"))
        )
        more = [line for line in told if line not in plain]
        has = "dtd" in [name for _, name in made.spec.columns]
        assert len(more) == has
        assert not has or more[0].count("&") == len(made.spec.columns)
