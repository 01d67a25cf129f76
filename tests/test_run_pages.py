"""The pages below runs/: every number leads to its runs, and these say how they were made."""

import io
import json
import lzma
import re
import shlex
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from bookext import addresses, expressions, grids, runs, served, trust
from bookext.shelf import Shelf
from bs4 import BeautifulSoup
from sphinx.errors import ExtensionError

from submasking.experiments import grid, notebooks
from submasking.experiments.photographs import __main__ as photographs_program
from submasking.records import places
from submasking.records.predictions import pack
from submasking.records.profiles import profile
from submasking.report import tables

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project's folder with a made-up grid, and the shelf of its records."""
    root = tmp_path_factory.mktemp("project")
    synthetic.write_grid(root / "book" / "records" / "tiny")
    shutil.copytree(ROOT / "book" / "data", root / "book" / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "REPOSITORY", root)
        return root, Shelf.load("tiny")


@pytest.fixture
def books(made, monkeypatch):
    monkeypatch.setattr(places, "REPOSITORY", made[0])
    return made[1]


def body(books, address):
    """The part of a page that an address names."""
    page, _, section = address.partition(".html#")
    records = runs.by_page(books)[page]
    text = runs.rendered(page, "run.html", runs.page(records, books, "", ()))[1]["body"]
    return text.split(f'<section id="{section}">')[1].split("</section>")[0]


@pytest.mark.parametrize("number", ["1", "2", "6", "controls", "unlabelled", "bytes"])
def test_every_cell_of_ours_leads_to_its_runs(books, number):
    table = tables.build(number, books.frame, books.reported, profile("tiny"))
    places_of = {addresses.of_run("tiny", *key).address for key in {record_key(each) for each in books.records}}
    for query, cell in table.cells():
        found = grids.address(query, cell, "tiny")
        ours = query.source == tables.HERE and not cell.missing
        assert found in places_of if ours else found == ""


def record_key(record):
    return record.model, record.dataset, record.method, record.labels


@pytest.mark.parametrize("text", ["rn18-timm dtd FS top1", "rn50-swav sun397 LP@10 top1", "rn50-swav sun397 SSM lp@10"])
def test_the_runs_of_a_number_are_shown_one_by_one(books, text):
    number = expressions.evaluate(text, books)
    shown = body(books, addresses.of_files(number.files))
    metric = text.split()[-1]
    for file in number.files:
        assert f"{json.loads(file.read_text())['metrics'][metric]:.4f}" in shown
    assert len(re.findall(r"<tr><th>\d", shown.partition("</tbody>")[0])) == len(number.files) == 3


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("rn18-timm * FS sparsity", "runs/tiny/index.html?model=rn18-timm&method=FS&labels=100"),
        ("rn18-timm dtd FS top1 - rn18-timm dtd LP top1", "runs/tiny/rn18-timm-dtd.html#FS-100"),
        ("score rn18-timm FS LP top1", "runs/tiny/index.html?model=rn18-timm&labels=100"),
    ],
)
def test_a_number_of_several_experiments_leads_to_all_they_share(books, text, address):
    assert addresses.of_files(expressions.evaluate(text, books).files) == address


def test_what_is_no_record_has_no_place_and_a_document_has_one():
    kept = ROOT / "book" / "records"
    assert addresses.place(ROOT / "pyproject.toml") is None
    assert addresses.place(ROOT / "results" / "tiny" / "grid.json") is None
    benchmark = addresses.place(kept / "benchmarks" / "memory.json")
    study = addresses.place(kept / "photographs" / "mobilenetv2_035" / "dtd10.json")
    assert benchmark.address == "runs/benchmarks.html#memory"
    assert study.address == "runs/photographs.html#mobilenetv2_035-dtd10"
    assert addresses.of_places([study, study]) == study.address
    assert addresses.of_places([study, study._replace(section="other")]) == "runs/photographs.html"


def test_an_archive_holds_the_records_of_a_page_in_the_same_bytes(books):
    files = books.files(model="rn18-timm", dataset="dtd")
    packed = served.together(files)
    assert packed == served.together(files)
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:xz") as tar:
        found = {name: tar.extractfile(name).read() for name in tar.getnames()}
    assert found == {file.name: served.readable(file.read_bytes()) for file in files}


@pytest.mark.parametrize("kind", ["tiny/rn50-swav/sun397", "photographs/mobilenetv2_035"])
def test_a_record_is_offered_with_its_classes_written_out_and_nothing_else_changed(kind):
    for file in sorted((ROOT / "book" / "records" / kind).glob("*.json"))[::9]:
        whole, text = file.read_bytes(), served.readable(file.read_bytes()).decode()
        assert '"eN' in whole.decode()  # how packed classes begin
        assert '"eN' not in text
        assert packed_again(json.loads(text)) == json.loads(whole)
        assert max(map(len, text.splitlines())) < 12_000  # a list a line, no more


def packed_again(value):
    """A record with every list of classes packed as records have it."""
    if not isinstance(value, dict):
        return [packed_again(each) for each in value] if isinstance(value, list) else value
    made = {}
    for name, held in value.items():
        if name == "predictions":
            made[name] = {k: pack(v) for k, v in held.items()} if isinstance(held, dict) else pack(held)
        elif name == "labels" and isinstance(held, list):
            made[name] = pack(held)
        else:
            made[name] = packed_again(held)
    return made


