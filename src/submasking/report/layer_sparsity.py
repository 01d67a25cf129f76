"""Sparsity by layer, drawn and said, from the tables of the analysis of that name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from submasking.records.analyses import Row
from submasking.records.names import DATASETS
from submasking.report.figures import COLOURS, WIDTH, themed, two_a_row

Tables = Mapping[str, Sequence[Row]]
LOOKS = {
    "FS": ("constant start", COLOURS["FS"], "o"),
    "FS-squared": ("squared start", COLOURS["SSFT"], "^"),
    "SSM": ("constant, no labels", COLOURS["SSM"], "v"),
    "SSM-squared": ("squared, no labels", "#CC79A7", "D"),
}
PARTS = {"query": ("-", "o"), "key": ("--", "s"), "value": (":", "^")}


@themed
def depth(tables: Tables) -> Figure:
    """Percent of each layer's weights that go, in the order of the network: mean over data sets, and all of them."""
    frame = pd.DataFrame(tables["tensors"])
    models = list(dict.fromkeys(frame.model))
    figure, panels = two_a_row(models, 1.75, head=0.9)
    for axes, model in zip(panels, models, strict=False):
        for method, rows in frame[frame.model == model].groupby("method", sort=False):
            _layers(axes, rows, str(method))
        axes.set_xticks([])
    panels[0].set_ylim(bottom=0)  # of all: they share it, so not before all is drawn
    figure.supxlabel("layer, from the first to the last", fontsize=9.5)
    figure.supylabel("% of the weights off", fontsize=9.5)
    shown = [method for method in LOOKS if method in set(frame.method)]
    marks = [panels[0].plot([], [], LOOKS[method][2] + "-", color=LOOKS[method][1])[0] for method in shown]
    figure.legend(marks, [LOOKS[method][0] for method in shown], loc="outside upper center", ncols=2)
    return figure


def _layers(axes: Axes, rows: pd.DataFrame, method: str) -> None:
    _, colour, mark = LOOKS[method]
    weights = rows[~rows.bias]
    places = np.arange(len(weights))
    sets = 100 * weights[[name for name in DATASETS if weights[name].notna().any()]].to_numpy(dtype=float)
    axes.fill_between(places, sets.min(1), sets.max(1), color=colour, alpha=0.2, linewidth=0)
    axes.plot(places, 100 * weights.value, mark + "-", color=colour, markersize=3, linewidth=1.1)
    if rows.bias.any():  # beside the weights of their layer
        there = (~rows.bias).cumsum()[rows.bias] - 1
        axes.plot(there, 100 * rows.value[rows.bias], mark, color=colour, fillstyle="none", markersize=3.5)


@themed
def kinds(tables: Tables) -> Figure:
    """Percent of the weights of each kind of layer that go, with 95 % intervals over the data sets."""
    frame = pd.DataFrame(tables["kinds"])
    frame["name"] = frame.kind + np.where(frame.sort == "biases", ", biases", "")
    models = list(dict.fromkeys(frame.model))
    heights = [frame[frame.model == model].name.nunique() for model in models]
    figure = Figure(figsize=(WIDTH, 1.1 + 0.27 * sum(heights) + 0.22 * len(models)), layout="constrained")
    panels = figure.subplots(len(models), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    shown = [method for method in LOOKS if method in set(frame.method)]
    for axes, model in zip(panels, models, strict=True):
        part = frame[frame.model == model]
        names, met = list(dict.fromkeys(part.name)), list(dict.fromkeys(part.method))
        for number, method in enumerate(met):
            rows = part[part.method == method]
            places = [names.index(name) + 0.18 * (number - (len(met) - 1) / 2) for name in rows.name]
            _dots(axes, rows, places, method)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_title(model)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
    panels[-1].set_xlabel("% of the weights off")
    panels[-1].set_xlim(left=0)
    marks = [panels[0].plot([], [], LOOKS[method][2], color=LOOKS[method][1])[0] for method in shown]
    figure.legend(marks, [LOOKS[method][0] for method in shown], loc="outside upper center", ncols=2)
    return figure


def _dots(axes: Axes, rows: pd.DataFrame, places: Sequence[float], method: str) -> None:
    _, colour, mark = LOOKS[method]
    value, low, high = (100 * rows[name].astype(float) for name in ("value", "low", "high"))
    low, high = low.fillna(value).clip(lower=0), high.fillna(value)
    axes.errorbar(value, places, xerr=[value - low, high - value], fmt=mark, color=colour, markersize=3.5, elinewidth=1)


@themed
def attention(tables: Tables) -> Figure:
    """Percent of the weights and biases of query, key and value that go, by block: mean over the data sets.

    Raises:
        ValueError: no network with attention among the runs.
    """
    if "attention" not in tables:
        raise ValueError("the analysis must hold a transformer's runs, it has none; pass model vitb32-clip, or all")
    frame = pd.DataFrame(tables["attention"])
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey="row", squeeze=False)
    for row, sort in zip(panels, ("weights", "biases"), strict=True):
        for axes, method in zip(row, ("FS", "FS-squared"), strict=True):
            for part, (dashes, mark) in PARTS.items():
                rows = frame[(frame.sort == sort) & (frame.method == method) & (frame.part == part)]
                axes.plot(rows.block, 100 * rows.value, dashes, marker=mark, markersize=4, color=LOOKS[method][1])
            axes.set_title(LOOKS[method][0])
            axes.set_xticks(sorted(set(frame.block)))
        row[0].set_ylabel(f"% of {sort} off")
    marks = [panels[0, 0].plot([], [], dashes, marker=mark, color=COLOURS["ZS"])[0] for dashes, mark in PARTS.values()]
    figure.supxlabel("block", fontsize=9.5)
    figure.legend(marks, list(PARTS), loc="outside upper center", ncols=3)
    return figure


FIGURES = {"depth": depth, "kinds": kinds, "attention": attention}


def sentence(tables: Tables) -> str:
    """Where the weights that go lie, and whether it is the same for all data sets, said for each method and network."""
    stages, orders, alike = (pd.DataFrame(tables[name]) for name in ("stages", "orders", "alike"))
    said = []
    for (model, method), rows in stages[stages.sort == "weights"].groupby(["model", "method"], sort=False):
        first, last = rows.iloc[0], rows.iloc[-1]
        of = orders[(orders.model == model) & (orders.method == method)].iloc[0]
        depth, count, size = (_number(of[name]) for name in ("depth", "weights", "size"))
        pairs = alike[(alike.model == model) & (alike.method == method) & (alike.between == "data sets")]
        said.append(
            f"- **{model}, {method}** ({first.sets} data sets, seeds: {first.seeds}): {100 * first.value:.1f} % of the"
            f" weights go in {first.stage}, {100 * last.value:.1f} % in {last.stage}. Rank correlation of sparsity over"
            f" {of['layers']} layers, mean over the data sets: with depth {depth}, with the number of weights"
            f" {count}, with their size {size}"
            + "".join(f"; between two data sets {_number(value)}" for value in pairs.value)
            + "."
        )
    return "\n".join(said)


def _number(value: float | None) -> str:
    return "no number" if value is None or np.isnan(value) else f"{value:.2f}".replace("-", "−")
