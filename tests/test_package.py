"""What is published: the library and its licence, and no record, page or test."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and source archive, built from a copy without another network than this machine's own."""
    folder = tmp_path_factory.mktemp("package")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not listed:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "tree" / name)
    command = [UV, "build", "--quiet", "--offline", "--no-build-isolation", "--python", sys.executable]
    subprocess.run([*command, "--out-dir", folder / "dist", folder / "tree"], check=True)
    (wheel,), (source,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    return wheel, source


def test_a_wheel_holds_every_module_its_licence_and_nothing_large(built):
    with zipfile.ZipFile(built[0]) as wheel:
        sizes = {entry.filename: entry.file_size for entry in wheel.infolist()}
    modules = {file.relative_to(ROOT / "src").as_posix() for file in (ROOT / "src").rglob("*.py")}
    assert modules <= set(sizes)
    assert {"submasking/py.typed", "submasking/report/submasking.mplstyle"} <= set(sizes)
    assert any(name.endswith("licenses/LICENSE") for name in sizes)
    assert {name.split("/")[0].partition("-")[0] for name in sizes} == {"submasking"}
    assert max(sizes.values()) < 100_000


def test_a_source_archive_holds_what_the_wheel_is_built_from_and_how_to_cite_it(built):
    with tarfile.open(built[1]) as source:
        names = {member.name.partition("/")[2] for member in source if member.isfile()}
    assert {"LICENSE", "README.md", "CITATION.cff", "CHANGELOG.md", "pyproject.toml"} <= names
    assert {name.split("/")[0] for name in names if "/" in name} == {"src"}
