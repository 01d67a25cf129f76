"""{record-settings}: tables of models, data sets and hyper-parameters, read from the library and the records.

{record-source}: one sentence on which records the page shows.
{setting}`neighbours`: one number of the book's profile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import tabular_col_spec
from sphinx.util.docutils import SphinxDirective

from bookext import addresses, shelf
from bookext.expressions import Number
from bookext.roles import NumberRole, link, up
from bookext.shelf import Shelf
from submasking.records import profiles
from submasking.records.names import DATASET_STAND_INS, MODEL_STAND_INS, MODELS
from submasking.records.profiles import PAPER, PUBLISHED, Optimisation, profile
from submasking.report.tables import MISSING
from submasking.worlds.paper.weights import published

Rows = list[Sequence[str]]
NAMES = {"FS": "FS, ResNets", "FS vitb32-clip": "FS, CLIP", "FFT": "FFT, rn18-timm", "FFT rn50-swav": "FFT, rn50-swav"}


def models(books: Shelf) -> Rows:
    """The paper's models: what stands in, its size, and what of it is masked."""
    rows: Rows = [("model", "stands in for it" if books.stand_ins else "network", "weights", "masked")]
    for name in MODELS:
        sizes = [record.backbone for record in books.records if record.model == name]
        total = max((size["parameters"] for size in sizes), default=0)
        masked = max((size["masked"] for size in sizes), default=0)
        shown = MODEL_STAND_INS[name] if books.stand_ins else published(name).architecture
        rows.append((name, shown, *(f"{size:,}" if size else MISSING for size in (total, masked))))
    return rows


def datasets(books: Shelf) -> Rows:
    """The paper's data sets: what stands in, classes and sizes."""
    rows: Rows = [("data set", "stands in for it" if books.stand_ins else "images", "training images", "test images")]
    for name, (_, sentence) in DATASET_STAND_INS.items():
        sizes = [record.data for record in books.records if record.dataset == name]
        counts = (max((size[part] for size in sizes), default=0) for part in ("train", "test"))
        rows.append(
            (
                name,
                sentence if books.stand_ins else "the data set itself",
                *(f"{count:,}" if count else MISSING for count in counts),
            )
        )
    return rows


def hyperparameters(books: Shelf) -> Rows:
    """Each method's settings, the paper's beside this profile's."""
    ours = profile(books.profile).methods
    rows: Rows = [("run", "settings of", "rate", "decay", "epochs", "warm-up", "head's rate")]
    for key in dict.fromkeys([*PUBLISHED, *ours]):
        name = NAMES.get(key, key)
        for whose, settings in (("the paper", PUBLISHED), ("this book", ours)):
            if key in settings:
                rows.append((name, whose, *_settings(settings[key], stated=whose != "the paper" or "SS" in key)))
    return rows


def _settings(plan: Optimisation, stated: bool) -> tuple[str, ...]:
    warm = f"{100 * plan.warmup:.0f} %" if plan.warmup else "none"
    head = f"{plan.head_lr:g}" if stated else "see text"
    return (f"{plan.lr:g}", f"{plan.weight_decay:g}", str(plan.epochs), warm, head)


def sizes(books: Shelf) -> Rows:
    """The profiles that can be run."""
    rows: Rows = [("profile", "image side", "training images", "test images", "seeds", "neighbours k")]
    for name, plan in profiles.PROFILES.items():
        counts = ("all" if count is None else f"{count:,}" for count in (plan.train_images, plan.test_images))
        rows.append((name, f"{plan.image_size} px", *counts, str(len(plan.seeds)), str(plan.neighbours)))
    return rows


