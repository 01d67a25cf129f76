import subprocess

from bookext import history


def commit(folder, said, **files):
    for name, content in files.items():
        (folder / "book").mkdir(exist_ok=True)
        (folder / "book" / f"{name}.md").write_text(content)
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "--message", said]):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


def test_a_page_has_the_commits_that_changed_it_and_no_others(tmp_path):
    commit(tmp_path, "Begin | with a bar", one="1", two="1")
    commit(tmp_path, "Go on", one="2")
    found = history.read(tmp_path, "book")
    assert [change.said for change in found["book/one.md"]] == ["Go on", "Begin | with a bar"]
    assert [change.said for change in found["book/two.md"]] == ["Begin | with a bar"]
    assert len({change.commit for changes in found.values() for change in changes}) == 2


def test_a_page_is_made_from_its_text_or_from_its_notebook():
    notebooks = {"submasking-rn18-timm": ("submasking", {"model": "rn18-timm"})}
    assert history.source("notebooks/submasking-rn18-timm", notebooks) == "notebooks/submasking.ipynb"
    assert history.source("method", notebooks) == "book/method.md"
