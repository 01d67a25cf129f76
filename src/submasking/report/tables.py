"""The paper's Tables 1 to 6, and more of our own: which numbers they hold, ours from records beside the reported ones.

A table is built once and shown three ways, in HTML, in LaTeX and as CSV. A cell keeps its runs: mean, standard
deviation, n and seeds; a number that nobody has stays missing.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import pandas as pd

from submasking.records.names import MODELS, SELF_SUPERVISED
from submasking.records.profiles import Profile
from submasking.records.results import converged
from submasking.report import storage

MISSING = "–"
UNCONVERGED = "*"  # after a number behind which a probe's solver stopped too early
HERE, DRAFT, PUBLISHED = "here", "draft", "gcpr2024"
# decimals of sizes, where 3 would say nothing
DIGITS = {name: 1 for name in storage.COLUMNS if not name.startswith("bits_")} | {"multiple": 0}
METHOD_NAMES = {"ZS": "Zero Shot", "LP": "Linear Probe", "FS": "Submasked", "FFT": "Full FT"}


@dataclass(frozen=True)
class Cell:
    """One number of a table, or its absence.

    Attributes:
        value: mean over the runs, or what a paper reports; nan where there is none.
        std: sample standard deviation over the runs; nan for one run or where none is reported.
        n: number of runs; None where a paper does not say.
        seeds: seeds of the runs.
        digits: decimals to show: 3 for ours, since spreads over seeds are of the third; as many as a paper prints.
        origin: "here", "draft" or "gcpr2024".
        unconverged: number of runs in which the probe's solver stopped before it converged.
    """

    value: float = math.nan
    std: float = math.nan
    n: int | None = None
    seeds: tuple[int, ...] = ()
    digits: int = 2
    origin: str = HERE
    unconverged: int = 0

    @property
    def missing(self) -> bool:
        """Whether there is no number."""
        return math.isnan(self.value)

    def text(self) -> str:
        """The number without n: 0.951 ± 0.004, a star where a probe did not converge, a dash where it is missing."""
        if self.missing:
            return MISSING
        spread = "" if math.isnan(self.std) else f" ± {self.std:.{self.digits}f}"
        return f"{self.value:.{self.digits}f}{spread}{UNCONVERGED * bool(self.unconverged)}"

    def narrow(self) -> str:
        """As `text`, without the zero before a point: eight columns on a page or a screen."""
        return re.sub(r"\b0\.", ".", self.text())

    def provenance(self) -> str:
        """One line that says where the number comes from."""
        if self.origin != HERE:
            paper = "the draft" if self.origin == DRAFT else "the published paper (GCPR 2024)"
            runs = "n not stated" if self.n is None else f"n = {self.n}"
            return f"reported by {paper}, {runs}" if not self.missing else f"not reported by {paper}"
        if self.missing:
            return "no record"
        seeds = ", ".join(map(str, self.seeds))
        spread = "" if math.isnan(self.std) else ", sample standard deviation over seeds"
        early = f"; the probe's solver stopped before it converged in {self.unconverged} of them"
        runs = "runs" if self.n != 1 else "run"
        return f"mean of n = {self.n} {runs} (seed {seeds}){spread}{early if self.unconverged else ''}"


@dataclass(frozen=True)
class Query:
    """Which number: of our records (`source` "here") or of a paper's table."""

    source: str
    table: str
    metric: str
    model: str
    method: str
    dataset: str


@dataclass(frozen=True)
class Group:
    """Rows under one heading: label of each row, and a query per column."""

    title: str
    rows: tuple[tuple[str, tuple[Query, ...]], ...]
    source: str = HERE


