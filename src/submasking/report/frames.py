"""Records as tables of numbers: what figures, tables and verdicts are made from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from submasking.records import places, results
from submasking.records.results import Record


def to_frame(records: list[Record]) -> pd.DataFrame:
    """One row per record: its identity, then a column per metric."""
    identity = ("profile", "model", "dataset", "method", "labels", "seed")
    rows = [{name: getattr(record, name) for name in identity} | record.metrics for record in records]
    return pd.DataFrame(rows, columns=None if rows else list(identity))


def frame(folder: Path) -> pd.DataFrame:
    """`to_frame` of all records below `folder`."""
    return to_frame(results.read(folder))


def reported() -> pd.DataFrame:
    """The paper's own numbers (draft and published form), a missing cell stays missing."""
    return pd.read_csv(places.REPOSITORY / "book" / "data" / "reported.csv", dtype={"table": str})
