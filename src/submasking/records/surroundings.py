"""Where and when a record was made: versions, device, the commit of this project."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from submasking.records.places import REPOSITORY

MARKS = ("_toc.yml", "src/submasking/__init__.py")  # files that only a checkout of this project tracks
PACKAGES = ("submasking", "torch", "torchvision", "timm", "open_clip_torch", "numpy", "pillow", "scikit-learn")


def surroundings(device: str = "cpu") -> dict[str, Any]:
    """The fields of a record that say where and when it was made."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {"versions": packages(), "device": device, "commit": commit(), "created": created}


def packages() -> dict[str, str]:
    """Versions of Python and of the packages that a run depends on."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def commit() -> str:
    """Short git commit of the project, with "+" where the working tree differs; "" outside a checkout of it."""
    try:
        # unpacked inside somebody's repository, or installed, the project has no commit: that of the other is not ours
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != REPOSITORY or not _git("ls-files", *MARKS):
            return ""
        changed = _git("status", "--porcelain", "-uno")
        return _git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def changed_since(commit: str, folders: Sequence[str]) -> tuple[str, ...] | None:
    """Files below folders of the project that differ from those at a commit; None where that cannot be looked up."""
    try:
        _git("cat-file", "-e", f"{commit}^{{commit}}")
        return tuple(_git("diff", "--name-only", commit, "--", *folders).splitlines())
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return done.stdout.strip()