@dataclass(frozen=True)
class Spec:
    """A table of the paper before its numbers are looked up.

    Attributes:
        number: the table's number in the paper.
        title: what it shows.
        corner: heading of the first column.
        columns: (heading over several columns, heading of the column); the first may be "".
        groups: its rows.
        notebooks: the executed notebooks whose runs it shows.
    """

    number: str
    title: str
    corner: str
    columns: tuple[tuple[str, str], ...]
    groups: tuple[Group, ...]
    notebooks: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table with its numbers: per group of rows its heading and (label, cells) per row."""

    spec: Spec
    body: tuple[tuple[Group, tuple[tuple[str, tuple[Cell, ...]], ...]], ...] = field(default=())

    def cells(self) -> Iterator[tuple[Query, Cell]]:
        """Every cell with its query, row by row."""
        for group, rows in self.body:
            for (_, queries), (_, cells) in zip(group.rows, rows, strict=True):
                yield from zip(queries, cells, strict=True)

    def counts(self) -> list[int]:
        """The different n among the cells of ours, ascending; empty where there is no record."""
        return sorted({cell.n for _, cell in self.cells() if cell.origin == HERE and cell.n})

    def count(self, cell: Cell) -> str:
        """The n that stands beside a number; "" where a paper says none, or the caption says it of all of ours."""
        same = cell.origin == HERE and len(self.counts()) == 1
        return "" if cell.n is None or cell.missing or same else str(cell.n)

    def unconverged(self) -> bool:
        """Whether a number has the mark of a probe that did not converge."""
        return any(cell.unconverged for _, cell in self.cells())

    def csv(self) -> str:
        """All cells in long form, one line each; what is missing has an empty value."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["table", "source", "metric", "model", "method", "dataset", "value", "std", "n", "seeds"])
        for query, cell in self.cells():
            numbers = ["" if math.isnan(number) else f"{number:.6g}" for number in (cell.value, cell.std)]
            identity = [self.spec.number, query.source, query.metric, query.model, query.method, query.dataset]
            count = "" if cell.n is None or cell.missing else str(cell.n)
            writer.writerow([*identity, *numbers, count, " ".join(map(str, cell.seeds))])
        return text.getvalue()

    def latex(
        self,
        link: Callable[[Query, Cell], str] = lambda query, cell: "",
        below: Callable[[str], str] = lambda column: "",
    ) -> str:
        """The body as a LaTeX tabular with the rules of booktabs; captions belong to the page.

        Args:
            link: what stands before a number, as the first half of a macro that takes the number; "" for nothing.
            below: column -> what stands in small letters below its head; "" for nothing.
        """
        heads, width = [group for group, _ in self.spec.columns], len(self.spec.columns) + 1
        gap = "@{\\hskip 1.4em}"
        kinds = "".join(
            (gap if number and heads[number] != heads[number - 1] else "") + "c" for number in range(width - 1)
        )
        lines = [f"\\begin{{tabular}}{{l{kinds}}}", "\\toprule", *_latex_head(self.spec)]
        if any(small := [below(name) for _, name in self.spec.columns]):
            lines.append(" & ".join(["", *(f"{{\\tiny\\itshape {text}}}" for text in small)]) + " \\\\")
        for group, rows in self.body:
            lines.append("\\midrule")
            if group.title:
                lines += [f"\\multicolumn{{{width}}}{{l}}{{\\itshape {group.title}}} \\\\", "\\addlinespace[2pt]"]
            for (label, cells), (_, queries) in zip(rows, group.rows, strict=True):
                given = zip(queries, cells, strict=True)
                texts = [_latex_cell(cell, link(query, cell), self.count(cell)) for query, cell in given]
                lines.append(" & ".join([label, *texts]) + " \\\\")
        return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _latex_head(spec: Spec) -> list[str]:
    return [line.replace("%", "\\%") for line in _heads(spec)]


def _heads(spec: Spec) -> list[str]:
    names = " & ".join([spec.corner, *(name for _, name in spec.columns)]) + " \\\\"
    if not any(group for group, _ in spec.columns):
        return [names]
    upper, rules, start = [""], [], 2
    for title, members in groupby(spec.columns, key=lambda column: column[0]):
        end = start + len(list(members)) - 1
        upper.append(f"\\multicolumn{{{end - start + 1}}}{{c}}{{{title}}}")
        rules.append(f"\\cmidrule(lr){{{start}-{end}}}")
        start = end + 1
    return [" & ".join(upper) + " \\\\", " ".join(rules), names]


def _latex_cell(cell: Cell, link: str, count: str) -> str:
    shown = cell.narrow().replace(MISSING, "--").replace("±", "$\\pm$")
    return (f"{link}{{{shown}}}" if link else shown) + (f"\\textsubscript{{{count}}}" if count else "")


