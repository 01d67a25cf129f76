"""{record-figure}: a figure drawn from records during the build, for light and dark pages, print, and as numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from docutils import nodes
from docutils.parsers.rst import directives
from matplotlib.figure import Figure
from sphinx.util.docutils import SphinxDirective

from bookext import rooms, shelf, svg, tuning
from bookext.grids import MADE, inline, write
from bookext.roles import link, notebook_link, up, web
from submasking.files import atomic
from submasking.records import photographs as studies
from submasking.records import places
from submasking.records.names import METHODS
from submasking.records.profiles import profile
from submasking.report import answer as report_answer
from submasking.report import figures, photo_numbers, verdicts
from submasking.report import tuning as report_tuning
from submasking.report.frames import IDENTITY

Draw = Callable[..., Figure]


@dataclass(frozen=True)
class Drawing:
    """How a figure is drawn: from which rows, by which function, and whose notebook shows the same.

    Attributes:
        draw: rows of the frame -> figure.
        model: model whose records are shown, "all" for every one, "" for a figure without records.
        rows: choice of rows among the model's.
        notebook: executed notebook with the same figure.
        sources: files besides the records that it is drawn from.
        numbers: rows of the frame -> the numbers that it shows, by the name of the file that they are offered in.
    """

    draw: Draw
    model: str = ""
    rows: Callable[[pd.DataFrame, str], pd.DataFrame] = lambda frame, profile_name: frame
    notebook: str = ""
    sources: Callable[[], list[Path]] = list
    numbers: Callable[[pd.DataFrame], dict[str, pd.DataFrame]] = lambda rows: {}


def numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Of rows of the frame who ran, and every number that one of them has."""
    runs = rows[rows.method.isin(METHODS)]
    there = runs.dropna(axis="columns", how="all").select_dtypes("number").columns
    return runs[[*IDENTITY, *(name for name in there if name not in IDENTITY)]]


def _sparse(frame: pd.DataFrame, profile_name: str) -> pd.DataFrame:
    return frame[frame.dataset.isin(profile(profile_name).sparse_datasets)]


def _all_labels(frame: pd.DataFrame, profile_name: str) -> pd.DataFrame:
    return frame[frame.labels == 100]


def _stored(frame: pd.DataFrame, profile_name: str) -> pd.DataFrame:
    return frame[frame.labels.isin([0.0, 100.0]) & frame.bits_coded.notna()]


def _compared(name: str) -> Callable[[pd.DataFrame, str], pd.DataFrame]:
    """All labels, where there are two methods that a family compares: not every profile runs them."""

    def rows(frame: pd.DataFrame, profile_name: str) -> pd.DataFrame:
        there = any({first, second} <= set(frame.method) for first, second in verdicts.FAMILIES[name])
        return _all_labels(frame, profile_name) if there else frame[:0]

    return rows


def _share(percent: float) -> Draw:
    return lambda rows: figures.label_sparsity(rows, percent)


def _family(name: str, percent: float = 100.0) -> Draw:
    return lambda rows: figures.differences(rows, name, percent)


PHOTOGRAPHS = places.committed_folder("photographs")
DRAWINGS = {
    "answer": Drawing(
        lambda rows: report_answer.answer(rows, studies.read(PHOTOGRAPHS)),
        "all",
        _all_labels,
        sources=lambda: [*sorted(PHOTOGRAPHS.glob("*/*.json")), Path(report_answer.__file__)],
        numbers=lambda rows: {"photographs": photo_numbers.every(studies.read(PHOTOGRAPHS))},
    ),
    "figure-1": Drawing(_share(10.0), "rn50-swav", _sparse, "label_sparsity-rn50-swav"),
    "figure-2": Drawing(_share(100.0), "rn50-swav", _sparse, "label_sparsity-rn50-swav"),
    "methods": Drawing(figures.methods, "rn18-timm", _all_labels, "submasking-rn18-timm"),
    "differences": Drawing(figures.differences, "rn18-timm", _all_labels, "submasking-rn18-timm"),
    "controls": Drawing(_family("controls"), "rn18-timm", _compared("controls"), "submasking-rn18-timm"),
    "starts": Drawing(_family("starts"), "rn50-swav", _compared("starts"), "submasking-rn50-swav"),
    "differences-labels": Drawing(_family("labels", 10.0), "rn50-swav", _sparse, "label_sparsity-rn50-swav"),
    "bits": Drawing(figures.bits_per_weight, "all", _stored, "compression-all"),
    "bytes": Drawing(figures.task_bytes, "all", _stored, "compression-all"),
    "tuning": Drawing(
        lambda rows: report_tuning.curves(report_tuning.trials(tuning.RECORD)),
        sources=lambda: [tuning.RECORD, Path(report_tuning.__file__)],
        numbers=lambda rows: {"tuning": report_tuning.trials(tuning.RECORD)},
    ),
    "masking": Drawing(lambda rows: figures.masking()),
    "rooms": Drawing(lambda rows: rooms.draw(), sources=rooms.sources),
}


class picture(nodes.figure):  # noqa: N801  (docutils names its nodes so)
    """A figure that has no number: the paper's figures keep theirs."""


class twin(nodes.General, nodes.Element):  # noqa: N801
    """The same picture as the one before it, for dark pages: no second file, only another address of it."""


