"""{analysis}, {analysis-table}, {analysis-figure}: what an analysis of many runs found, from its file.

    {analysis}`layer_sparsity-all; layers; sparsity; model=rn18-timm, layer=conv1; .1%`

is the cell of one column in the one row of a table where the other columns have these values, in a format of Python
(.3g where none is given). A figure is a function tables -> Figure of `submasking.report.<name of the analysis>`, by its
name in FIGURES there.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.addnodes import tabular_col_spec
from sphinx.util.docutils import SphinxDirective

from bookext import shelf
from bookext.expressions import Number
from bookext.grids import MADE, write
from bookext.plots import Drawing, RecordFigure
from bookext.roles import NumberRole, link, notebook_link, up, web
from bookext.settings import plain
from bookext.shelf import COMMAND, HOME, Shelf
from submasking.records import analyses
from submasking.records.analyses import FOLDER, Analysis, Row
from submasking.report import figures
from submasking.report.tables import MISSING

USUAL = ".3g"
LACKS = "your own grid has not the runs for it; with more seeds or repeats it has, see SEEDS of make book"
PAGE, LONG = 85, 12  # letters of a line of a printed table, and of a column that may stay on one line


def find(books: Shelf, stem: str) -> Analysis | None:
    """An analysis of the book's profile; None where the profile's grid has not left it.

    Raises:
        ValueError: it read runs that the book does not show, or that had another recipe; or there is none in the
            profile that the text was written for.
    """
    found = analyses.read(books.folder, stem)
    if found is None:
        if books.profile == HOME and books.records and not books.own:
            raise ValueError(
                f"there must be an analysis {stem} of profile {HOME}: run its notebook, then `make records`"
            )
        return None
    if old := analyses.stale(found, books.recipes):
        raise ValueError(
            f"analysis {stem} must have read the runs that the book shows; {len(old)} are others, first {old[0]}: run"
            " its notebook again, and `make records` for what the project ships"
        )
    return found


def chosen(table: list[Row], where: str) -> list[Row]:
    """Rows whose columns have the values that "column=value, ..." asks for; "" takes all.

    Raises:
        ValueError: a column that is not there, or words of another form.
    """
    if not table:
        return []
    rows = table
    for part in filter(None, (part.strip() for part in where.split(","))):
        column, equals, value = (word.strip() for word in part.partition("="))
        if not equals or column not in table[0]:
            raise ValueError(f"a choice must be column=value with a column of {', '.join(table[0])}; got {part!r}")
        rows = [row for row in rows if _text(row[column], "g") == value]
    return rows


def _text(value: Any, form: str) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) and form == USUAL:
        return f"{value:,}"
    return format(value, form).replace("%", " %").replace("-", "−") if form != "g" else format(value, form)


def table_of(found: Analysis, name: str, books: Shelf) -> list[Row]:
    """A table by its name; ValueError lists what there is.

    Of the reader's own grid, which may have fewer seeds than the text was written for, a table may have no rows.
    """
    if name not in found.tables:
        if books.own:
            return []
        raise ValueError(f"a table of {found.stem} must be one of {', '.join(found.tables)}; got {name!r}")
    return found.tables[name]


def evaluate(text: str, books: Shelf) -> Number:
    """The number that the words name.

    Raises:
        ValueError: words of another form, or not exactly one row; of the reader's own grid more than one.
    """
    stem, name, column, *rest = [word.strip() for word in text.split(";")] + [""] * 3
    where, form = rest[0], rest[1] or USUAL
    found = find(books, stem)
    if found is None:
        return Number(MISSING, f"no analysis {stem} of profile {books.profile} yet: {COMMAND} makes it")
    table = table_of(found, name, books)
    rows = chosen(table, where)
    if not rows and books.own:
        return Number(MISSING, f"{stem}: {LACKS}")
    if len(rows) != 1 or column not in rows[0]:
        raise ValueError(f"{text!r} must choose one row of {len(table)} and a column of {', '.join(table[0])}; it"
                         f" chooses {len(rows)}: name more columns")  # fmt: skip
    hover = (
        f"{stem}, {column.replace('_', ' ')} where {where or 'all'}; profile {found.profile}, {len(found.runs)} runs"
    )
    return Number(_text(rows[0][column], form), hover, tuple(files(books, stem)))


def files(books: Shelf, stem: str) -> list[Path]:
    """The analysis's file, and the code that shows it."""
    name = stem.partition("-")[0]
    return [books.folder / FOLDER / f"{stem}.json", Path(_report(name).__file__ or "")]


def _report(name: str) -> Any:
    return importlib.import_module(f"submasking.report.{name}")


def _absent(books: Shelf, what: str, stem: str) -> nodes.Node:
    return _note(
        f"This {what} shows the analysis {stem}, which the records of profile {books.profile} lack: {COMMAND} makes it."
    )


def _lacking(what: str, stem: str) -> nodes.Node:
    """A note in the place of what the reader's own grid cannot show."""
    return _note(f"This {what} shows what the analysis {stem} found: {LACKS}.")


def _note(text: str) -> nodes.Node:
    return nodes.note("", nodes.paragraph("", text), classes=["absent"])


