import json
import re
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submasking.records import places, results, surroundings
from submasking.records.results import Record
from submasking.report import frames


def record(**changes):
    whole = Record(
        profile="tiny", model="rn18-timm", dataset="dtd", method="FS", labels=100.0, seed=0, recipe={"lr": 50.0},
        metrics={"top1": 0.5, "sparsity": 0.1},
    )  # fmt: skip
    return replace(whole, **changes)


@given(st.dictionaries(st.text(min_size=1), st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_a_record_reads_back_as_it_was_written(tmp_path_factory, metrics):
    folder = tmp_path_factory.mktemp("records")
    written = record(metrics=metrics)
    results.write(written, folder)
    assert results.read(folder) == [written]


def test_the_path_names_the_run():
    assert record(labels=10.0, seed=3).path.as_posix() == "rn18-timm/dtd/FS-labels10-seed3.json"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {}}, "at least one"),
        ({"metrics": {"top1": float("nan")}}, "finite number"),
        ({"metrics": {"top1": True}}, "finite number"),
        ({"labels": 101.0}, r"\[0, 100\]"),
        ({"schema": 0}, "schema must be"),
    ],
)
def test_a_bad_record_is_never_written(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        results.write(record(**changes), tmp_path)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-20], lambda text: "{}", lambda text: text.replace("0.5", "NaN")]
)
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, damage):
    path = results.write(record(), tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=r"FS-labels100-seed0.json is not a valid record .* run its experiment again"):
        results.read(tmp_path)


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = results.write(record(), tmp_path)
    before = path.read_text()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        results.write(record(metrics={"top1": 0.9}), tmp_path)
    assert path.read_text() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_frame_has_one_row_per_record_and_one_column_per_metric(tmp_path):
    for seed in (0, 1):
        results.write(record(seed=seed, metrics={"top1": 0.5 + seed / 10}), tmp_path)
    frame = frames.frame(tmp_path)
    assert frame.top1.tolist() == [0.5, 0.6]
    assert frame.seed.tolist() == [0, 1]
    assert len(frames.frame(tmp_path / "nowhere")) == 0


def test_the_book_shows_the_own_grid_only_when_it_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "REPOSITORY", tmp_path)
    (tmp_path / "results" / "tiny" / "records").mkdir(parents=True)
    assert places.book_folder() == tmp_path / "book" / "records" / "tiny"
    (tmp_path / "results" / "tiny" / "grid.json").write_text(json.dumps({}))
    assert places.book_folder() == tmp_path / "results" / "tiny" / "records"


def git(folder, *words):
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=folder, check=True, capture_output=True
    )


def test_a_commit_is_of_this_project_or_none(tmp_path, monkeypatch):
    project = tmp_path / "theirs" / "submasking"
    (project / "src" / "submasking").mkdir(parents=True)
    for name in ("_toc.yml", "src/submasking/__init__.py"):
        (project / name).write_text("")
    monkeypatch.setattr(surroundings, "REPOSITORY", project)
    assert surroundings.commit() == ""  # no repository at all
    git(tmp_path / "theirs", "init")
    (tmp_path / "theirs" / "notes.txt").write_text("")
    git(tmp_path / "theirs", "add", ".")
    git(tmp_path / "theirs", "commit", "-m", "theirs")
    assert surroundings.commit() == ""  # that of the repository around it
    git(project, "init")
    (project / "other.txt").write_text("")
    git(project, "add", "other.txt")
    git(project, "commit", "-m", "not ours")
    assert surroundings.commit() == ""  # a repository here that does not track the project
    git(project, "add", ".")
    git(project, "commit", "-m", "ours")
    assert re.fullmatch(r"[0-9a-f]{10}", surroundings.commit())
    (project / "_toc.yml").write_text("changed")
    assert re.fullmatch(r"[0-9a-f]{10}\+", surroundings.commit())


def test_what_changed_since_a_commit_is_told_or_that_it_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(surroundings, "REPOSITORY", tmp_path)
    assert surroundings.changed_since("0123456789", ["a"]) is None  # no repository
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.py").write_text("1")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    assert surroundings.changed_since("HEAD", ["a", "b"]) == ()
    (tmp_path / "b" / "code.py").write_text("2")
    assert surroundings.changed_since("HEAD", ["a"]) == ()
    assert surroundings.changed_since("HEAD", ["a", "b"]) == ("b/code.py",)
    assert surroundings.changed_since("0123456789", ["a"]) is None  # no such commit


def other_copy(folder):
    (folder / "src" / "submasking").mkdir(parents=True)
    (folder / "_toc.yml").touch()
    return folder


@pytest.mark.parametrize("below", [".", "notebooks", "book/records"])
def test_results_that_go_to_another_copy_of_the_project_are_told(below, tmp_path, monkeypatch):
    (other_copy(tmp_path) / below).mkdir(parents=True, exist_ok=True)
    monkeypatch.delenv("SUBMASKING_RESULTS", raising=False)
    monkeypatch.chdir(tmp_path / below)
    with pytest.warns(UserWarning, match="this is .*, another copy; call the python of its own .venv"):
        assert places.results_folder("tiny") == places.REPOSITORY / "results" / "tiny"
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    assert places.results_folder("tiny") == tmp_path / "tiny"


@pytest.mark.parametrize("where", [places.REPOSITORY, places.REPOSITORY / "notebooks", None])
def test_at_home_or_anywhere_else_nothing_is_told(where, tmp_path, monkeypatch):
    monkeypatch.delenv("SUBMASKING_RESULTS", raising=False)
    monkeypatch.chdir(where or tmp_path)
    assert places.results_folder("tiny") == places.REPOSITORY / "results" / "tiny"
