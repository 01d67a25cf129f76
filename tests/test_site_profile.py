"""The same book with the records of another profile, titled so: `make book PROFILE=paper`."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import built
import pytest
import synthetic
import yaml
from bookext import shelf
from sphinx.errors import ExtensionError

from submasking.files import atomic
from submasking.records import analyses, places, results


def bare(tmp_path_factory, name):
    """A copy of the project without its notebooks."""
    project = tmp_path_factory.mktemp(name) / "project"
    built.copy(project)
    contents = yaml.safe_load((project / "book" / "_toc.yml").read_text())
    for part in contents["parts"]:
        part["chapters"] = [entry for entry in part["chapters"] if not entry["file"].startswith("notebooks/")]
    contents["parts"] = [part for part in contents["parts"] if part["chapters"]]
    (project / "book" / "_toc.yml").write_text(yaml.safe_dump(contents, sort_keys=False))
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """With a made-up grid of profile paper."""
    project = bare(tmp_path_factory, "paper")
    own = project / "results" / "paper"
    for record in synthetic.records("paper", "0,1"):
        results.write(record, own / "records")
    atomic.write(own / "grid.json", json.dumps({"seeds": "0,1"}))
    return project


@pytest.mark.slow
def test_the_book_of_profile_paper_is_built_without_a_warning(project, monkeypatch):
    monkeypatch.setenv("SUBMASKING_PROFILE", "paper")
    done = built.build(project, "-W", "-n", "--keep-going")
    assert done.returncode == 0, done.stderr[-3000:]
    html = project / "_build" / "html"
    page = (html / "results_submasking.html").read_text()
    assert "profile <b>paper</b>" in page
    assert "profile paper" in page.partition("<title>")[2].partition("</title>")[0]
    assert "profile paper, mean" in page
    assert "stand-ins for models and data" not in page
    assert "This book: profile paper" in page
    assert "Nothing that the grid of this profile runs" in page
    for table in page.split("<table")[1:]:  # no number of ours is missing
        assert not re.search(r'<abbr class="measured ours"[^>]*>–', table)
    assert "timm:resnet50" in (html / "experiments.html").read_text()


@pytest.mark.slow
def test_the_book_of_a_grid_of_one_seed_is_built_without_a_warning(tmp_path_factory):
    """What `make book` leaves with the usual seeds: fewer runs than the records that the text was written for."""
    project, shipped = bare(tmp_path_factory, "own"), places.committed_folder("tiny")
    own = project / "results" / "tiny"
    kept = [record for record in results.read(shipped) if record.seed == 0]
    for record in kept:
        results.write(record, own / "records")
    there = analyses.read_by(kept)
    for file in (shipped / analyses.FOLDER).glob("*.json"):
        found = analyses.read(shipped, file.stem)
        tables = {name: rows[: (len(rows) + 1) // 2] for name, rows in found.tables.items()}
        runs = {path: digest for path, digest in found.runs.items() if path in there}
        analyses.write(replace(found, runs=runs, tables=tables), own / "records")
    atomic.write(own / "grid.json", json.dumps({"seeds": "0"}))
    done = built.build(project, "-W", "--keep-going")
    assert done.returncode == 0, done.stderr[-3000:]
    html = project / "_build" / "html"
    assert "your own grid, one seed" in (html / "index.html").read_text()
    assert "your own grid has not the runs" in (html / "results_ablations.html").read_text()


def test_a_profile_without_a_grid_is_refused_in_words(project):
    environment = os.environ | {"SUBMASKING_PROFILE": "papers"}
    command = [sys.executable, "-c", built.BUILD, "build", "book/", "--quiet"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "SUBMASKING_PROFILE must name a profile with a grid, one of smoke, tiny, paper" in done.stderr + done.stdout


@pytest.mark.parametrize("name", ["images", "papers", "Tiny", "tiny "])
def test_a_profile_without_a_grid_is_refused(monkeypatch, name):
    monkeypatch.setenv(shelf.PROFILE, name)
    config = SimpleNamespace(book_profile="tiny")
    with pytest.raises(ExtensionError, match="must name a profile with a grid, one of smoke, tiny, paper"):
        shelf._load(None, config)
    assert config.book_profile == "tiny"
