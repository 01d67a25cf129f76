"""Are the same weights masked by another training: from the tables of the analysis `retraining`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from submasking.report.figures import COLOURS, WIDTH, themed, two_a_row
from submasking.report.statistics import LEVEL, Sample, estimate

Tables = Mapping[str, Sequence[Mapping[str, Any]]]
LOOKS = {
    "same_images": ("another seed, same images", "#009E73", "o"),
    "other_images": ("another seed, other images", COLOURS["FS"], "s"),
    "own_end": ("its own last mask", "#999999", "v"),
}
KINDS = {
    "one training": COLOURS["FS"], "all agree": "#0072B2", "most agree": "#0072B2", "any": "#0072B2",
    "random": "#999999", "no mask": "#999999",
}  # fmt: skip


@themed
def epochs(tables: Tables) -> Figure:
    """Overlap after each epoch, a panel for each data set."""
    rows = pd.DataFrame(tables["epochs"])
    figure, panels = two_a_row(list(rows.dataset.unique()), 1.7)
    for axes, (_, part) in zip(panels, rows.groupby("dataset", sort=False), strict=False):
        for column, (label, colour, mark) in LOOKS.items():
            axes.plot(part.epoch, part[column], marker=mark, markersize=4, color=colour, label=label)
        axes.set_xticks(part.epoch)
        axes.set_ylim(bottom=min(0.0, *rows[list(LOOKS)].min()))
    figure.supxlabel("epoch", fontsize=9.5)
    figure.supylabel("overlap beyond chance", fontsize=9.5)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left")
    return figure


@themed
def layers(tables: Tables) -> Figure:
    """Overlap at the end in each layer, mean over the data sets with their range."""
    rows = pd.DataFrame(tables["layers"])
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    for column in ("same_images", "other_images"):
        label, colour, mark = LOOKS[column]
        found = rows.groupby("place")[column].agg(["mean", "min", "max"])
        axes.plot(found.index, found["mean"], marker=mark, markersize=4, color=colour, label=label)
        axes.fill_between(found.index, found["min"], found["max"], color=colour, alpha=0.18, lw=0)
    axes.axhline(0, color=str(matplotlib.rcParams["text.color"]), linewidth=0.8)
    axes.set_xlabel("masked layer, from the input on")
    axes.set_ylabel("overlap beyond chance")
    axes.set_xticks(sorted(rows.place.unique())[::2])
    figure.legend(loc="outside upper left")
    return figure


@themed
def consensus(tables: Tables) -> Figure:
    """Accuracy of a probe under each kind of mask, a panel for each data set; intervals are those of `ahead`."""
    rows = pd.DataFrame(tables["consensus"])
    figure, panels = two_a_row(list(rows.dataset.unique()), 1.9)
    for axes, (_, part) in zip(panels, rows.groupby("dataset", sort=False), strict=False):
        shown = part.set_index("what").loc[list(KINDS)]
        for place, (kind, colour) in enumerate(KINDS.items()):
            row = 100 * shown.loc[kind, ["accuracy", "ahead", "low", "high"]].astype(float)
            wide = [[row.ahead - row.low], [row.high - row.ahead]] if row.notna().all() else None
            axes.errorbar(row.accuracy, place, xerr=wide, fmt="o", color=colour, markersize=6, capsize=2, elinewidth=1)
        axes.set_yticks(range(len(KINDS)), list(KINDS))
        axes.set_ylim(len(KINDS) - 0.5, -0.5)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
    figure.supxlabel("% of the test images, new probe", fontsize=9.5)
    return figure


def overlap(tables: Tables) -> pd.DataFrame:
    """Overlap of seeds by model and method, mean over the data sets with its interval."""
    rows = pd.DataFrame(tables["overlap"])
    found = []
    for (model, method), part in rows.groupby(["model", "method"], sort=False):
        known = part.dropna(subset=["beyond_tensor"])
        told = {"model": model, "method": method, "sets": len(known), "pairs": int(part.pairs.sum())}
        for column in ("beyond_tensor", "beyond_size"):
            values = dict(enumerate(known[column].astype(float)))
            one = estimate(Sample(values)) if values else None
            told |= {column: one and one.value, f"{column}_low": one and one.low, f"{column}_high": one and one.high}
        means = part[["overlap", "expected", "other_backbone"]].astype(float).mean()
        found.append(told | means.to_dict())
    return pd.DataFrame(found).round(3)


def summary(tables: Tables) -> pd.DataFrame:
    """Points ahead of the mask of one training, with intervals over data sets."""
    rows = pd.DataFrame(tables["summary"])
    return rows.assign(**{name: 100 * rows[name].astype(float) for name in ("ahead", "low", "high")}).round(3)


def sentence(tables: Tables) -> str:
    """What came out, in words."""
    last = pd.DataFrame(tables["epochs"]).groupby("dataset").last()
    first = pd.DataFrame(tables["epochs"]).groupby("dataset").first()
    found = overlap(tables).dropna(subset=["beyond_tensor"])
    read = [
        f"{row.model} {row.method} {row.beyond_tensor:.0%} by layer, {row.beyond_size:.0%} by layer and size"
        for row in found.itertuples()
    ]
    return "\n\n".join((
        f"Of the overlap that chance leaves open, two seeds share: {'; '.join(read)}." if read else
        "The grid has no two seeds of one backbone.",
        f"At the end of training {last.same_images.mean():.1%} on the same images and {last.other_images.mean():.1%} on"
        f" others, after the first epoch {first.same_images.mean():.1%} and {first.other_images.mean():.1%}"
        f" (by layer and size, mean over {len(last)} data sets).",
        _alone(tables),
    ))  # fmt: skip


def _alone(tables: Tables) -> str:
    rows, kinds = summary(tables).set_index("what"), pd.DataFrame(tables["consensus"]).groupby("what").off.mean()
    row = rows.loc["all agree"]
    clear = bool(row.holm < LEVEL)
    told = "a clear difference" if clear else "not told apart"
    return (
        f"What all trainings agree on, {kinds['all agree']:.2%} of the weights instead of {kinds['one training']:.2%},"
        f" is {row.ahead:+.1f} points from the mask of one training, {told} over {row.sets:.0f} data sets; no mask is"
        f" {rows.loc['no mask'].ahead:+.1f} points from it."
    )


FIGURES: dict[str, Callable[..., Figure]] = {"epochs": epochs, "layers": layers, "consensus": consensus}
