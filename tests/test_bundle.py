"""The archive of all: whole, checked by its own sums, and the same bytes whenever it is packed."""

import importlib.util
import io
import json
import shutil
import subprocess
import tarfile

import pytest

from submasking.files import archive
from submasking.records import places

ROOT = places.REPOSITORY


@pytest.fixture
def bundle():
    spec = importlib.util.spec_from_file_location("bundle", ROOT / "book" / "bundle.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path):
    """A small checkout, with a grid that was run and a site that was built."""
    for name in ("CITATION.cff", "pyproject.toml", ".ci/run"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "--message", "Begin"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    made = {
        "results/tiny/grid.json": "{}",
        "results/tiny/masks/m/d/FS.safetensors": "mask",
        "results/tiny/data/left-out.npz": "data",
        "results/half/records/m/d/FS.json": "of a grid that is not whole",
        "_build/html/index.html": "<p>",
        "untracked.txt": "of nobody",
    }
    for name, content in made.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_a_bundle_holds_the_commit_and_what_was_made_and_its_sums_are_right(bundle, project, tmp_path_factory):
    packed = archive.packed(bundle.entries(project, "abc"))
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(folder, filter="data")
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert names == {
        ".zenodo.json", "SHA256SUMS", "codemeta.json", "site/index.html", "results/tiny/grid.json",
        "results/tiny/masks/m/d/FS.safetensors", "source/.ci/run", "source/CITATION.cff", "source/pyproject.toml",
    }  # fmt: skip
    assert (folder / "source" / ".ci" / "run").stat().st_mode & 0o111
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    (folder / "site" / "index.html").write_text("<b>")
    assert subprocess.run(["sha256sum", "--check", "--status", "SHA256SUMS"], cwd=folder, check=False).returncode


def test_the_same_files_make_the_same_bundle(bundle, project):
    before = archive.packed(bundle.entries(project, "abc"), 5)
    for file in project.rglob("*.html"):
        file.touch()
    assert archive.packed(bundle.entries(project, "abc"), 5) == before


def test_a_tree_with_changes_of_its_own_is_refused(bundle, project, monkeypatch, capsys):
    monkeypatch.setattr(bundle.surroundings, "commit", lambda: "abc+")
    assert bundle.main(project) == 1
    assert "commit it first" in capsys.readouterr().err
    monkeypatch.setattr(bundle.surroundings, "commit", lambda: "abc")
    assert bundle.main(project) == 0
    assert "Not in it, since they were not made here: submasking.pdf" in capsys.readouterr().out
    (made,) = project.glob("_build/*.tar.gz")
    subprocess.run(["sha256sum", "--check", "--quiet", f"{made.name}.sha256"], cwd=made.parent, check=True)


def test_what_catalogues_are_told_is_what_the_citation_says(bundle, project):
    told = {entry.name: entry.content for entry in bundle.entries(project, "abc")}
    zenodo, codemeta = (json.loads(told[name]) for name in (".zenodo.json", "codemeta.json"))
    about = bundle.citation.cff(project)
    assert zenodo["version"] == about["version"]
    assert codemeta["version"] == f"{about['version']} at commit abc"
    assert zenodo["description"] == codemeta["description"] == about["abstract"]
    assert zenodo["creators"] == [{"name": "The submasking authors"}]
    assert any(name.startswith("torch") for name in codemeta["softwareRequirements"])
