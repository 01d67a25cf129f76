"""{invariance}, {invariance-figure}: the invariance experiment, whose record of many runs is no row of a table.

The role's words:

    float32 both/differing          a metric of one of its runs: top1, differing, identical_steps, first_bits, ...
    images float32 both/differing   the same in a profile other than the book's
    gap equivalent                  largest change of top-1; see `accuracy_gaps`
    data test                       number of test images; also: recipe epochs, backbone masked and the like
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes

from bookext import shelf
from bookext.expressions import Number
from bookext.plots import Drawing, RecordFigure
from bookext.roles import NumberRole, web
from bookext.shelf import COMMAND, HOME, Shelf
from submasking.experiments.invariance import experiment, report
from submasking.records.profiles import PROFILES
from submasking.records.results import Record
from submasking.report import figures
from submasking.report.tables import MISSING

CODE = [Path(report.__file__), Path(experiment.__file__)]
FIELDS = ("data", "recipe", "backbone")


def find(books: Shelf, profile: str) -> tuple[Record, Path] | None:
    """The profile's record of the experiment, the first by path, and its file; None where there is none."""
    books = books.of(profile)
    for record in books.records:
        if record.method == experiment.METHOD:
            return record, books.folder / record.path
    return None


def evaluate(text: str, books: Shelf) -> Number:
    """The number that the words name.

    Raises:
        ValueError: unknown word, or no record where there are records.
    """
    words = text.split()
    profile = words.pop(0) if words and words[0] in PROFILES else books.profile
    found = find(books, profile)
    if found is None:
        if books.records and (profile != books.profile or profile == HOME):  # the text shows their numbers
            raise ValueError(f"profile {profile} has no record of the invariance experiment: run its notebook there")
        return Number(MISSING, f"no records of profile {profile} yet: {COMMAND} makes them")
    record, file = found
    hover = f"invariance experiment, {record.model} on {record.dataset}, seed {record.seed}, n = 1; profile {profile}"
    return Number(_text(words, record), f"{' '.join(words)}: {hover}", (file, *CODE))


def _text(words: list[str], record: Record) -> str:
    kind, last = (words[0], words[-1]) if len(words) == 2 else ("", "")
    if kind == "gap" and last in (gaps := report.accuracy_gaps(record)):
        return f"{100 * gaps[last]:.1f} points"
    if kind in FIELDS and isinstance(value := getattr(record, kind).get(last), int | float):
        return f"{value:,.0f}" if value >= 10_000 else f"{value:g}"
    key = " ".join(words)
    if key not in record.metrics:
        known = ", ".join(key for key in record.metrics if key.startswith("float32 both"))
        raise ValueError(f"{key!r} must be a metric of a run, such as {known}; or gap, {', '.join(FIELDS)} and a name")
    return _metric(key, record)


def _metric(key: str, record: Record) -> str:
    value, run = record.metrics[key], key.partition("/")[0]
    if key.endswith("/differing"):
        return f"{100 * value:.2g} %"
    if key.endswith("/identical_steps"):
        steps = len(record.series[run]["differing"])
        return f"all {steps}" if value == steps else f"the first {value:.0f} of {steps}"
    return f"{value:.0f}" if key.endswith("/first_bits") else f"{value:.3f}"


class InvarianceFigure(RecordFigure):
    """The experiment's curves in one profile; the content is the caption, to which n, profile and links are added."""

    option_spec: ClassVar[dict[str, Any]] = {
        name: rule for name, rule in (RecordFigure.option_spec or {}).items() if name != "unnumbered"
    } | {"notebook": str}

    def run(self) -> list[nodes.Node]:
        profile = self._asked("profile", PROFILES)
        name, found = f"invariance-{profile}", find(self.env.app.shelf, profile)
        if found is None:
            shelf.note(self.env)
            return [self._absent(name)]
        record, file = found
        self.record = record
        shelf.note(self.env, [file, *CODE, Path(figures.__file__), Path(figures.STYLE)])
        drawing = Drawing(
            lambda rows: report.curves(record), notebook=self.options.get("notebook", ""),
            numbers=lambda rows: {f"{name}-steps": report.steps(record)},
        )  # fmt: skip
        self._draw(name, drawing, None)
        return [self._figure(name, drawing, None), web(self._behind(name, drawing))]

    def _sample(self, drawing: Drawing, rows: Any) -> str:
        record = self.record
        return f" Profile {record.profile}, {record.model} on {record.dataset}, seed {record.seed}, n = 1."


def setup(app: Any) -> None:
    app.add_role("invariance", NumberRole("invariance", evaluate))
    app.add_directive("invariance-figure", InvarianceFigure)
