"""Where published files lie: in the folders that the environment names, else below the results of profile paper."""

from __future__ import annotations

import os
from pathlib import Path

from submasking.records.places import results_folder

PROFILE = "paper"
WEIGHTS, DATA = "SUBMASKING_WEIGHTS", "SUBMASKING_DATA"


def weights_folder() -> Path:
    """Folder of the weights files: `$SUBMASKING_WEIGHTS`, where local copies lie and missing ones are fetched to.

    Raises:
        ValueError: the variable names no folder.
    """
    return _named(WEIGHTS, "weights")


def data_folder() -> Path:
    """Folder of the archives of the data sets, or of what was unpacked from them: `$SUBMASKING_DATA`.

    Raises:
        ValueError: the variable names no folder.
    """
    return _named(DATA, "downloads")


def cache_folder() -> Path:
    """Folder of the decoded pictures."""
    return results_folder(PROFILE) / "data"


def _named(variable: str, otherwise: str) -> Path:
    given = os.environ.get(variable)
    if not given:
        return results_folder(PROFILE) / otherwise
    folder = Path(given).expanduser()
    if not folder.is_dir():  # a typing error would fetch everything once more, to another place
        raise ValueError(f"{variable} must name a folder, there is none at {given!r}; make it, or correct the name")
    return folder
