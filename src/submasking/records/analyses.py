"""What an analysis of many runs found: one file of flat tables, with the runs that it read.

It lies beside the records of the runs, in the folder `analyses`. A page shows it only as long as the records that it
read are those that the page shows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from submasking.files import atomic, identity
from submasking.records.results import Record

SCHEMA = 1
FOLDER = "analyses"
DIGITS = 6  # significant digits of a kept number
Cell = str | int | float | bool | None
Row = dict[str, Cell]


@dataclass(frozen=True)
class Analysis:
    """One question asked of the runs of a profile.

    Attributes:
        name: of the notebook that asks it.
        profile: of the runs.
        model: network whose runs were read, "all" for every one.
        parameters: of the notebook, and whatever else decides what comes out.
        runs: of each record that was read its path below the records' folder, and the `digest` of its recipe.
        tables: by name rows of plain values; None where there is no number.
        seconds: that it took.
        versions, device, commit, created: see `submasking.records.surroundings`.
    """

    name: str
    profile: str
    model: str
    parameters: dict[str, Any]
    runs: dict[str, str]
    tables: dict[str, list[Row]]
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    device: str = "cpu"
    commit: str = ""
    created: str = ""
    schema: int = SCHEMA

    @property
    def stem(self) -> str:
        """What its file is called: <name>-<model>."""
        return f"{self.name}-{self.model}"


def number(value: float) -> float | None:
    """What a table may hold of a number: None for NaN."""
    return None if math.isnan(value) else value


def read_by(records: Iterable[Record]) -> dict[str, str]:
    """Path and digest of the recipe of each record, for `Analysis.runs`."""
    return {str(record.path): digest(record.recipe) for record in records}


def digest(recipe: Mapping[str, Any]) -> str:
    """Short hash of a recipe."""
    return identity.short(recipe, letters=16)


def write(analysis: Analysis, folder: Path) -> Path:
    """Keep an analysis below the folder of its profile's records; returns its file.

    Raises:
        ValueError: a cell is no plain value or no finite number, or a table has no rows.
    """
    tables = {name: [_kept(name, row) for row in rows] for name, rows in analysis.tables.items()}
    if empty := [name for name, rows in tables.items() if not rows]:
        raise ValueError(f"every table of an analysis must have rows, {empty[0]} has none; leave it out")
    path = folder / FOLDER / f"{analysis.stem}.json"
    content = json.dumps(asdict(analysis) | {"tables": tables}, indent=1, allow_nan=False)
    atomic.write(path, content + "\n")
    return path


def read(folder: Path, stem: str) -> Analysis | None:
    """The analysis `stem` below a folder of records; None where there is none.

    Raises:
        ValueError: the file is no analysis of this form.
    """
    path = folder / FOLDER / f"{stem}.json"
    if not path.exists():
        return None
    try:
        found = Analysis(**json.loads(path.read_text(encoding="utf-8")))
        fits = found.schema == SCHEMA and found.stem == stem
    except (ValueError, TypeError):
        fits = False
    if not fits:
        raise ValueError(f"{path} must be the analysis {stem} of form {SCHEMA}; run its notebook again")
    return found


def known(folder: Path, wanted: Analysis) -> Analysis | None:
    """The analysis that is kept, if it asked the same (parameters) of the same runs."""
    try:
        found = read(folder, wanted.stem)
    except ValueError:
        return None  # damaged, or of an older form: it is made again
    same = found is not None and (found.parameters, found.runs) == (wanted.parameters, wanted.runs)
    return found if same else None


def stale(analysis: Analysis, there: Mapping[str, str]) -> list[str]:
    """Paths of the runs that it read and that are not `there` (see `read_by`), or have another recipe there."""
    return sorted(path for path, of in analysis.runs.items() if there.get(path) != of)


def _kept(table: str, row: Row) -> Row:
    return {name: _rounded(table, name, value) for name, value in row.items()}


def _rounded(table: str, name: str, value: Cell) -> Cell:
    if value is None or isinstance(value, str | bool):
        return value
    if hasattr(value, "item"):  # of numpy or torch
        value = value.item()
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(
            f"{name} in table {table} must be a word, a finite number or None, got {value!r}; leave it out, or say None"
        )
    return value if isinstance(value, bool | int) else float(f"{value:.{DIGITS}g}")
