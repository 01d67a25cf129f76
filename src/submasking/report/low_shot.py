"""Few labels, and masks without labels on every data set, from the tables of the analysis `low_shot`."""

from __future__ import annotations

from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from submasking.records.analyses import Row
from submasking.report import figures
from submasking.report.ablations import number

Tables = dict[str, list[Row]]
JUDGES = {"knn": "nearest neighbours, all labels", "lp": "linear probe, all labels"}
LABELS = {
    "LP": "LP", "FS": "FS", "FS-squared": "FS, squared", "FFT": "FFT", "SSM": "SSM + LP",
    "SSM-squared": "SSM + LP, squared", "SSFT": "SSFT + LP",
}  # fmt: skip


@figures.themed
def curves(tables: Tables) -> Figure:
    """Accuracy by share of the labels, a panel per data set: means, with 95 % intervals where several seeds ran."""
    rows = tables["curve"]
    names = list(dict.fromkeys(str(row["dataset"]) for row in rows))
    figure, panels = figures.two_a_row(names, 2.5, head=1.1)
    for axes, name in zip(panels, names, strict=False):
        for method in dict.fromkeys(str(row["method"]) for row in rows):
            part = [row for row in rows if (row["dataset"], row["method"]) == (name, method)]
            shares = [number(row, "labels") for row in part]
            axes.plot(shares, [number(row, "top1") for row in part], label=LABELS[method], **_line(method))
            for row in part:
                axes.plot([number(row, "labels")] * 2, [max(number(row, "low"), 0), min(number(row, "high"), 1)],
                          color=_line(method)["color"], linewidth=0.9, alpha=0.7)  # fmt: skip
        _shares(axes, sorted({number(row, "labels") for row in rows}))
        axes.set_ylim(0, 1)
        axes.set_xlabel("% of the labels")
    panels[0].set_ylabel("top-1 accuracy")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, columnspacing=1)
    return figure


@figures.themed
def against(tables: Tables) -> Figure:
    """How far each way lies from the probe, all data sets together, by share; filled where clear after Holm."""
    rows = tables["against"]
    shares = sorted({number(row, "labels") for row in rows})
    methods = list(dict.fromkeys(str(row["method"]) for row in rows))
    figure = Figure(figsize=(figures.WIDTH, 4.0), layout="constrained")
    axes = figure.subplots()
    for place, method in enumerate(methods):
        part = [row for row in rows if row["method"] == method]
        at = [number(row, "labels") * 1.035 ** (place - (len(methods) - 1) / 2) for row in part]
        style = _line(method) | {"marker": ""}
        axes.plot(at, [number(row, "points") for row in part], label=LABELS[method], **style)
        for x, row in zip(at, part, strict=True):
            axes.plot([x, x], [number(row, "low"), number(row, "high")], color=style["color"], linewidth=1.2)
            fill = "full" if row["clear"] else "none"
            axes.plot(x, number(row, "points"), "o", color=style["color"], fillstyle=fill, markersize=5)
    axes.axhline(0, color=matplotlib.rcParams["text.color"], linewidth=0.9)
    _shares(axes, shares)
    axes.set_xlabel("% of the labels")
    axes.set_ylabel("points above the probe on the same labels")
    figure.legend(loc="outside upper left", ncols=2, columnspacing=1)
    return figure


@figures.themed
def sets(tables: Tables) -> Figure:
    """What masks without labels change on each data set, by both judges; filled where clear after Holm."""
    rows = tables["sets"]
    names = list(dict.fromkeys(str(row["dataset"]) for row in rows))
    figure = Figure(figsize=(figures.WIDTH, 1.6 + 0.42 * len(names) * len(JUDGES)), layout="constrained")
    panels = figure.subplots(len(JUDGES), 1, sharex=True)
    for axes, (judge, title) in zip(panels, JUDGES.items(), strict=True):
        for shift, method in ((-0.17, "SSM"), (0.17, "SSM-squared")):
            colour = figures.COLOURS["SSM" if method == "SSM" else "SSFT"]
            axes.plot([], [], "o", color=colour, label={"SSM": "from a constant"}.get(method, "from the square"))
            for row in rows:
                if (row["judge"], row["method"]) == (judge, method):
                    place = names.index(str(row["dataset"])) + shift
                    axes.plot([number(row, "low"), number(row, "high")], [place] * 2, color=colour, linewidth=1.6)
                    fill = "full" if row["clear"] else "none"
                    axes.plot(number(row, "points"), place, "o", color=colour, fillstyle=fill, markersize=6)
        axes.axvline(0, color=matplotlib.rcParams["text.color"], linewidth=0.9)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        axes.set_title(title)
    ends = [number(row, key) for row in rows for key in ("points",)]
    wide = 1.6 * max(map(abs, ends), default=1)
    panels[0].set_xlim(max(-wide, -100), min(wide, 100))
    panels[-1].set_xlabel("points above the untouched network")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def answer(tables: Tables) -> str:
    """What came, in sentences."""
    rows = tables["against"]
    few = min(number(row, "labels") for row in rows)
    said = ", ".join(
        f"{LABELS[str(row['method'])]} {number(row, 'points'):+.1f}{'' if row['clear'] else ' (not clear)'}"
        for row in rows
        if row["labels"] == few
    )
    best = {
        share: max((row for row in rows if row["labels"] == share), key=lambda row: number(row, "top1"))
        for share in dict.fromkeys(row["labels"] for row in rows)
    }
    first = ", ".join(f"{number(row, 'labels'):g} % {LABELS[str(row['method'])]}" for row in best.values())
    counted = "; ".join(_counted(tables, method, judge) for method in ("SSM", "SSM-squared") for judge in JUDGES)
    n = rows[0]["n"]
    return (
        f"With {few:g} % of the labels, points above the probe: {said}. The best adapted network by share: {first}. On"
        f" all data sets, clear differences from the untouched network: {counted}. (n = {n} seeds; all test images of"
        " the data sets together; Holm over all shares and ways, and over all data sets and judges.)"
    )


def _counted(tables: Tables, method: str, judge: str) -> str:
    rows = [row for row in tables["sets"] if (row["method"], row["judge"]) == (method, judge)]
    up, down = (sum(bool(row["clear"]) and sign * number(row, "points") > 0 for row in rows) for sign in (1, -1))
    by = {"knn": "nearest neighbours", "lp": "the probe"}[judge]
    return f"{LABELS[method].replace(' + LP', '')} by {by} better on {up}, worse on {down} of {len(rows)}"


def _line(method: str) -> dict[str, Any]:
    base, _, start = method.partition("-")
    return {"color": figures.COLOURS[base], "linestyle": "--" if start else "-", "marker": "o", "markersize": 4}


def _shares(axes: Axes, shares: list[float]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(shares, [f"{share:g}" for share in shares])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


FIGURES = {"curves": curves, "against": against, "sets": sets}
