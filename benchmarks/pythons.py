"""The library's core on other Pythons: its tests in environments that hold the lock, `--python FILE` for each.

An environment is made by `python3.N -m venv ENV` and `uv pip install --python ENV/bin/python -r requirements.lock`.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.ways import PeerError

ROOT = Path(__file__).resolve().parents[1]
# masks and their training, and files of tasks: what `pip install submasking` without an extra is for
CORE = ("masks", "selection", "criteria", "optimizer", "maskfile", "packing")
ABOUT = """
import json, platform
from importlib.metadata import version
print(json.dumps({"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}",
                  "torch": version("torch"), "numpy": version("numpy")}))
"""
COUNT = re.compile(r"(\d+) (passed|failed|errors?)")


def measure(pythons: Iterable[Path]) -> list[dict[str, Any]]:
    """One row for each interpreter: what it is, and how many tests passed and failed.

    Raises:
        PeerError: an interpreter cannot be run, or its environment does not hold the lock.
    """
    return [about(python) | tested(python) for python in pythons]


def about(python: Path) -> dict[str, Any]:
    """Versions of Python, torch and numpy, and the system."""
    try:
        done = subprocess.run([python, "-c", ABOUT], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PeerError(f"--python must be a Python that has what requirements.lock names; {python} is none") from error
    return dict(json.loads(done.stdout))


def tested(python: Path) -> dict[str, Any]:
    """Counts of the core's tests, and the names of those that failed."""
    surroundings = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    files = [f"tests/test_{name}.py" for name in CORE]
    start = time.perf_counter()
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False)
    counts = {kind: int(number) for number, kind in COUNT.findall(done.stdout.splitlines()[-1])}
    failed = re.findall(r"^(?:FAILED|ERROR) \S*/(\S+)", done.stdout, re.MULTILINE)
    return {
        "passed": counts.get("passed", 0),
        "failed": len(failed),
        "names": ", ".join(failed) or "none",
        "seconds": round(time.perf_counter() - start),
    }
