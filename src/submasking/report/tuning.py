"""The search for learning rates, from its record: what was tried for each method, and what won."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from submasking.records.names import METHODS, MODELS, SELF_SUPERVISED
from submasking.report.figures import COLOURS, SMALL, WIDTH, theme

PANELS = (*((model, 100.0) for model in MODELS), ("rn50-swav", 10.0), ("rn50-swav", 0.0))
TITLES = {100.0: "{model},\nall labels", 10.0: "{model},\n10 % of the labels", 0.0: "{model},\nno labels"}
MARKERS = {"magnitude": "s", "squared": "^"}


def judged_by(method: str) -> str:
    """Name of the metric that decides between rates of a method; without labels it is the probe with 10 % of them."""
    return "lp@10" if method in SELF_SUPERVISED else "top1"


def kind_of(method: str) -> str:
    """What a method of the record is: "methods", "rivals", "probes" or "controls"."""
    if method in ("LP", "FS-none"):
        return "probes" if method == "LP" else "controls"
    return "methods" if method in METHODS else "rivals"


def trials(path: Path, kind: str = "methods") -> pd.DataFrame:
    """One row per pair of rates that was tried for a method: score, the mean over the data sets; nan where it failed.

    Args:
        path: the record of `benchmarks/learning_rates.py`.
        kind: "methods" of the grid, "rivals" that are compared at equal storage, "probes", linear ones, which have a
            weight decay as "lr" and no head, or "controls", which have a head's rate as that.

    Raises:
        ValueError: the file is no record of trials.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            {name: entry[name] for name in ("method", "model", "labels", "lr", "head_lr")}
            | {"score": entry.get("metrics", {}).get(judged_by(entry["method"]))}
            for entry in entries
            if kind_of(entry["method"]) == kind
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must hold trials of learning rates, it does not ({error}); search anew") from error
    keys = ["method", "model", "labels", "lr", "head_lr"]
    # a rate at which one of the sets failed has no mean
    return pd.DataFrame(rows).groupby(keys).score.agg(lambda found: found.mean(skipna=False)).reset_index()


def best(frame: pd.DataFrame) -> pd.DataFrame:
    """The row that won for each method, model and share of the labels."""
    ordered = frame.sort_values("score", ascending=False)
    return ordered.drop_duplicates(["method", "model", "labels"]).reset_index(drop=True)


def curves(frame: pd.DataFrame, *, dark: bool = False) -> Figure:
    """Validation accuracy against the rate, a panel for each model and share of the labels; rings are what won."""
    with theme("dark" if dark else "light"):
        shown = [panel for panel in PANELS if len(_part(frame, *panel))]
        figure = Figure(figsize=(WIDTH, 0.5 + 2.1 * -(-len(shown) // 2)), layout="constrained")
        panels = figure.subplots(-(-len(shown) // 2), 2, squeeze=False).flatten()
        handles: dict[str, Any] = {}
        for axes, (model, labels) in zip(panels, shown, strict=False):
            handles |= _panel(axes, _part(frame, model, labels))
            axes.set_title(TITLES[labels].format(model=model), loc="left", fontsize=SMALL)
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        for axes in panels[::2]:
            axes.set_ylabel("accuracy, validation")
        rest = panels[len(shown)] if len(shown) < len(panels) else None
        (rest or figure).legend(handles.values(), handles.keys(), loc="center" if rest else "outside lower center")
        return figure


def _part(frame: pd.DataFrame, model: str, labels: float) -> pd.DataFrame:
    return frame[(frame.model == model) & (frame.labels == labels)]


def _panel(axes: Axes, part: pd.DataFrame) -> dict[str, Any]:
    handles: dict[str, Any] = {}
    for method, rows in part.groupby("method"):
        base, _, variant = str(method).partition("-")
        # at each rate the better of the head rates that were tried
        line = rows.groupby("lr").score.max().sort_index()
        (handles[str(method)],) = axes.plot(
            line.index, line, marker=MARKERS.get(variant, "o"), markersize=4, color=COLOURS[base],
            linestyle="--" if variant else "-", linewidth=1.2,
        )  # fmt: skip
        won = rows.nlargest(1, "score")
        axes.plot(won.lr, won.score, marker="o", markersize=10, fillstyle="none", color=COLOURS[base])
    axes.margins(y=0.12)  # room for a ring around the best of all
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    return handles
