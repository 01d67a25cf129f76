"""One built site for all tests that look at it: a copy of the project, so that the tree stays as it is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("book", "src", "notebooks")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "_build", "made", "*.egg-info")
# executing all notebooks takes minutes: the tests show two
KEPT = ("notebooks/submasking-rn50-torch", "notebooks/label_sparsity-rn50-swav")
BUILD = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"


def copy(target):
    """The sources of the book, with a table of contents that keeps two notebooks."""
    target.mkdir(parents=True)
    for name in PARTS:
        shutil.copytree(ROOT / name, target / name, ignore=LEFT_OUT)
    shutil.rmtree(target / "book" / "notebooks", ignore_errors=True)
    for name in ("_config.yml", "_toc.yml", "pyproject.toml", "CITATION.cff"):
        shutil.copy(ROOT / name, target)
    contents = yaml.safe_load((target / "_toc.yml").read_text())
    for part in contents["parts"]:
        part["chapters"] = [
            entry for entry in part["chapters"] if not entry["file"].startswith("notebooks/") or entry["file"] in KEPT
        ]
    (target / "book" / "_toc.yml").write_text(yaml.safe_dump(contents, sort_keys=False))


def build(project, *options):
    """Run jupyter-book in a project; returns the finished process."""
    surroundings = os.environ | {"PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"}
    surroundings.pop("SUBMASKING_RESULTS", None)
    command = [sys.executable, "-c", BUILD, "build", "book/", *options]
    return subprocess.run(command, cwd=project, env=surroundings, capture_output=True, text=True, check=False)


def site(tmp_path_factory):
    """The project's site, built once for all workers of a test run, with warnings as errors; (project, output)."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of all workers of this run; without workers it would outlive the run
    project, report = base / "site", base / "site.txt"
    with FileLock(str(base / "site.lock")):
        if not report.exists():
            copy(project)
            made = build(project, "-W", "-n", "--keep-going")
            report.write_text(f"{made.returncode}\n{made.stdout[-3000:]}\n{made.stderr[-6000:]}")
    return project, report.read_text()