@pytest.mark.parametrize("method", ["FS", "FS-frozen", "LP"])
def test_the_command_of_a_section_names_its_runs(method):
    books = Shelf.load("tiny")
    found = [each for each in books.records if (each.model, each.dataset, each.method) == ("rn18-timm", "dtd", method)]
    setting, *words = shlex.split(runs.command(found))
    assert setting.startswith("SUBMASKING_RESULTS=")
    assert words[:3] == ["submasking", "run", "submasking"]
    given = dict(zip(words[4::3], words[5::3], strict=True))
    assert set(given) <= set(notebooks.known_parameters("submasking"))
    asked = grid.accuracy_runs(given["profile"], given["model"], given["dataset"], given["methods"], given["seeds"])
    assert {run.record for run in asked} == {record.path for record in found}


def test_a_stale_record_fails_the_build(made, tmp_path, monkeypatch):
    shutil.copytree(made[0] / "book", tmp_path / "book")
    path = tmp_path / "book" / "records" / "tiny" / "rn18-timm" / "dtd" / "FS-labels100-seed1.json"
    record = json.loads(path.read_text())
    record["recipe"]["lr"] += 1
    path.write_text(json.dumps(record))
    monkeypatch.setattr(places, "REPOSITORY", tmp_path)
    with pytest.raises(ExtensionError, match=r"1 have another, first rn18-timm/dtd/FS-labels100-seed1.json: run `make"):
        Shelf.load("tiny")


@pytest.mark.parametrize(
    ("changed", "state", "said"),
    [(None, "open", "cannot look up"), ((), "good", "no file"), (("src/a.py",), "open", "up to 1 files")],
)
def test_the_panel_tells_what_became_of_the_code(books, monkeypatch, changed, state, said):
    monkeypatch.setattr(trust, "_changed", lambda commit: changed)
    facts = {fact.what: fact for fact in trust.facts(books.records[:3], books)}
    assert facts["Code"].state == state
    assert said in facts["Code"].said
    assert facts["Parameters"].state == "good"


def test_the_panel_names_versions_that_are_not_those_of_the_build(books):
    older = replace(books.records[0], versions={"torch": "1.0"})
    machine = trust.facts([older], books)[-1]
    assert machine.state == "open"
    assert "torch 1.0 (here 2." in machine.said
    assert "elsewhere" in machine.said


def test_a_document_is_described_in_a_few_lines_and_has_a_file_of_its_own():
    found = runs.documents(Shelf.load("tiny"))
    assert {"runs/benchmarks", "runs/photographs"} <= set(found)
    for page, sections in found.items():
        assert len({section for section, _ in sections}) == len(sections), page
        for _, file in sections:
            said = dict(runs.described(file))
            assert "created" in said
            assert len(said) < 60


def test_a_study_shows_what_came_of_each_way_and_how_to_repeat_it():
    for _, file in runs.documents(Shelf.load("tiny"))["runs/photographs"]:
        came, record = runs.studied(file), json.loads(file.read_text(encoding="utf-8"))
        assert sum(len(row[4].split(", ")) for row in came["rows"]) == len(record["found"])
        assert all(len(row) == len(came["heads"]) for row in came["rows"])
        read = shlex.split(came["command"])[3:]
        given = vars(photographs_program._parser().parse_args(read))
        assert {name: given[name] for name in ("epochs", "tries", "seeds")} == {
            name: record["settings"][name] for name in ("epochs", "tries", "seeds")
        }
        assert set(given["ways"].split(",")) == {row[0] for row in came["rows"]}


def test_a_large_document_is_offered_compressed_and_whole(tmp_path):
    for count, name in ((10, "one.json"), (served.LARGE, "one.json.xz")):
        file = tmp_path / "record.json"
        file.write_text(json.dumps({"created": "now", "packed": "é" * count}, ensure_ascii=False), encoding="utf-8")
        assert served.name("one", file) == name
        given = served.content(file)
        assert given == served.content(file)
        whole = lzma.decompress(given) if name.endswith(".xz") else given
        assert json.loads(whole) == json.loads(file.read_bytes())


def test_the_menu_of_a_page_of_runs_has_chapters_alone():
    chapter = '<li class="toctree-l1"><a href="../../one.html">1. One</a>{}</li>'
    parts = '<details><summary></summary><ul><li><a href="../../two.html">Two</a></li></ul></details>'
    notebooks = '<p class="caption">Notebooks</p><ul><li><a href="../../notebooks/a.html">A</a></li></ul>'
    menu = '<div><p class="caption">The paper</p><ul>{}</ul>{}</div>'
    found = runs.shorter(BeautifulSoup(menu.format(chapter.format(parts), notebooks), "html.parser"))
    assert str(found) == menu.format(chapter.format(""), "")


def test_settings_that_all_runs_of_a_page_have_are_shown_once(books):
    name, records = next(iter(runs.by_page(books).items()))
    made = runs.page(records, books, "", ())
    assert ("batch_size", "64") in made["shared"]
    for part in made["sections"]:
        assert not set(part["recipe"]) & set(made["shared"])
        for record in part["records"]:
            found = dict(made["shared"]) | dict(part["recipe"])
            assert set(found) == {setting for setting, _ in runs._flat(record.recipe)}
    text = runs.rendered(name, "run.html", made)[1]["body"]
    assert text.count("<th>batch_size</th>") == 1
