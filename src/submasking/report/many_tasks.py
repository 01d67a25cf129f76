"""Many tasks in one bank: figures and the answer, from the tables of the analysis `many_tasks`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from submasking.report.figures import COLOURS, WIDTH, themed

Tables = Mapping[str, Sequence[Mapping[str, Any]]]
EVERY = "all"
LOOKS = {
    "entropy": ("entropy of the answers", COLOURS["FS"], "o"),
    "feature means": ("feature means", COLOURS["FFT"], "D"),
    "norm statistics": ("norm statistics", COLOURS["SSFT"], "^"),
}


@themed
def guesses(tables: Tables) -> Figure:
    """Share of unlabelled batches that are given their task, by the number of images in them."""
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    axes = figure.subplots()
    for way, (label, colour, mark) in LOOKS.items():
        rows = [row for row in tables["guesses"] if (row["way"], row["dataset"]) == (way, EVERY)]
        for row in rows:
            if row["low"] is not None:
                axes.plot([row["images"]] * 2, [max(row["low"], 0), min(row["high"], 1)], color=colour, linewidth=1)
        if rows:
            axes.plot([row["images"] for row in rows], [row["share"] for row in rows], marker=mark, markersize=5,
                      color=colour, label=label)  # fmt: skip
    axes.axhline(tables["guesses"][0]["chance"], color="#999999", linestyle="--", linewidth=1.2, label="chance")
    sizes = sorted({row["images"] for row in tables["guesses"]})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set(xlabel="images in the batch", ylabel="batches given their task", ylim=(0, 1.04))
    figure.legend(loc="outside upper left", ncols=2)
    return figure


@themed
def sets(tables: Tables) -> Figure:
    """The same for each data set, with the largest batches that the table has of every set."""
    size = largest(tables)
    rows = [row for row in tables["guesses"] if row["images"] == size and row["dataset"] != EVERY]
    names = list(dict.fromkeys(row["dataset"] for row in rows))
    figure = Figure(figsize=(WIDTH, 0.9 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots()
    for number, (way, (label, colour, mark)) in enumerate(LOOKS.items()):
        there = [row for row in rows if row["way"] == way]
        places = [names.index(row["dataset"]) + 0.22 * (number - 1) for row in there]
        axes.plot([row["share"] for row in there], places, mark, color=colour, markersize=5, label=label)
    axes.axvline(tables["guesses"][0]["chance"], color="#999999", linestyle="--", linewidth=1.2, label="chance")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set(xlabel=f"batches of {size} images given their task", xlim=(-0.03, 1.03))
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


@themed
def combined(tables: Tables) -> Figure:
    """Accuracy with other masks than the own one, mean over the tasks, with 95 % intervals over the seeds."""
    rows = list(tables["combined"])
    figure = Figure(figsize=(WIDTH, 0.6 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        if row["low"] is not None:
            axes.plot([max(row["low"], 0), min(row["high"], 1)], [place, place], color=COLOURS["FS"], linewidth=2)
        axes.plot(row["share"], place, "o", color=COLOURS["FS"], markersize=6)
    names = [row["masks"] + (f" of {row['tasks']}" if row["tasks"] > 1 else "") for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set(xlabel="top-1 accuracy, mean over the tasks", xlim=(0, 1))
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")
    return figure


def largest(tables: Tables) -> int:
    """The largest batch of which every data set has one."""
    names = {row["dataset"] for row in tables["guesses"]}
    sizes = {row["images"] for row in tables["guesses"]}
    return max(
        size for size in sizes if {row["dataset"] for row in tables["guesses"] if row["images"] == size} == names
    )


def answer(tables: Tables) -> str:
    """What came out, in words."""
    size = largest(tables)
    found = {(row["way"], row["images"]): row for row in tables["guesses"] if row["dataset"] == EVERY}
    shares = ", ".join(
        f"{LOOKS[way][0]} {row['share']:.0%} of batches of {images} images"
        for (way, images), row in found.items()
        if images in (1, size)
    )
    rows = {(row["masks"], row["tasks"]): row["share"] for row in tables["combined"]}
    told = ", ".join(f"{how}{f' of {count}' if count > 1 else ''} {share:.3f}" for (how, count), share in rows.items())
    differing = sum(
        row["tensors_differing"] + row["mixed_differing"] + row["backbone_differing"] for row in tables["alone"]
    )
    tensors = sum(row["tensors"] for row in tables["alone"])
    return (
        f"**Which task?** Given their task were by {shares}; chance is {tables['guesses'][0]['chance']:.1%}.\n\n"
        f"**Do tasks disturb each other?** Of {tensors:,} tensors, of the answers in a mixed batch and of the backbone"
        f" given back, {differing} differ from those of a network with one task alone.\n\n"
        f"**Do masks add up?** Accuracy, mean over the tasks: {told}.\n\n({len(tables['alone'])} seed(s).)"
    )


FIGURES = {"guesses": guesses, "sets": sets, "combined": combined}
