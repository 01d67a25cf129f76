"""Accuracy against bytes per task: figures and the answer, from the tables of the analysis `equal_storage`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from submasking.report.figures import COLOURS, WIDTH, themed

Tables = Mapping[str, Sequence[Mapping[str, Any]]]
EVERY = "all"
LOOKS = {
    "LP": ("linear probe", COLOURS["LP"], "s"),
    "norms": ("norms", "#999999", "P"),
    "biases": ("biases", "#CC79A7", "v"),
    "LoRA": ("LoRA", "#009E73", "^"),
    "one-bit LoRA": ("LoRA of one bit", "#E69F00", "<"),
    "FS": ("masks", COLOURS["FS"], "o"),
    "FS-squared": ("masks, squared start", COLOURS["FS"], "X"),
    "FFT": ("difference of fine-tuning", COLOURS["FFT"], "D"),
}
USUAL, SIGNS = "10 bits", "signs"


@themed
def front(tables: Tables) -> Figure:
    """Mean accuracy over the data sets against bytes per task, a panel per network; who is on the front is joined."""
    return _panels(tables, [(model, EVERY, model) for model in _models(tables)])


@themed
def sets(tables: Tables, model: str) -> Figure:
    """The same for one network, a panel per data set."""
    named = dict.fromkeys(row["dataset"] for row in tables["points"] if row["model"] == model)
    return _panels(tables, [(model, name, name) for name in named if name != EVERY])


def _panels(tables: Tables, wanted: Sequence[tuple[str, str, str]]) -> Figure:
    figure = Figure(figsize=(WIDTH, 1.2 + 2.3 * len(wanted)), layout="constrained")
    stack = figure.subplots(len(wanted), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (model, dataset, title) in zip(stack, wanted, strict=True):
        _panel(axes, [row for row in tables["points"] if (row["model"], row["dataset"]) == (model, dataset)])
        axes.set_title(title)
    stack[-1].set_xlabel("bytes per task")
    figure.supylabel("top-1 accuracy", fontsize=9.5)
    figure.legend(*stack[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """A way in all its forms is a line, signs stand apart; hollow is float32, a thick grey line joins the front."""
    ahead = sorted((row["bytes"], row["accuracy"]) for row in rows if row["front"])
    axes.plot(*zip(*ahead, strict=True), color="#999999", linewidth=5, alpha=0.35, solid_capstyle="round")
    for way, (label, colour, mark) in LOOKS.items():
        there = sorted((row for row in rows if row["way"] == way), key=lambda row: row["bytes"])
        steps = [row for row in there if row["form"] != SIGNS]  # another way to round: not on the line of the others
        axes.plot([row["bytes"] for row in steps], [row["accuracy"] for row in steps], color=colour, linewidth=0.8)
        for row in there:
            fill = "none" if row["form"] == "float32" else colour
            if row["form"] == USUAL and row["low"] is not None:
                ends = [max(row["low"], 0), min(row["high"], 1)]
                axes.plot([row["bytes"]] * 2, ends, color=colour, linewidth=1)
            axes.plot(row["bytes"], row["accuracy"], mark, color=colour, markerfacecolor=fill, markersize=6)
        axes.plot([], [], mark, color=colour, label=label)
    axes.set_xscale("log")
    axes.grid(True, axis="both")


def _models(tables: Tables) -> list[str]:
    return list(dict.fromkeys(row["model"] for row in tables["points"]))


def row_of(tables: Tables, model: str, way: str, form: str = USUAL, dataset: str = EVERY) -> Mapping[str, Any]:
    """One point; LookupError where there is none."""
    wanted = (model, way, form, dataset)
    for row in tables["points"]:
        if (row["model"], row["way"], row["form"], row["dataset"]) == wanted:
            return row
    raise LookupError(f"there must be a point {wanted}; there is none: run the notebook with this model")


def answer(tables: Tables) -> str:
    """What the points say, a paragraph per network, and what they were made from."""
    parts = []
    for model in _models(tables):
        masks = row_of(tables, model, "FS")
        ahead = [
            row for row in tables["points"] if (row["model"], row["dataset"], row["front"]) == (model, EVERY, True)
        ]
        chain = "; ".join(
            f"{LOOKS[row['way']][0]} ({row['form']}) {row['accuracy']:.3f} in {row['bytes'] / 1e3:.1f} kB"
            for row in sorted(ahead, key=lambda row: row["bytes"])
        )
        cheaper = [row for row in ahead if row["bytes"] <= masks["bytes"] and row["accuracy"] >= masks["accuracy"]]
        said = "are on the front" if masks["front"] else "are beaten" if cheaper else "are not on the front"
        parts.append(
            f"**{model}.** Masks with head and statistics of few bits reach {masks['accuracy']:.3f} in"
            f" {masks['bytes'] / 1e3:.1f} kB and {said}. The front, from the cheapest on: {chain}."
        )
    seeds = row_of(tables, _models(tables)[0], "FS")["seeds"]
    count = len({row["dataset"] for row in tables["points"]} - {EVERY})
    return "\n\n".join([*parts, f"(Means over {count} data set(s), {seeds} seed(s).)"])


FIGURES = {
    "front": front,
    "rn18-timm": partial(sets, model="rn18-timm"),
    "vitb32-clip": partial(sets, model="vitb32-clip"),
}
