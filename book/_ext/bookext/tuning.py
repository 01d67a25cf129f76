"""{tuning-table} and {tuning}`name`: the search for learning rates, from its record."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from docutils import nodes
from sphinx.addnodes import tabular_col_spec
from sphinx.util.docutils import SphinxDirective, SphinxRole

from bookext.settings import plain
from submasking.records import places
from submasking.records.names import MODELS
from submasking.records.profiles import DECAY
from submasking.report import tuning

RECORD = places.committed_folder("tiny") / "learning_rates.json"
HEADS = ("model", "labels", "method", "rate", "head's rate", "accuracy", "second best", "pairs tried")
ALONE = {
    "probes": ("model", "labels", "decay", "accuracy", "with the paper's", "tried", "from", "to"),
    "controls": ("model", "labels", "head's rate", "accuracy", "second best", "tried", "from", "to"),
}


def table(path: Path, kind: str = "methods") -> list[tuple[str, ...]]:
    """What won for each method, or rival, with the second best score beside it."""
    frame = tuning.trials(path, kind)
    rows: list[tuple[str, ...]] = [HEADS]
    for row in _winners(frame):
        same = _same(frame, row)
        scores = (f"{row.score:.3f}", f"{same.score.nlargest(2).iloc[-1]:.3f}")
        rows.append(
            (row.model, _share(row.labels), row.method, f"{row.lr:g}", f"{row.head_lr:g}", *scores, str(len(same)))
        )
    return rows


def alone(path: Path, kind: str) -> list[tuple[str, ...]]:
    """What won for those with one number each: the weight decay of each model's "probes", beside the paper's, or the
    head's rate of the "controls", runs without masks that train nothing else, beside the second best.
    """
    frame = tuning.trials(path, kind)
    rows: list[tuple[str, ...]] = [ALONE[kind]]
    for row in _winners(frame):
        same = _same(frame, row).set_index("lr").score
        beside = same[DECAY] if kind == "probes" else same.nlargest(2).iloc[-1]
        tried = (str(len(same)), f"{min(same.index):g}", f"{max(same.index):g}")
        rows.append((row.model, _share(row.labels), f"{row.lr:g}", f"{row.score:.3f}", f"{beside:.3f}", *tried))
    return rows


def texts(path: Path) -> dict[str, str]:
    """What the text takes from the record: its numbers, and whole sentences on what was searched and what was not."""
    entries, frame = json.loads(path.read_text(encoding="utf-8")), tuning.trials(path)
    budget = sorted({len(rows) for _, rows in frame.groupby(["method", "model", "labels"])})
    hours = sum(entry.get("train_s", 0.0) for entry in entries) / 3600
    return {
        "budget": " or ".join(map(str, budget)),
        "hours": f"about {hours:.1f} hours",
        "models": _models(set(frame.model)),
        "unlabelled": _unlabelled(bool((frame.labels == 0).any())),
        "rates": _rates(bool((frame.labels == 0).any())),
        "limits": _limits(bool((frame.labels == 0).any())),
        "heads": _heads(frame),
    }


def _winners(frame: pd.DataFrame) -> Iterable[Any]:
    return tuning.best(frame).sort_values(["model", "labels", "method"], ascending=[True, False, True]).itertuples()


def _same(frame: pd.DataFrame, row: Any) -> pd.DataFrame:
    """All that was tried in the search that a row belongs to."""
    return frame[(frame.method == row.method) & (frame.model == row.model) & (frame.labels == row.labels)]


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _models(searched: set[str]) -> str:
    rest = [name for name in MODELS if name not in searched]
    if not rest:
        return "Every model was searched."
    return f"Not searched yet: {_listed(rest)}, for which what was found for rn50-swav is used."


def _unlabelled(searched: bool) -> str:
    if searched:
        return (
            "Without labels it is that of a linear probe on the adapted features with a tenth of the labels, and the"
            " head is projection and prototypes."
        )
    return "Methods without labels (SSM, SSFT) were not searched in this world; their rates are those of the first one."


def _rates(searched: bool) -> str:
    if searched:
        return "rates come from validation images"
    return (
        "rates of methods with labels come from validation images, those without labels (SSM, SSFT) from the first"
        " version of this world, whose sweeps ended at an edge, and were not searched anew"
    )


def _limits(searched: bool) -> str:
    if searched:
        return "Rates of the methods without labels were searched like all others, judged by the probe with few labels."
    return (
        "Rates of the methods without labels come from the first version of this world and were not searched anew, so"
        " that neither their order nor their distance from the probe says what they can do at their best."
    )


def _heads(frame: pd.DataFrame) -> str:
    """For which searches the head's rate that won lies at an end of those that were tried with it."""
    ends = []
    for row in _winners(frame):
        heads = _same(frame, row).head_lr
        if row.head_lr in (heads.min(), heads.max()):
            ends.append(f"{row.method} ({row.model}, {_share(row.labels)})")
    if not ends:
        return "No head's rate that won is the lowest or the highest that was tried."
    return f"The head's rate that won is the lowest or the highest that was tried for {_listed(ends)}."


def _share(labels: float) -> str:
    return f"{labels:g} %" if labels else "none"


class TuningTable(SphinxDirective):
    """What won, for each method, model and share of the labels; `{tuning-table} probes`, or `controls`, or `rivals`."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(RECORD))
        kind = self.arguments[0] if self.arguments else "methods"
        rows = alone(RECORD, kind) if kind in ALONE else table(RECORD, kind)
        before = nodes.raw("", "\\begingroup\\footnotesize", format="latex")
        return [
            before,
            tabular_col_spec(spec="lllrrrrr"),
            plain(rows),
            nodes.raw("", "\\endgroup", format="latex"),
        ]


class TuningNumber(SphinxRole):
    """A number or a sentence on the search by its name."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        self.env.note_dependency(str(RECORD))
        known = texts(RECORD)
        if self.text not in known:
            message = self.inliner.reporter.error(
                f"tuning knows {', '.join(known)}; got {self.text!r}", line=self.lineno
            )
            return [], [message]
        return [nodes.Text(known[self.text])], []


def setup(app: Any) -> None:
    app.add_directive("tuning-table", TuningTable)
    app.add_role("tuning", TuningNumber())
