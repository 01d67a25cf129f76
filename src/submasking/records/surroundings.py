"""Where and when a record was made: versions, device, the commit of this project."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from submasking.records.places import REPOSITORY

PACKAGES = ("submasking", "torch", "torchvision", "timm", "open_clip_torch", "numpy", "scikit-learn")


def surroundings(device: str = "cpu") -> dict[str, Any]:
    """The fields of a record that say where and when it was made."""
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {"versions": versions, "device": device, "commit": commit(), "created": created}


def commit() -> str:
    """Short git commit of the project, with "+" where the working tree differs; "" outside a checkout."""
    try:
        options = {"cwd": REPOSITORY, "capture_output": True, "text": True, "check": True}
        name = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], **options).stdout.strip()  # type: ignore[call-overload]
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], **options).stdout.strip()  # type: ignore[call-overload]
    except (OSError, subprocess.CalledProcessError):
        return ""
    return name + ("+" if changed else "")
