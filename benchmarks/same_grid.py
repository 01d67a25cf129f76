"""One grid made in several ways: are the records the same? `python -m benchmarks same_grid --grids NAME=FOLDER ...`.

A folder holds results of profile smoke; the first one is what the others are compared with, run by run. What may differ
is when, how fast and at which commit a record was made, and the bytes of a file in which the commit stands.
"""

import json
from pathlib import Path
from typing import Any

import torch

from submasking.files import store


class NotTwoError(Exception):
    """There are no two grids to compare."""


MOMENT = ("timings", "created", "commit")
DESCRIBED = ("description", "checksum")  # parts of a mask file in which the commit stands


def measure(grids: dict[str, Path]) -> list[dict[str, Any]]:
    """Return a row for each folder after the first: its runs, and how many have the first one's record and masks.

    Args:
        grids: folders by the name of the way in which they were made.

    Raises:
        NotTwoError: fewer than two folders, or one without records.
    """
    if len(grids) < 2:
        raise NotTwoError(f"--grids must name two folders or more, got {len(grids)}; pass NAME=FOLDER for each")
    first, *others = grids
    records = {name: _records(folder) for name, folder in grids.items()}
    rows = []
    for name in others:
        both = [path for path in records[name] if path in records[first]]
        masks = [path for path in both if (grids[name] / "masks" / path).with_suffix(".safetensors").exists()]
        rows.append(
            {
                "way": name,
                "runs": len(records[name]),
                "same": sum(records[name][path] == records[first][path] for path in both),
                "masks": len(masks),
                "same_masks": sum(_tensors(grids[name], path, grids[first]) for path in masks),
            }
        )
    return rows


def _records(folder: Path) -> dict[Path, dict[str, Any]]:
    """Records by their path, without the fields that speak of the moment."""
    below = folder / "records"
    found = {file.relative_to(below): json.loads(file.read_text()) for file in below.rglob("*-seed*.json")}
    if not found:
        raise NotTwoError(f"--grids must name folders with records of runs, {folder} has none; run its grid first")
    for one in found.values():
        one.get("sizes", {}).pop("file_bytes", None)
    return {path: {key: one[key] for key in one if key not in MOMENT} for path, one in found.items()}


def _tensors(folder: Path, path: Path, other: Path) -> bool:
    """Whether the mask files of a run hold the same masks, heads and statistics in two folders, as they are coded."""
    mine, theirs = (store.read((each / "masks" / path).with_suffix(".safetensors"))[0] for each in (folder, other))
    parts = mine.keys() - DESCRIBED
    return parts == theirs.keys() - DESCRIBED and all(torch.equal(mine[name], theirs[name]) for name in parts)
