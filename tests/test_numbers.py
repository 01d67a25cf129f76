"""Numbers of the text that are no accuracy: benchmarks, settings, what a run saw, what a paper says in passing."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from bookext import benchmarks, expressions, settings
from bookext.shelf import BENCHMARKS, Shelf

from submasking.records import profiles
from submasking.report import frames
from submasking.report.tables import UNCONVERGED
from submasking.worlds.paper import weights
from submasking.worlds.paper.data import catalogue


@pytest.fixture(scope="module")
def books():
    return Shelf("tiny", Path("records"), synthetic.records(), frames.reported())


@pytest.mark.parametrize("name", sorted(file.stem for file in BENCHMARKS.glob("step_*.json")))
def test_a_benchmark_s_number_is_that_of_its_table(name):
    rows = json.loads((BENCHMARKS / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    for row in rows:
        found = benchmarks.number(f"{name} {row['way']} ratio")
        assert found.text == f"{row['ratio']:.2f}"
        assert "Measured" in found.hover
        assert [file.name for file in found.files] == [f"{name}.json"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step_resnet34 masks ratio", r"benchmark must be one of .*step_resnet18_32.*got 'step_resnet34'"),
        ("step_resnet18_32 masks speed", r"column must be one of .*ratio; got 'speed'"),
        ("step_resnet18_32 mask ratio", r"one row of step_resnet18_32 must have the text 'mask'; 0 have it"),
        ("memory masks copies", r"one row of memory must have the text 'masks'; [2-9] have it"),
    ],
)
def test_a_benchmark_s_number_that_nobody_measured_is_an_error(text, said):
    with pytest.raises(ValueError, match=said):
        benchmarks.number(text)


@pytest.mark.parametrize("name", ["neighbours", "batch_size", "image_size", "train_images"])
def test_a_setting_is_that_of_the_profile(books, name):
    assert settings.setting(name, books).text == f"{getattr(profiles.TINY, name):,}"


def test_an_unknown_setting_lists_those_there_are(books):
    with pytest.raises(ValueError, match=r"setting must be one of image_size, .*neighbours.*; got 'seeds'"):
        settings.setting("seeds", books)


@pytest.mark.parametrize(("words", "count"), [("LP@10 labelled", "12"), ("LP labelled", "120"), ("FS test", "100")])
def test_what_a_run_saw_is_counted(books, words, count):
    assert expressions.evaluate(f"data rn50-swav sun397 {words}", books).text == count


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data rn50-swav sun397 LP@10 images", r"field must be one of classes, labelled, test, train; got 'images'"),
        ("data rn50-swav sun397 XX labelled", r"method must be one of"),
        ("data rn50-torch sun397 SSM train", r"no record of profile tiny"),
        ("data sun397 LP labelled", r"must be: data, model, data set, method, field"),
        ("more * FS bits_file 1", r"must be: more, model, data set, method, metric, bound"),
        ("more rn18 * FS bits_file 1", r"model must be one of .*got 'rn18'"),
        ("more rn18-timm * SSM bits_file 1", r"no record of profile tiny"),
    ],
)
def test_what_no_run_saw_is_an_error(books, text, said):
    with pytest.raises(ValueError, match=said):
        expressions.evaluate(text, books)


@pytest.mark.parametrize(("model", "dataset"), [("rn18-timm", "*"), ("*", "*"), ("vitb32-clip", "dtd")])
@pytest.mark.parametrize("bound", [2.0, 15.0, 18.0, 100.0])
def test_runs_above_a_bound_are_counted(books, model, dataset, bound):
    sizes = [
        8 * one.sizes["file_bytes"] / one.sizes["raw_bits"]
        for one in books.records
        if one.method == "FS" and one.labels == 100 and model in ("*", one.model) and dataset in ("*", one.dataset)
    ]
    found = expressions.evaluate(f"more {model} {dataset} FS bits_file {bound}", books)
    assert found.text == f"{sum(size > bound for size in sizes)} of {len(sizes)}"


def test_a_mean_over_data_sets_keeps_the_mark_of_a_probe_that_did_not_converge(books):
    marked = [
        replace(one, metrics=one.metrics | {"converged": float(one.dataset != "dtd" or one.seed)})
        if (one.model, one.method, one.labels) == ("rn18-timm", "LP", 100)
        else one
        for one in books.records
    ]
    found = expressions.evaluate("rn18-timm * LP top1", Shelf("tiny", books.folder, marked, books.reported))
    plain = expressions.evaluate("rn18-timm * LP top1", books)
    assert found.text == plain.text + UNCONVERGED
    assert "stopped before it converged in 1 of them" in found.hover


def test_the_page_names_every_set_on_which_the_published_masks_lose(books):
    told = books.reported[books.reported.model == "rn50-swav"]

    def values(source, table, metric, method):
        rows = told[(told.source == source) & (told.table == table) & (told.metric == metric) & (told.method == method)]
        return rows.set_index("dataset").value

    neighbours = values("gcpr2024", "2", "knn", "SSL-FS") - values("gcpr2024", "1", "knn", "ZS")
    probe = values("gcpr2024", "2", "lp", "SSL-FS") - values("draft", "1", "top1", "LP")
    assert (neighbours.notna().sum(), set(neighbours.index[neighbours < 0])) == (7, {"dtd", "sun397", "ucf101"})
    assert {"dtd", "sun397", "ucf101"} <= set(probe.index[probe < 0])
    page = (Path(__file__).resolve().parents[1] / "book" / "experiments.md").read_text(encoding="utf-8")
    for method in ("2 knn rn50-swav SSL-FS", "1 knn rn50-swav ZS", "2 lp rn50-swav SSL-FS"):
        assert set(re.findall(f"gcpr2024 {method} ([a-z0-9]+)`", page)) == {"dtd", "sun397", "ucf101"}


def test_a_head_of_many_classes_takes_more_than_a_bit_per_weight_of_a_large_network():
    network, classes = weights.NETWORKS["rn50-swav"], catalogue.SETS["sun397"].classes
    assert 32 * (network.width + 1) * classes > network.masked
    assert 32 * (network.width + 1) * catalogue.SETS["flowers"].classes < network.masked


def test_runs_that_saw_different_things_have_no_common_number(books):
    mixed = [*books.records]
    chosen = next(one for one in mixed if (one.model, one.dataset, one.method) == ("rn18-timm", "dtd", "FS"))
    mixed[mixed.index(chosen)] = type(chosen)(**{**vars(chosen), "data": {**chosen.data, "train": 7}})
    with pytest.raises(ValueError, match=r"must agree in train; they have \[7, 120\]"):
        expressions.evaluate("data rn18-timm dtd FS train", Shelf("tiny", books.folder, mixed, books.reported))


@pytest.mark.parametrize(
    ("text", "number", "place"),
    [
        ("draft note knn rn50-swav SSM sun397", "0.52", "note"),
        ("gcpr2024 text spread any any ucf101", "0.007", "text"),
        ("gcpr2024 S4 sparsity rn18-timm FS cifar10", "0.152", "Table S4"),
    ],
)
def test_a_quoted_number_says_where_it_stands(books, text, number, place):
    found = expressions.quote(text, books)
    assert found.text == number
    assert found.hover.endswith(f", {place}")


def test_the_seeds_of_the_records_are_counted(books):
    assert expressions.evaluate("seeds", books).text == "3"
    with pytest.raises(ValueError, match="stands alone"):
        expressions.evaluate("seeds rn18-timm", books)