def swav(books: Shelf) -> Rows:
    """The self-supervised loss, the paper's settings beside this profile's."""
    ours, paper = profile(books.profile).swav, PAPER.swav
    rows: Rows = [("SwAV", "the paper", "this book")]
    crops = [" + ".join(f"{n} of {size} px" for n, size in zip(s.crops, s.sizes, strict=True)) for s in (paper, ours)]
    rows.append(("views", *crops))
    for name in ("dimensions", "prototypes", "queue", "temperature", "epsilon", "iterations", "freeze_prototypes"):
        rows.append((name.replace("_", " "), *(f"{getattr(settings, name):g}" for settings in (paper, ours))))
    rows.append(
        ("queue used from", *(f"{100 * settings.queue_from:.0f} % of the epochs" for settings in (paper, ours)))
    )
    return rows


TABLES: dict[str, tuple[Callable[[Shelf], Rows], str]] = {
    "models": (models, "lp{8cm}rr"),
    "datasets": (datasets, "lp{8cm}rr"),
    "hyperparameters": (hyperparameters, "llrrrrr"),
    "profiles": (sizes, "lrrrrr"),
    "swav": (swav, "lrr"),
}


class RecordSettings(SphinxDirective):
    """A table without number or caption, by its name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name, books = self.arguments[0], self.env.app.shelf
        if name not in TABLES:
            raise self.error(f"settings must be one of {', '.join(TABLES)}; got {name!r}")
        make, spec = TABLES[name]
        shelf.note(self.env, [])
        self.env.note_dependency(profiles.__file__)
        before = nodes.raw("", "\\begingroup\\footnotesize", format="latex")
        return [before, tabular_col_spec(spec=spec), plain(make(books)), nodes.raw("", "\\endgroup", format="latex")]


def plain(rows: Sequence[Sequence[str | nodes.Node]]) -> nodes.table:
    """A table of texts or other nodes whose first row is its head."""
    made = [nodes.row("", *(nodes.entry("", _paragraph(cell)) for cell in row)) for row in rows]
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in rows[0]), cols=len(rows[0]))
    group += [nodes.thead("", made[0]), nodes.tbody("", *made[1:])]
    return nodes.table("", group, classes=["settings", "colwidths-auto"])


def _paragraph(cell: str | nodes.Node) -> nodes.paragraph:
    return nodes.paragraph("", cell) if isinstance(cell, str) else nodes.paragraph("", "", cell)


class RecordSource(SphinxDirective):
    """Which records the page shows: whose, how many, of which days and commits."""

    def run(self) -> list[nodes.Node]:
        books = self.env.app.shelf
        shelf.note(self.env, books.files())
        told = nodes.paragraph("", source(books))
        if books.records and self.env.app.builder.format == "html":
            told += [nodes.Text(" "), link("All runs", f"{up(self.env)}{addresses.table(books.profile)}.html")]
        return [nodes.note("", told, classes=["records"])]


def source(books: Shelf) -> str:
    """One or two sentences on the records that are shown."""
    if not books.records:
        return f"There are no records of profile {books.profile} yet, so only reported numbers are shown."
    whose = "your own run of the grid" if books.own else "the records that the project ships"
    days = sorted({record.created[:10] for record in books.records})
    commits = sorted({record.commit for record in books.records if record.commit})
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    made = f", made at commit {', '.join(commits)}" if commits else ""
    return (
        f"Numbers of this book come from {whose}: {len(books.records)} runs of profile {books.profile}, {span}{made}."
    )


def setting(text: str, books: Shelf) -> Number:
    """A whole number among the fields of the book's profile; ValueError lists those there are."""
    numbers = {name: value for name, value in vars(profile(books.profile)).items() if type(value) is int}
    if text not in numbers:
        raise ValueError(f"setting must be one of {', '.join(numbers)}; got {text!r}")
    return Number(f"{numbers[text]:,}", f"{text} of profile {books.profile}", (Path(profiles.__file__),))


def setup(app: Any) -> None:
    app.add_directive("record-settings", RecordSettings)
    app.add_role("setting", NumberRole("setting", setting))
    app.add_directive("record-source", RecordSource)