class RecordFigure(SphinxDirective):
    """A drawing by its name; the content is the caption, to which n, profile and links are added."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        "name": directives.unchanged_required,
        "alt": directives.unchanged_required,
        "unnumbered": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        name = self._asked("figure", DRAWINGS)
        drawing, books = DRAWINGS[name], self.env.app.shelf
        chosen = {} if drawing.model == "all" else {"model": drawing.model}
        files = books.files(**chosen) if drawing.model else []
        shelf.note(self.env, [*files, *drawing.sources(), Path(figures.__file__), Path(figures.STYLE)])
        frame = books.frame
        rows = frame[frame.model == drawing.model] if chosen.get("model") else frame
        if drawing.model and (rows.empty or drawing.rows(rows, books.profile).empty):
            return [self._absent(name)]
        self._draw(name, drawing, drawing.rows(rows, books.profile) if drawing.model else rows)
        return [self._figure(name, drawing, rows), web(self._behind(name, drawing))]

    def _asked(self, what: str, known: Collection[str]) -> str:
        """The directive's argument; an error where it is not known, or where no text says what the figure shows."""
        name: str = self.arguments[0]
        if name not in known:
            raise self.error(f"{what} must be one of {', '.join(known)}; got {name!r}")
        if not self.options.get("alt"):
            raise self.error(f"figure {name!r} needs an :alt: text that says what it shows")
        return name

    def _draw(self, name: str, drawing: Drawing, rows: pd.DataFrame) -> None:
        folder = self.env.srcdir / MADE
        figure = drawing.draw(rows)
        screen, print_ = (figures.save(figure, folder / f"{name}.{kind}") for kind in ("svg", "pdf"))
        atomic.write(screen, svg.for_dark_pages(svg.lean(screen.read_text(encoding="utf-8"))))
        for path in (screen, print_):
            self.env.note_dependency(str(path))
        self.offered = {f"{name}-runs": numbers(rows)} if drawing.model else {}
        self.offered |= drawing.numbers(rows)
        for file, table in self.offered.items():
            write(self.env, f"{file}.csv", table.to_csv(index=False, float_format="%.6g"))

    def _figure(self, name: str, drawing: Drawing, rows: pd.DataFrame) -> nodes.figure:
        alt = self.options["alt"]
        light = nodes.image(uri=f"/{MADE}/{name}.*", alt=alt, loading="lazy", classes=["only-light"])
        self.set_source_info(light)
        dark = twin(src=f"{up(self.env)}_images/{name}.svg#dark", alt=alt)
        kind = picture if "unnumbered" in self.options else nodes.figure
        figure = kind("", light, dark, classes=["record-figure"])
        caption = [*inline(self, " ".join(self.content)), nodes.Text(self._sample(drawing, rows))]
        figure += nodes.caption("", "", *caption)
        self.add_name(figure)
        self.set_source_info(figure)
        return figure

    def _sample(self, drawing: Drawing, rows: pd.DataFrame) -> str:
        if not drawing.model:
            return ""
        books = self.env.app.shelf
        whose = "all models" if drawing.model == "all" else drawing.model
        if books.stand_ins:
            whose = "stand-ins of the models" if drawing.model == "all" else f"stand-in of {drawing.model}"
        return f" Profile {books.profile}, {whose}, n = {rows.seed.nunique()} seeds."

    def _behind(self, name: str, drawing: Drawing) -> nodes.paragraph:
        up_to = up(self.env)
        line = nodes.paragraph("", "", classes=["behind"])
        if drawing.notebook:
            line += [nodes.Text("Behind this figure: "), *notebook_link(self.env, drawing.notebook), nodes.Text("; ")]
        line += [nodes.Text("as "), link("SVG", f"{up_to}_images/{name}.svg"), nodes.Text(", ")]
        line += [link("PDF", f"{up_to}{MADE}/{name}.pdf")]
        for number, file in enumerate(sorted(self.offered)):
            line += [nodes.Text(", " if number else "; its numbers as "), link("CSV", f"{up_to}{MADE}/{file}.csv")]
        return line

    def _absent(self, name: str) -> nodes.Node:
        books = self.env.app.shelf
        text = f"Figure {name!r} has no records of profile {books.profile} yet: {shelf.COMMAND} makes them."
        if books.records:  # of a whole grid
            text = f"Figure {name!r} shows runs that the grid of profile {books.profile} does not have."
        note = nodes.note("", nodes.paragraph("", text), classes=["absent"])
        self.add_name(note)
        return note


def _html_visit(self: Any, node: picture) -> None:
    self.visit_figure(node)


def _html_depart(self: Any, node: picture) -> None:
    self.depart_figure(node)


def _latex_visit(self: Any, node: picture) -> None:
    self.body.append("\n\\begin{center}\n")
    for child in node.children:
        parts = child.children if isinstance(child, nodes.caption) else [child]
        self.body.append("\\par\\smallskip{\\small " if isinstance(child, nodes.caption) else "{")
        for part in parts:
            part.walkabout(self)
        self.body.append("}\n")
    self.body.append("\\end{center}\n")
    raise nodes.SkipNode


def _twin_visit(self: Any, node: twin) -> None:
    given = {"src": node["src"], "alt": node["alt"], "class": "only-dark", "loading": "lazy"}
    self.body.append(self.emptytag(node, "img", "", **given))
    raise nodes.SkipNode


def _twin_print(self: Any, node: twin) -> None:
    raise nodes.SkipNode


def _once(app: Any, config: Any) -> None:
    """Pictures are copied as images of pages, so the copy among the static files would be a second one."""
    config.exclude_patterns = [*config.exclude_patterns, "made/*.svg"]


def setup(app: Any) -> None:
    app.connect("config-inited", _once)
    app.add_node(picture, html=(_html_visit, _html_depart), latex=(_latex_visit, None))
    app.add_node(twin, html=(_twin_visit, None), latex=(_twin_print, None))
    app.add_directive("record-figure", RecordFigure)
