"""The numbers that figures of photographs show, as tables: studies one below the other, told apart by columns."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from submasking.records.photographs import WAYS, runs
from submasking.report.photographs import Study, table, ways

STUDY = ["model", "folder"]


def every(studies: Sequence[Study]) -> pd.DataFrame:
    """A row for each study, share of the labels in percent and way, with what `photographs.table` says of it."""
    found = {
        (study["model"], study["name"], share): table(study, share)
        for study in studies
        for share in sorted({entry["share"] for entry in study["found"]}, reverse=True)
    }
    return pd.concat(found, names=[*STUDY, "labels"]).reset_index()


def rates(studies: Sequence[Study]) -> pd.DataFrame:
    """A row for each learning rate of the curves beyond the search: percent of the validation images that are right."""
    rows = [
        (study["model"], study["name"], way, rate, 100 * right)
        for study in studies
        for way, pairs in study["curves"].items()
        if way in WAYS
        for rate, right in pairs
        if right >= 0
    ]
    return pd.DataFrame(rows, columns=[*STUDY, "way", "rate", "accuracy"])


def layers(study: Study) -> pd.DataFrame:
    """A row for each way and layer, in the order of the network: how many weights go, of how many."""
    rows = [
        (study["model"], study["name"], way, layer, off, total)
        for way in ways(study)
        for layer, (off, total) in runs(study["found"], way)[0].get("why", {}).get("layers", {}).items()
    ]
    return pd.DataFrame(rows, columns=[*STUDY, "way", "layer", "off", "weights"])


def tenths(study: Study) -> pd.DataFrame:
    """A row for each way and tenth of a layer's weights, the smallest first: percent that go."""
    rows = [
        (study["model"], study["name"], way, tenth, 100 * share)
        for way in ways(study)
        for tenth, share in enumerate(runs(study["found"], way)[0].get("why", {}).get("sizes", ()), 1)
    ]
    return pd.DataFrame(rows, columns=[*STUDY, "way", "tenth", "gone"])