def _spec(heads: list[str], cells: list[list[str]], numeric: list[bool]) -> str:
    """Columns for print: where the table would not fit its page, long heads over short cells are wrapped."""
    longest = [max(map(len, column)) for column in zip(*cells, strict=True)]
    wide = sum(max(len(head), cell) for head, cell in zip(heads, longest, strict=True)) > PAGE

    def one(head: str, cell: int, right: bool) -> str:
        return "p{1.7cm}" if wide and len(head) > LONG >= cell else "r" if right else "l"

    return "".join(map(one, heads, longest, numeric))


class AnalysisTable(SphinxDirective):
    """A table of an analysis: its stem and the table's name; heads and formats stand in the options.

    :columns: column=head or column=head=format, split by semicolons; all where it is left out.
    :where: choice of rows, as in the role.
    """

    required_arguments = 2
    option_spec: ClassVar[dict[str, Any]] = {"columns": directives.unchanged, "where": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        stem, name = self.arguments
        books = self.env.app.shelf
        try:
            found = find(books, stem)
            if found is None:
                shelf.note(self.env, [])
                return [_absent(books, "table", stem)]
            rows = chosen(table_of(found, name, books), self.options.get("where", ""))
            if not rows and books.own:
                shelf.note(self.env, files(books, stem))
                return [_lacking("table", stem)]
            if not rows:
                raise ValueError(f"the choice {self.options['where']!r} leaves no row")
            shown = self._columns(rows[0])
        except ValueError as error:
            raise self.error(str(error)) from error
        shelf.note(self.env, files(books, stem))
        write(self.env, file := f"{stem}-{name}.csv", pd.DataFrame(found.tables[name]).to_csv(index=False))
        cells = [[_text(row[column], form) for column, _, form in shown] for row in rows]
        numeric = [isinstance(rows[0][column], int | float) for column, _, _ in shown]
        behind = nodes.paragraph("", "Behind this table: ", classes=["behind"])
        behind += [
            *notebook_link(self.env, stem),
            nodes.Text("; all rows as "),
            link("CSV", f"{up(self.env)}{MADE}/{file}"),
        ]
        return [
            nodes.raw("", "\\begingroup\\footnotesize", format="latex"),
            tabular_col_spec(spec=_spec([head for _, head, _ in shown], cells, numeric)),
            plain([[head for _, head, _ in shown], *cells]),
            nodes.raw("", "\\endgroup", format="latex"),
            web(behind),
        ]

    def _columns(self, row: Row) -> list[tuple[str, str, str]]:
        """Column, head and format of each column that is shown."""
        asked = self.options.get("columns", "")
        if not asked:
            return [(column, column.replace("_", " "), USUAL) for column in row]
        parts = [[word.strip() for word in part.split("=")] for part in asked.split(";")]
        if unknown := [part[0] for part in parts if part[0] not in row]:
            raise ValueError(f"columns must be among {', '.join(row)}; got {unknown[0]!r}")
        return [(column, [*rest, column][0], [*rest, "", ""][1] or USUAL) for column, *rest in parts]


class Asked(dict[str, list[Row]]):
    """Tables by name, and which of them somebody asked for."""

    def __init__(self, tables: dict[str, list[Row]]) -> None:
        super().__init__(tables)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> list[Row]:
        self.asked.add(name)
        return super().__getitem__(name)


class AnalysisFigure(RecordFigure):
    """A figure of an analysis: its stem and the figure's name; the content is the caption."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        stem, name = self.arguments
        books, known = self.env.app.shelf, _report(stem.partition("-")[0]).FIGURES
        self.arguments = [name]
        self._asked("figure", known)
        try:
            found = find(books, stem)
        except ValueError as error:
            raise self.error(str(error)) from error
        if found is None:
            shelf.note(self.env, [])
            note = _absent(books, "figure", stem)
            self.add_name(note)
            return [note]
        shelf.note(self.env, [*files(books, stem), Path(figures.__file__), Path(figures.STYLE)])
        tables, self.found = Asked(found.tables), found
        drawing = Drawing(
            lambda rows: known[name](tables), notebook=stem,
            numbers=lambda rows: {f"{stem}-{table}": pd.DataFrame(tables[table]) for table in sorted(tables.asked)},
        )  # fmt: skip
        named = f"{stem}-{name}"
        try:
            self._draw(named, drawing, pd.DataFrame())
        except (LookupError, ValueError):
            if not books.own:
                raise
            # of few runs, which a figure was not made for; those that the project ships it must draw
            self.add_name(note := _lacking("figure", stem))
            return [note]
        return [self._figure(named, drawing, pd.DataFrame()), web(self._behind(named, drawing))]

    def _sample(self, drawing: Drawing, rows: pd.DataFrame) -> str:
        seeds = len({path.rpartition("-seed")[2] for path in self.found.runs})
        plural = "" if seeds == 1 else "s"
        return f" The analysis read {len(self.found.runs):,} runs, of {seeds} seed{plural}."


def setup(app: Any) -> None:
    app.add_role("analysis", NumberRole("analysis", evaluate))
    app.add_directive("analysis-table", AnalysisTable)
    app.add_directive("analysis-figure", AnalysisFigure)
