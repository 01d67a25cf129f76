"""How alike tasks are by masks and by fine-tuning, from the tables of the analysis `task_similarity`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from submasking.report.figures import COLOURS, SMALL, WIDTH, themed
from submasking.report.statistics import LEVEL

Tables = Mapping[str, Sequence[Mapping[str, Any]]]
NAMES = {
    "masks": "masks", "masks by layer": "masks by layer", "closeness": "closeness of fine-tuned weights",
    "distance": "distance of fine-tuned weights", "density": "weights that the source keeps",
}  # fmt: skip
OUTCOMES = {"probe": "a new classifier under the source's mask", "start": "masks that start from the source's"}


def _first(tables: Tables) -> pd.DataFrame:
    """The pairs of the first seed, which was fine-tuned again."""
    pairs = pd.DataFrame(tables["pairs"])
    return pairs[pairs.seed == pairs.seed.iloc[0]]


@themed
def matrices(tables: Tables) -> Figure:
    """Overlap of masks below the diagonal, closeness of fine-tuned weights above it."""
    pairs = _first(tables)
    names = list(dict.fromkeys([*pairs["first"], *pairs["second"]]))
    figure = Figure(figsize=(WIDTH, 4.9), layout="constrained")
    axes = figure.subplots()
    for column, lower, colours, title in (
        ("masks", True, "Oranges", "masks (below)"), ("closeness", False, "Blues", "fine-tuning (above)"),
    ):  # fmt: skip
        square = np.full((len(names), len(names)), np.nan)
        for row in pairs.to_dict("records"):
            places = sorted((names.index(row["first"]), names.index(row["second"])), reverse=lower)
            square[tuple(places)] = row[column]
        low, high = float(np.nanmin(square)), float(np.nanmax(square))
        low -= (high - low) / 3  # the palest tint still stands out from the page
        image = axes.imshow(square, cmap=colours, vmin=low, vmax=high)
        for (place, other), value in np.ndenumerate(square):
            if not np.isnan(value):
                ink = "white" if value > low + 0.6 * (high - low) else "black"
                axes.text(other, place, f"{value:.2f}", ha="center", va="center", fontsize=SMALL, color=ink)
        figure.colorbar(image, ax=axes, location="bottom", shrink=0.8, aspect=30, pad=0.02, label=title)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(names)), names)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return figure


@themed
def layers(tables: Tables) -> Figure:
    """Both measures by layer: mean over the pairs, and their range."""
    rows = pd.DataFrame(tables["layers"])
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    for column, label, colour, mark in (
        ("masks", "masks, beyond chance", COLOURS["FS"], "o"),
        ("closeness", "closeness of fine-tuned weights", COLOURS["FFT"], "D"),
    ):
        axes.plot(rows.place, rows[column], marker=mark, markersize=4, color=colour, label=label)
        axes.fill_between(rows.place, rows[f"{column}_low"], rows[f"{column}_high"], color=colour, alpha=0.18, lw=0)
    axes.axhline(0, color=str(matplotlib.rcParams["text.color"]), linewidth=0.8)
    axes.set_xlabel("masked layer, from the input on")
    axes.set_xticks(rows.place[::2])
    figure.legend(loc="outside upper left", ncols=1)
    return figure


@themed
def transfer(tables: Tables) -> Figure:
    """Points gained or lost against the overlap of masks: a dot for each source and target."""
    rows = pd.DataFrame(tables["transfer"])
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    panels = figure.subplots(2, sharex=True)
    for axes, (outcome, title) in zip(panels, OUTCOMES.items(), strict=True):
        for place, (target, part) in enumerate(rows.groupby("target", sort=False)):
            axes.plot(part.masks, 100 * part[outcome], "o^sDvPX*"[place % 8], markersize=5, label=target)
        axes.axhline(0, color=str(matplotlib.rcParams["text.color"]), linewidth=0.8)
        axes.set_title(title)
        axes.set_ylabel("points gained")
    panels[-1].set_xlabel("overlap of source's and target's mask, beyond chance")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, title="target")
    return figure


def agreement(tables: Tables) -> pd.DataFrame:
    """Rank correlations over the pairs."""
    rows = pd.DataFrame(tables["agreement"]).replace({"first": NAMES, "second": NAMES})
    return rows.drop(columns="tasks").round(3)


def prediction(tables: Tables) -> pd.DataFrame:
    """Rank correlations with the gains."""
    rows = pd.DataFrame(tables["prediction"]).replace({"predictor": NAMES, "outcome": OUTCOMES})
    return rows.drop(columns="tasks").round(3)


def sentence(tables: Tables) -> str:
    """What came out, in words."""
    pairs, found = _first(tables), pd.DataFrame(tables["agreement"])
    tasks, seed = int(found.tasks.iloc[0]), found.seed.iloc[0]
    inside = found[(found.seed == seed) & (found.sets == "all") & (found["second"] == "closeness")].set_index("first")
    by_size, by_tensor = (inside.loc[name].squeeze() for name in ("masks", "masks by layer"))
    ordered = pairs.sort_values("masks").to_dict("records")
    return "\n\n".join((
        f"Masks of two tasks share {pairs.masks.mean():.1%} of what they could beyond chance (by layer alone "
        f"{pairs.masks_by_tensor.mean():.1%}), most {_pair(ordered[-1])}, least {_pair(ordered[0])}.",
        f"They order the {len(pairs)} pairs of {tasks} tasks {_said(by_size)} as the closeness of fine-tuned weights"
        f" does (by layer alone: {_said(by_tensor)}).",
        " ".join(_predicted(tables, outcome) for outcome in OUTCOMES),
    ))  # fmt: skip


def _pair(row: Any) -> str:
    return f"{row['first']} and {row['second']} ({row['masks']:.1%})"


def _said(row: Any) -> str:
    if pd.isna(row.value):
        return "in no order that could be compared"
    how = "clearly" if row.p < LEVEL else "not clearly"
    way = "alike" if row.value > 0 else "the other way round"
    return f"{how} {way} (rank correlation {row.value:.2f}, p {row.p:.2g})"


def _predicted(tables: Tables, outcome: str) -> str:
    rows = [row for row in tables["prediction"] if row["outcome"] == outcome and row["sets"] == "all" and row["holm"]]
    gains = pd.DataFrame(tables["transfer"])[outcome]
    clear = [f"{NAMES[row['predictor']]} ({row['value']:+.2f})" for row in rows if row["holm"] < LEVEL]
    told = (
        f"Which source is better is told by {' and '.join(clear)}." if clear else "No measure tells the better source."
    )
    return f"{OUTCOMES[outcome].capitalize()}: {100 * gains.mean():+.1f} points on average. {told}"


FIGURES: dict[str, Callable[..., Figure]] = {"matrices": matrices, "layers": layers, "transfer": transfer}
