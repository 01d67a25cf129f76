"""Where things lie: every path of the project, in one place."""

from __future__ import annotations

import os
from pathlib import Path

_SOURCE = Path(__file__).resolve().parents[3]
# the project's folder; where the library is installed on its own, the current folder
REPOSITORY = _SOURCE if (_SOURCE / "_toc.yml").exists() else Path.cwd()
LIVE = REPOSITORY / "book" / "live" / "data"  # the backbone, masks and images of the book's live page


def results_folder(profile: str) -> Path:
    """Folder of a profile's results, below `$SUBMASKING_RESULTS` or the project's `results`."""
    root = os.environ.get("SUBMASKING_RESULTS")
    return (Path(root) if root else REPOSITORY / "results") / profile


def committed_folder(profile: str) -> Path:
    """Folder of the records that are kept in the project for readers who run nothing."""
    return REPOSITORY / "book" / "records" / profile


def book_folder(profile: str = "tiny") -> Path:
    """Records that the book shows: the reader's own grid once it is whole, else the committed ones."""
    own = REPOSITORY / "results" / profile
    return own / "records" if (own / "grid.json").exists() else committed_folder(profile)
