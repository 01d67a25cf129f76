"""{compute-table} and {compute}`hours`: what the kept work took, and energy at an assumed power."""

from __future__ import annotations

import math
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from bookext import runs, shelf, tuning
from bookext.expressions import Number
from bookext.photos import FOLDER
from bookext.roles import NumberRole
from bookext.settings import plain
from bookext.shelf import Shelf
from submasking.report import compute
from submasking.report.tables import MISSING


def work(books: Shelf) -> list[compute.Work]:
    """All work that the project keeps records of."""
    records = [record for shown in runs.shelves(books) for record in shown.records]
    kept = [compute.search(tuning.RECORD), compute.readings(books.folder), compute.photographed(FOLDER)]
    return [*compute.runs(records), *kept]


def table(found: list[compute.Work]) -> list[tuple[str, ...]]:
    """A row for each kind of work, and their sum."""
    rows = [(one.kind, f"{one.number:,}", MISSING if math.isnan(one.hours) else f"{one.hours:.1f}") for one in found]
    return [("work", "how many", "hours of one core"), *rows, ("together", "", f"{compute.hours(found):.1f}")]


def number(text: str, books: Shelf) -> Number:
    """One number; ValueError lists those there are."""
    found = work(books)
    whole = compute.hours(found)
    known = {
        "hours": (f"{whole:.1f}", "of one core, of all work whose time was kept"),
        "watts": (f"{compute.WATTS:g}", "assumed for one core with its share of the machine, not measured"),
        "kwh": (f"{compute.energy(whole):.2f}", f"kWh: hours of one core at {compute.WATTS:g} W, which is assumed"),
        "untimed": (f"{sum(one.number for one in found if math.isnan(one.hours)):,}", "trainings without a kept time"),
    }
    if text not in known:
        raise ValueError(f"compute must be one of {', '.join(known)}; got {text!r}")
    return Number(*known[text])


class ComputeTable(SphinxDirective):
    """What the kept work took."""

    def run(self) -> list[nodes.Node]:
        shelf.note(self.env, [])
        return [plain(table(work(self.env.app.shelf)))]


def setup(app: Any) -> None:
    app.add_directive("compute-table", ComputeTable)
    app.add_role("compute", NumberRole("compute", number))
