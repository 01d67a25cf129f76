"""Where things lie: every path of the project, in one place."""

from __future__ import annotations

import os
import warnings
from pathlib import Path


def _is_project(folder: Path) -> bool:
    return (folder / "_toc.yml").exists() and (folder / "src" / "submasking").is_dir()


_SOURCE = Path(__file__).resolve().parents[3]
# the project's folder; where the library is installed on its own, the current folder
REPOSITORY = _SOURCE if _is_project(_SOURCE) else Path.cwd()
LIVE = REPOSITORY / "book" / "live" / "data"  # the backbone, masks and images of the book's live page


def results_folder(profile: str) -> Path:
    """Folder of a profile's results, below `$SUBMASKING_RESULTS` or the project's `results`.

    Warns where the caller stands in another copy of the project than the one whose code runs: results go to the latter.
    """
    root = os.environ.get("SUBMASKING_RESULTS")
    if root:
        return Path(root) / profile
    here = Path.cwd()
    around = [folder for folder in (here, *here.parents) if _is_project(folder)] if _is_project(_SOURCE) else []
    if around and not around[0].samefile(_SOURCE):
        warnings.warn(
            f"results belong to the project whose code runs, {_SOURCE}; this is {around[0]}, another copy; call the"
            " python of its own .venv, or set SUBMASKING_RESULTS to a folder",
            stacklevel=2,
        )
    return REPOSITORY / "results" / profile


def committed_folder(profile: str) -> Path:
    """Folder of the records that are kept in the project for readers who run nothing."""
    return REPOSITORY / "book" / "records" / profile


def book_folder(profile: str = "tiny") -> Path:
    """Records that the book shows: the reader's own grid once it is whole, else the committed ones."""
    own = REPOSITORY / "results" / profile
    return own / "records" if (own / "grid.json").exists() else committed_folder(profile)
