"""{record-table}: one of the paper's tables from records, beside the reported numbers."""

from __future__ import annotations

from itertools import groupby
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from bookext import addresses, shelf
from bookext.expressions import Number
from bookext.roles import latex_link, link, notebook_link, number_node, up, web
from submasking.records.names import DATASET_STAND_INS
from submasking.records.profiles import profile
from submasking.report import tables
from submasking.report.tables import HERE, Cell, Query, Table

MADE = "_static/made"


class record_table(nodes.table):  # noqa: N801  (docutils names its nodes so)
    """A table whose LaTeX is made from the same specification, not from its HTML."""


class RecordTable(SphinxDirective):
    """Table 1 to 6, its caption made from the records that are in it; the content is added to the caption."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"name": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        books = self.env.app.shelf
        try:
            made = tables.build(self.arguments[0], books.frame, books.reported, profile(books.profile))
        except ValueError as error:
            raise self.error(str(error)) from error
        asked = sorted({(query.model, query.method) for query, _ in made.cells() if query.source == HERE})
        shelf.note(self.env, [file for model, method in asked for file in books.files(model=model, method=method)])
        target = f"table-{made.spec.number}.csv"
        write(self.env, target, made.csv())
        node = table_node(made, self.env)
        node.insert(0, nodes.title("", "", *self._caption(made)))
        self.add_name(node)
        self.set_source_info(node)
        return [node, web(self._behind(made, target))]

    def _caption(self, made: Table) -> list[nodes.Node]:
        words: list[nodes.Node] = [nodes.Text(f"{made.spec.title}. ")]
        words += inline(self, "\n".join(self.content))
        return [*words, nodes.Text(f" {sample(made, self.env.app.shelf)}")]

    def _behind(self, made: Table, target: str) -> nodes.paragraph:
        line = nodes.paragraph("", "", classes=["behind"])
        for number, stem in enumerate(made.spec.notebooks):
            line += [nodes.Text(", " if number else "Behind this table: "), *notebook_link(self.env, stem)]
        line += [
            nodes.Text("; " * bool(line.children) + "all numbers: "),
            link("CSV", f"{up(self.env)}{MADE}/{target}"),
        ]
        return line


def inline(directive: SphinxDirective, text: str) -> list[nodes.Node]:
    """Text with roles, parsed in place."""
    if not text:
        return []
    found, messages = directive.state.inline_text(text, directive.lineno)
    return [*found, *messages]


def write(env: Any, name: str, text: str) -> None:
    """Store a made file for the site, and have the page read again where it is gone."""
    from submasking.files import atomic

    path = env.srcdir / MADE / name
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        atomic.write(path, text)
    env.note_dependency(str(path))


def sample(made: Table, books: shelf.Shelf) -> str:
    """What the cells of ours rest on."""
    counts = made.counts()
    if not any(query.source == HERE for query, _ in made.cells()):
        return f"The grid of profile {books.profile} has no such runs."
    if not counts:
        return f"No records of profile {books.profile} yet: {shelf.COMMAND} makes them."
    several = (
        f"n = {counts[0]} runs" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]} runs; the subscript is n"
    )
    early = f" {tables.UNCONVERGED}: the probe's solver stopped before it converged." if made.unconverged() else ""
    whose = ", stand-ins for models and data (below the name of a set)" if books.stand_ins else ""
    return (
        f"This book's numbers: profile {books.profile}{whose}, mean ± sample standard deviation over {several}.{early}"
    )


def address(query: Query, cell: Cell, profile_name: str) -> str:
    """Where the runs of a cell are shown; "" for a number of a paper and for a missing one."""
    if query.source != HERE or cell.missing:
        return ""
    labels = tables.all_labels(query.method)
    return addresses.of_run(profile_name, query.model, query.dataset, query.method, labels).address


def cell_children(cell: Cell, address: str, count: str) -> list[nodes.Node]:
    """A number, its spread below it and n as a subscript, its origin for who points at it, and the way to its runs."""
    value, plus, spread = cell.narrow().partition(" ± ")
    node = number_node(Number(value, cell.provenance()), "ours" if cell.origin == HERE else "reported", address)
    if count:
        node += nodes.subscript("", f"\N{THIN SPACE}{count}")  # or a program that reads the page takes it for a digit
    if plus:
        node += nodes.inline("", f" ± {spread}", classes=["spread"])
    return [node]


def table_node(made: Table, env: Any) -> record_table:
    width, profile_name = len(made.spec.columns) + 1, env.app.shelf.profile
    group = nodes.tgroup(cols=width)
    group += [nodes.colspec(colwidth=1, stub=1 if not number else 0) for number in range(width)]
    group += nodes.thead("", *_head(made, env.app.shelf.stand_ins))
    group += nodes.tbody("", *_body(made, width, profile_name))
    latex = made.latex(
        lambda query, cell: latex_link(env, address(query, cell, profile_name)),
        lambda column: _stand_in(column, env.app.shelf.stand_ins),
    )
    return record_table("", group, classes=["record-table", "colwidths-auto"], latex=latex)


def entry(children: list[nodes.Node], **attributes: Any) -> nodes.entry:
    return nodes.entry("", nodes.paragraph("", "", *children), **attributes)


def _head(made: Table, stand_ins: bool) -> list[nodes.row]:
    names = [nodes.Text(made.spec.corner)]
    if not any(group for group, _ in made.spec.columns):
        return [nodes.row("", entry(names), *(entry(_named(name, stand_ins)) for _, name in made.spec.columns))]
    upper = nodes.row("", entry(names, morerows=1))
    for title, members in groupby(made.spec.columns, key=lambda column: column[0]):
        upper += entry([nodes.Text(title)], morecols=len(list(members)) - 1, classes=["span"])
    return [upper, nodes.row("", *(entry(_named(name, stand_ins)) for _, name in made.spec.columns))]


def _named(column: str, stand_ins: bool) -> list[nodes.Node]:
    """Head of a column; of a data set with what stands in for it, or a reader takes ours for the paper's."""
    name: list[nodes.Node] = [nodes.Text(column)]
    if said := _stand_in(column, stand_ins):
        name.append(nodes.inline("", f" {said}", classes=["stand-in"]))
    return name