def build(number: str, frame: pd.DataFrame, reported: pd.DataFrame, plan: Profile) -> Table:
    """Table `number` of the paper.

    Args:
        number: "1" to "6", or a name of `specs`, such as "bits" and "bytes" for what a task costs to store.
        frame: one row per record (`submasking.report.frames.frame`), of one profile, for sizes with `storage.columns`.
        reported: the papers' numbers (`submasking.report.frames.reported`).
        plan: the profile of the records; what its grid does not run has no row.

    Raises:
        ValueError: for a number that is no table.
    """
    known = specs(plan)
    if number not in known:
        raise ValueError(f"table must be one of {', '.join(known)}; got {number!r}")
    spec = known[number]
    body = []
    for group in spec.groups:
        rows = ((label, tuple(look_up(query, frame, reported) for query in queries)) for label, queries in group.rows)
        body.append((group, tuple(rows)))
    return Table(spec, tuple(body))


def look_up(query: Query, frame: pd.DataFrame, reported: pd.DataFrame) -> Cell:
    """The number that a query asks for; a missing cell where nobody has it."""
    if query.source == HERE:
        return measured(frame, query.model, query.dataset, query.method, query.metric)
    return quoted(reported, query)


def measured(
    frame: pd.DataFrame, model: str, dataset: str, method: str, metric: str, labels: float | None = None
) -> Cell:
    """Mean and spread over the seeds of one experiment of ours.

    Args:
        frame: one row per record.
        model: as in the records, like the next three.
        dataset: name of a data set.
        method: what was done.
        metric: what was measured.
        labels: share of the training labels in percent; by default all of them (none for methods without labels).
    """
    if metric not in frame:
        return Cell()
    share = all_labels(method) if labels is None else labels
    asked = {"model": model, "dataset": dataset, "method": method, "labels": share}
    rows = frame
    for column, value in asked.items():
        rows = rows[rows[column] == value]
    rows = rows.dropna(subset=[metric]).sort_values("seed")
    if rows.empty:
        return Cell()
    values = rows[metric]
    spread = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    flag, seeds = converged(metric), tuple(int(seed) for seed in rows.seed)
    early = int((rows[flag] == 0).sum()) if flag in rows else 0
    return Cell(float(values.mean()), spread, len(values), seeds, DIGITS.get(metric, 3), unconverged=early)


def all_labels(method: str) -> float:
    """The share of the labels, in percent, that a method is meant to see where none is named: all, or none."""
    return 0.0 if method in SELF_SUPERVISED else 100.0


def quoted(reported: pd.DataFrame, query: Query) -> Cell:
    """A paper's own number; a density of the published paper answers a question for sparsity."""
    metric = "density" if query.source == PUBLISHED and query.metric == "sparsity" else query.metric
    asked = {"source": query.source, "table": query.table, "metric": metric}
    rows = reported
    for column, value in (asked | {name: getattr(query, name) for name in ("model", "method", "dataset")}).items():
        rows = rows[rows[column] == value]
    digits = DIGITS.get(metric, 3 if query.source == PUBLISHED else 2)
    if rows.empty or pd.isna(rows.value.iloc[0]):
        return Cell(origin=query.source, digits=digits)
    row = rows.iloc[0]
    value = 1 - float(row.value) if metric == "density" else float(row.value)
    count = None if pd.isna(row.n) else int(row.n)
    return Cell(value, float(row["std"]), count, digits=digits, origin=query.source)


def _by_dataset(
    plan: Profile, source: str, table: str, metric: str, rows: tuple[tuple[str, str], ...], title: str
) -> Group:
    """Rows are (model, method), columns the profile's data sets."""
    made = tuple(
        (f"{model} + {method}", tuple(Query(source, table, metric, model, method, name) for name in plan.datasets))
        for model, method in rows
    )
    return Group(title, made, source)


def _by_method(plan: Profile, model: str, columns: tuple[tuple[str, str, str, str], ...]) -> Group:
    """Rows are the profile's data sets, columns (source, table, metric, method)."""
    made = tuple(
        (name, tuple(Query(source, table, metric, model, method, name) for source, table, metric, method in columns))
        for name in plan.datasets
    )
    return Group("", made)


def _columns(plan: Profile) -> tuple[tuple[str, str], ...]:
    return tuple(("", name) for name in plan.datasets)


_TABLE_1 = (
    ("rn18-timm", "LP"), ("rn18-timm", "FS"), ("rn18-timm", "FFT"),
    ("rn50-swav", "LP"), ("rn50-swav", "FS"), ("rn50-swav", "FFT"),
    ("vitb32-clip", "LP"), ("vitb32-clip", "FS"), ("vitb32-clip", "FFT"),
    ("rn50-timm", "LP"), ("rn50-torch", "LP"),
)  # fmt: skip
_MASKED = (("rn18-timm", "FS"), ("rn50-swav", "FS"), ("vitb32-clip", "FS"))
_OWN = ("rn18-timm", "rn50-swav")  # models with tables of their own in the draft
_METHODS = ("FFT", "FS", "LP")
_KNN_METHODS = ("FFT", "FS", "ZS")


