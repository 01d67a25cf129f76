"""{tuning-table} and {tuning}`name`: the search for learning rates, from its record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import tabular_col_spec
from sphinx.util.docutils import SphinxDirective, SphinxRole

from bookext.settings import plain
from submasking.records import places
from submasking.report import tuning

RECORD = places.committed_folder("tiny") / "learning_rates.json"
HEADS = ("model", "labels", "method", "rate", "head's rate", "accuracy", "second best", "pairs tried")


def table(path: Path) -> list[tuple[str, ...]]:
    """What won for each method, with the second best score beside it."""
    frame = tuning.trials(path)
    rows: list[tuple[str, ...]] = [HEADS]
    for row in (
        tuning.best(frame).sort_values(["model", "labels", "method"], ascending=[True, False, True]).itertuples()
    ):
        same = frame[(frame.method == row.method) & (frame.model == row.model) & (frame.labels == row.labels)]
        second = same.score.nlargest(2).iloc[-1]
        labels = f"{row.labels:g} %" if row.labels else "none"
        rows.append(
            (row.model, labels, row.method, f"{row.lr:g}", f"{row.head_lr:g}", f"{row.score:.3f}", f"{second:.3f}",
             str(len(same)))
        )  # fmt: skip
    return rows


def numbers(path: Path) -> dict[str, str]:
    """The numbers of the text."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    budget = sorted({len(rows) for _, rows in tuning.trials(path).groupby(["method", "model", "labels"])})
    hours = sum(entry.get("total_s", entry.get("train_s", 0.0)) for entry in entries) / 3600
    return {"budget": " or ".join(map(str, budget)), "hours": f"about {hours:.1f} hours"}


class TuningTable(SphinxDirective):
    """What won, for each method, model and share of the labels."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(RECORD))
        before = nodes.raw("", "\\begingroup\\footnotesize", format="latex")
        return [
            before,
            tabular_col_spec(spec="lllrrrrr"),
            plain(table(RECORD)),
            nodes.raw("", "\\endgroup", format="latex"),
        ]


class TuningNumber(SphinxRole):
    """One number of the search by its name."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        self.env.note_dependency(str(RECORD))
        known = numbers(RECORD)
        if self.text not in known:
            message = self.inliner.reporter.error(
                f"tuning knows {', '.join(known)}; got {self.text!r}", line=self.lineno
            )
            return [], [message]
        return [nodes.Text(known[self.text])], []


def setup(app: Any) -> None:
    app.add_directive("tuning-table", TuningTable)
    app.add_role("tuning", TuningNumber())
