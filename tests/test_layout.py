"""The house in order: README, tables of contents, environment files and notebooks agree with the disk."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CARD = ("book", "src", "notebooks", "tests", "_config.yml", "_toc.yml", "environment.yml", "pyproject.toml")


def tracked():
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.split("\0") if name]


def locked():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return {re.split(r"[=\[ ;]", line, maxsplit=1)[0].lower().replace("_", "-") for line in lines if line[:1].isalnum()}


@pytest.mark.parametrize("name", CARD)
def test_the_top_level_is_what_was_asked_for(name):
    assert (ROOT / name).exists()


def readme_tree():
    """Paths in the README's tree: two spaces of indent per level, names, at least two spaces, a description."""
    block = re.search(r"```text\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    folders, paths = [], []
    for line in block.splitlines():
        depth, names = (len(line) - len(line.lstrip())) // 2, re.split(r"  +", line.strip())[0].split()
        folders = [*folders[:depth], names[0].rstrip("/")]
        paths += ["/".join([*folders[:depth], name.rstrip("/")]) for name in names]
    return paths


def test_the_tree_in_the_readme_names_only_what_exists():
    assert [path for path in readme_tree() if not (ROOT / path).exists()] == []


def test_the_tree_in_the_readme_leaves_out_no_room_notebook_or_top_level_file():
    shown = set(readme_tree())
    notebooks = {path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb")}
    top = {path.relative_to(ROOT).parts[0] for path in tracked()}
    top = {name for name in top if not name.startswith(".")}
    rooms = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "src" / "submasking").glob("*/__init__.py")}
    assert (rooms | notebooks | top) - shown == set()


def rooms():
    return sorted(path.parent for path in (ROOT / "src" / "submasking").glob("*/__init__.py"))


def test_nothing_stands_beside_the_rooms():
    beside = {path.name for path in (ROOT / "src" / "submasking").glob("*.py")}
    assert beside == {"__init__.py", "_moved.py"}


@pytest.mark.parametrize("room", rooms(), ids=lambda path: path.name)
def test_a_room_says_in_three_lines_what_it_is_for_and_what_it_may_not_know(room):
    said = (room / "__init__.py").read_text()
    assert re.match(r'"""[^"]+\n\n[^"]+\n"""\n', said)
    assert len(said.splitlines()) <= 5
    assert re.search(r"[Kk]nows", said)


def test_the_import_rules_name_every_room():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["type"] == "layers")["layers"]
    named = sorted(name.strip() for layer in layers for name in layer.split("|"))
    assert named == [room.name for room in rooms()]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_every_page_is_in_the_table_of_contents_and_every_entry_on_disk():
    listed = set(re.findall(r"^[ -]*(?:file|root): *(\S+)", (ROOT / "_toc.yml").read_text(), re.MULTILINE))
    pages = {path.relative_to(ROOT / "book").with_suffix("").as_posix() for path in (ROOT / "book").glob("*.md")}
    assert pages - listed == set()
    assert {name for name in listed if not name.startswith("notebooks/")} - pages == set()


def test_the_two_tables_of_contents_are_one():
    copy = ROOT / "book" / "_toc.yml"
    assert not copy.exists() or copy.read_bytes() == (ROOT / "_toc.yml").read_bytes()


def test_conda_and_make_install_the_same_packages():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert packages == {"pip": ["-r requirements.lock", "-e ."]}
    assert pip == "pip"
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert tuple(map(int, python.split("=")[1].split("."))) >= tuple(map(int, required.strip(">=").split(".")))
    assert "--requirement requirements.lock" in (ROOT / "Makefile").read_text()


def test_every_requirement_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = project["dependencies"] + [name for group in project["optional-dependencies"].values() for name in group]
    names = {re.split(r"[<>=\[ ]", name, maxsplit=1)[0].lower().replace("_", "-") for name in asked} - {"submasking"}
    assert names - locked() == set()


def test_the_packages_of_the_card_are_required():
    card = "torch torchvision timm open-clip-torch jupyter-book papermill matplotlib seaborn sympy hypothesis"
    assert set(card.split()) - locked() == set()


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_clean_and_typed(path):
    content = json.loads(path.read_text())
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    tagged = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    assert tagged[0] is code[0]
    for line in "".join(tagged[0]["source"]).splitlines():
        assert re.match(r'\w+: (str|int|float|bool|"Union\[int, str\]") = .+  # .+', line), line
    assert "notebooks.parameters(globals())" in "".join(code[1]["source"])
    assert "".join(content["cells"][0]["source"]).startswith("# ")
    assert "".join(content["cells"][0]["source"]).strip().endswith("?")
    assert len(content["cells"]) <= 25
    assert all(len(cell["source"]) <= 15 for cell in code)


def test_no_file_is_larger_than_two_megabytes():
    assert [path.name for path in tracked() if path.exists() and path.stat().st_size > 2_000_000] == []