def _methods_table(plan: Profile, number: str, model: str, title: str) -> Spec:
    columns = [(HERE, "", "top1", method) for method in _METHODS]
    columns += [(DRAFT, f"{number}a", "top1", method) for method in _METHODS]
    columns += [(HERE, "", "sparsity", "FS"), (DRAFT, f"{number}b", "sparsity", "FS")]
    heads = [("accuracy, this book", METHOD_NAMES[method]) for method in _METHODS]
    heads += [("accuracy, paper", METHOD_NAMES[method]) for method in _METHODS]
    heads += [("sparsity", "this book"), ("sparsity", "paper")]
    return Spec(
        number, title, model, tuple(heads), (_by_method(plan, model, tuple(columns)),), (f"submasking-{model}",)
    )


def _knn_table(plan: Profile, number: str, model: str, title: str) -> Spec:
    columns = [(source, number, "knn", method) for source in (HERE, DRAFT) for method in _KNN_METHODS]
    names = {HERE: "kNN accuracy, this book", DRAFT: "kNN accuracy, paper"}
    heads = tuple((names[source], METHOD_NAMES[method]) for source, _, _, method in columns)
    return Spec(number, title, model, heads, (_by_method(plan, model, tuple(columns)),), (f"submasking-{model}",))


def _ours(plan: Profile) -> str:
    return f"This book: {'stand-ins of ' if plan.protocol is None else ''}profile {plan.name}"


def _sizes_table(number: str, title: str, columns: dict[str, tuple[str, str]], plan: Profile) -> Spec:
    """Rows are the data sets of each model and method that the grid stores masks of; columns (heading, name)."""
    stored: list[tuple[str, str, tuple[str, ...]]] = [
        (model, "FS", plan.datasets) for model in plan.full_models if "FS" in plan.compared
    ]
    stored += [("rn50-swav", "SSM", plan.sparse_datasets)] * ("SSM" in plan.no_labels)
    groups = []
    for model, method, datasets in stored:
        rows = tuple((name, tuple(Query(HERE, "", key, model, method, name) for key in columns)) for name in datasets)
        groups.append(Group(f"{model}, {method}", rows))
    return Spec(number, title, "data set", tuple(columns.values()), tuple(groups), ("compression-all",))


def _compared(plan: Profile, number: str, title: str, methods: Mapping[str, tuple[str, ...]], metric: str) -> Spec:
    """Of each model some methods of ours; columns are the data sets. Without models it has no rows."""
    groups = tuple(
        _by_dataset(plan, HERE, number, metric, tuple((model, each) for each in several), model)
        for model, several in methods.items()
    )
    return Spec(
        number,
        title,
        "model + method",
        _columns(plan),
        groups or (Group("Nothing that the grid of this profile runs", ()),),
        tuple(f"submasking-{model}" for model in methods),
    )


def _starts(plan: Profile, *methods: str) -> dict[str, tuple[str, ...]]:
    """By adapted model the methods that differ in the start of the scores; none where there is one start alone."""
    found = {model: _run(plan, model, methods) for model in plan.full_models}
    return {model: ways for model, ways in found.items() if sum(each.startswith("FS") for each in ways) > 1}


def _run(plan: Profile, model: str, methods: tuple[str, ...]) -> tuple[str, ...]:
    """Of methods with labels those that the grid runs of an adapted model."""
    return tuple(each for each in methods if each in ("LP", *plan.compared, *plan.controls(model)))


def _unlabelled(number: str, title: str, model: str, plan: Profile) -> Spec:
    """What is learnt without labels, by the probe and by nearest neighbours; columns are the data sets of figure 1."""
    names = plan.sparse_datasets
    shares = {f"lp@{percent:g}": "all labels" if percent == 100 else f"{percent:g} % of the labels"
              for percent in plan.label_percents}  # fmt: skip
    metrics = {key: f"probe, {share}" for key, share in shares.items()} | {"knn": "nearest neighbours"}
    rows = tuple(
        (method, tuple(Query(HERE, number, key, model, method, name) for key in metrics for name in names))
        for method in ("SSM", "SSM-squared", "SSM-none", "SSFT")
        if method in plan.no_labels
    )
    heads = tuple((title, name) for title in metrics.values() for name in names)
    return Spec(number, title, model, heads, (Group("", rows),), (f"label_sparsity-{model}",))