def _stand_in(column: str, stand_ins: bool) -> str:
    return DATASET_STAND_INS[column][0] if stand_ins and column in DATASET_STAND_INS else ""


def _body(made: Table, width: int, profile_name: str) -> list[nodes.row]:
    rows = []
    for group, lines in made.body:
        kind = "ours" if group.source == HERE else "reported"
        if group.title:
            title = entry([nodes.emphasis("", group.title)], morecols=width - 1)
            rows.append(nodes.row("", title, classes=["rows-title"]))
        for (label, cells), (_, queries) in zip(lines, group.rows, strict=True):
            row = nodes.row("", entry([nodes.Text(label)]), classes=[f"rows-{kind}"])
            for query, (cell, edge) in zip(queries, _edges(made, cells), strict=True):
                shown = cell_children(cell, address(query, cell, profile_name), made.count(cell))
                row += entry(shown, classes=["gap"] if edge else [])
            rows.append(row)
    return rows


def _edges(made: Table, cells: tuple[Cell, ...]) -> list[tuple[Cell, bool]]:
    """Each cell, and whether a group of columns begins with it."""
    heads = [group for group, _ in made.spec.columns]
    return [(cell, bool(number) and heads[number] != heads[number - 1]) for number, cell in enumerate(cells)]


def _html_visit(self: Any, node: record_table) -> None:
    self.visit_table(node)


def _html_depart(self: Any, node: record_table) -> None:
    self.depart_table(node)


def _latex_visit(self: Any, node: record_table) -> None:
    self.body.append("\n\\begin{table}[tbp]\n\\centering\\scriptsize\\setlength{\\tabcolsep}{3pt}\n\\caption{")
    for child in node[0].children:
        child.walkabout(self)
    labels = "".join(self.hypertarget(name, anchor=False) for name in node["ids"])
    self.body.append(f"}}{labels}\n{node['latex']}\n\\end{{table}}\n")
    raise nodes.SkipNode


def setup(app: Any) -> None:
    app.add_enumerable_node(
        record_table,
        "table",
        lambda node: node[0].astext(),
        html=(_html_visit, _html_depart),
        latex=(_latex_visit, None),
    )
    app.add_directive("record-table", RecordTable)
