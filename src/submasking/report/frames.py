"""Records as tables of numbers: what figures, tables and verdicts are made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from submasking.files import identity
from submasking.records import places, predictions, results
from submasking.records.results import Record

IDENTITY = ("profile", "model", "dataset", "method", "labels", "seed")


def to_frame(records: list[Record]) -> pd.DataFrame:
    """One row per record: its identity, a column per metric, and what a comparison by image needs.

    `test` is a hash of the test images and labels, "" where predictions were not kept; `right` says by metric which
    images were given their label, as arrays of bool; `fixed` whether the seed decides nothing: no training, all labels,
    and a folder of pictures, where one draw and one backbone are all there is.
    """
    rows = [
        {name: getattr(record, name) for name in IDENTITY}
        | record.metrics
        | {"test": _test(record), "right": _right(record), "fixed": _fixed(record)}
        for record in records
    ]
    return pd.DataFrame(rows, columns=None if rows else [*IDENTITY, "test", "right", "fixed"])


def frame(folder: Path) -> pd.DataFrame:
    """`to_frame` of all records below `folder`."""
    return to_frame(results.read(folder))


def reported() -> pd.DataFrame:
    """The paper's own numbers (draft and published form), a missing cell stays missing."""
    return pd.read_csv(places.REPOSITORY / "book" / "data" / "reported.csv", dtype={"table": str})


def _test(record: Record) -> str:
    return identity.short(record.test) if record.test else ""


def _right(record: Record) -> dict[str, np.ndarray]:
    labels = record.test.get(predictions.LABELS, "")
    return {name: np.array(predictions.right(packed, labels)) for name, packed in record.predictions.items()}


def _fixed(record: Record) -> bool:
    return record.profile == "images" and record.labels == 100 and "epochs" not in record.recipe