# ours first: a narrow screen shows the left of a table
_BITS = {
    "bits_coded": ("this project's", "codec"),
    "bits_file": ("this project's", "whole file"),
    "bits_entropy": ("entropy", "whole"),
    "bits_tensor": ("entropy", "per tensor"),
} | {f"bits_{name}": ("general compressors", name) for name in storage.CODERS if name != "coded"}
_BYTES = {f"kb_{name}": ("kB in the file of a task", name) for name in (*storage.PARTS, "file")} | {
    "multiple_lzma": ("fine-tuned weights against it", "lzma on both"),
    "multiple_mask": ("fine-tuned weights against it", "best of both"),
    "multiple_task": ("fine-tuned weights against it", "whole task"),
}


def specs(plan: Profile) -> dict[str, Spec]:
    """Every table by its number or name, with the rows that the grid of a profile runs."""
    adapted = plan.full_models
    rest = tuple(model for model in MODELS if model not in adapted)
    ours = tuple((model, each) for model in adapted for each in ("LP", "FS", "FFT"))
    controls = ("LP", "FS-none", "FS-random", "FS-frozen", "FS")
    others = {model: ("ZS", "FS", "FFT") if model in adapted else ("ZS",) for model in MODELS if model not in _OWN}
    return {
        "1": Spec(
            "1",
            "Top-1 accuracy",
            "model + method",
            _columns(plan),
            (
                _by_dataset(plan, HERE, "1", "top1", (*ours, *((model, "LP") for model in rest)), _ours(plan)),
                _by_dataset(plan, DRAFT, "1", "top1", _TABLE_1, "The paper's draft, Table 1: the real models and data"),
            ),
            tuple(f"submasking-{model}" for model in (*adapted, *rest)),
        ),
        "2": Spec(
            "2",
            "Sparsity of the learnt masks",
            "model + method",
            _columns(plan),
            (
                _by_dataset(plan, HERE, "2", "sparsity", tuple((model, "FS") for model in adapted), _ours(plan)),
                Group(
                    "The paper's draft, Tables 3b and 4b",
                    _by_dataset(plan, DRAFT, "3b", "sparsity", _MASKED[:1], "").rows
                    + _by_dataset(plan, DRAFT, "4b", "sparsity", _MASKED[1:2], "").rows,
                    DRAFT,
                ),
                _by_dataset(plan, PUBLISHED, "S4", "sparsity", _MASKED, "The published paper, Table S4 (1 - density)"),
            ),
            tuple(f"submasking-{model}" for model in adapted),
        ),
        "3": _methods_table(plan, "3", "rn18-timm", "ResNet-18 (timm): accuracy and sparsity"),
        "4": _methods_table(plan, "4", "rn50-swav", "ResNet-50 (SwAV): accuracy and sparsity"),
        "5": _knn_table(plan, "5", "rn18-timm", "ResNet-18 (timm): nearest-neighbour accuracy"),
        "6": _knn_table(plan, "6", "rn50-swav", "ResNet-50 (SwAV): nearest-neighbour accuracy"),
        "others": _compared(
            plan, "others", "Nearest-neighbour accuracy of the models that the draft leaves out", others, "knn"
        ),
        "starts": _compared(
            plan,
            "starts",
            "Top-1 accuracy by the start of the scores",
            _starts(plan, "LP", "FS", "FS-magnitude", "FS-squared", "FFT"),
            "top1",
        ),
        "starts-off": _compared(
            plan,
            "starts-off",
            "Sparsity by the start of the scores",
            _starts(plan, "FS", "FS-magnitude", "FS-squared"),
            "sparsity",
        ),
        "controls": _compared(
            plan,
            "controls",
            "Top-1 accuracy of submasking and of its controls",
            {model: _run(plan, model, controls) for model in plan.control_models},
            "top1",
        ),
        "unlabelled": _unlabelled("unlabelled", "Masks without labels, and their control", "rn50-swav", plan),
        "bits": _sizes_table("bits", "Bits per masked weight, of a mask and of the whole file of a task", _BITS, plan),
        "bytes": _sizes_table(
            "bytes", "Bytes of a task, and how many times as much fine-tuned weights take", _BYTES, plan
        ),
    }
