"""Every plot, in one style: takes a frame of records (`submasking.report.frames`), returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from submasking.files import atomic
from submasking.records.names import DATASETS
from submasking.report import storage, verdicts

STYLE = str(files("submasking.report") / "submasking.mplstyle")
# a method has one colour in every figure
COLOURS = {
    "ZS": "#999999", "LP": "#56B4E9", "FS": "#D55E00", "FFT": "#0072B2",
    "SSM": "#E69F00", "SSM+LP": "#E69F00", "SSFT": "#009E73", "SSFT+LP": "#009E73",
}  # fmt: skip
BARS = ("LP", "FS", "FFT", "SSM+LP", "SSFT+LP")
# the rows of `differences` have other colours than the methods in them
PAIRS = ("#0072B2", "#D55E00", "#999999", "#009E73", "#E69F00")
# inches, and points: on a phone, 358 pixels wide, the smallest letters are nine pixels high
WIDTH = 4.6
SMALL = 8.5
LEGEND = 30  # letters of methods that fit on one line of a legend
# letters are outlines in an SVG, since a reader may lack the font; in a PDF they stay letters (journals refuse type 3)
FILES: Any = {"svg.hashsalt": "submasking", "svg.fonttype": "path", "pdf.fonttype": 42}
INK = {"light": "#222222", "dark": "#dddddd"}


@contextmanager
def theme(name: str = "light") -> Iterator[None]:
    """The project's style for a light or a dark page; ValueError for another name."""
    if name not in INK:
        raise ValueError(f"theme must be one of {', '.join(INK)}; got {name!r}")
    ink = INK[name]
    colours = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), ink)
    with style.context([STYLE, colours | {"grid.color": ink}]):
        yield


def themed(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """A function that draws, in the project's style; it takes `dark` besides."""

    @wraps(draw)
    def drawn(*arguments: object, dark: bool = False, **options: object) -> Figure:
        with theme("dark" if dark else "light"):
            return draw(*arguments, **options)

    return drawn


def save(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of the path's ending, the same bytes for the same figure; returns the path."""
    metadata = {"Date": None} if path.suffix == ".svg" else {"CreationDate": None} if path.suffix == ".pdf" else {}
    kind = path.suffix.removeprefix(".")
    with matplotlib.rc_context(FILES), atomic.replacing(path) as part:
        figure.savefig(part, format=kind, metadata=metadata, transparent=kind != "png")
    return path


@themed
def methods(frame: pd.DataFrame) -> Figure:
    """Top-1 accuracy of LP, FS and FFT on each data set: the mean with its 95 % interval, a small dot per seed."""
    shown = [method for method in ("LP", "FS", "FFT") if method in set(frame.method)]
    part = frame[frame.method.isin(shown)] if shown else frame.assign(top1=frame.knn)
    if not shown and "right" in part:
        part["right"] = pd.Series([{}] * len(part), index=part.index, dtype=object)
    shown = shown or sorted(set(frame.method))
    datasets = _datasets(part)
    figure = Figure(figsize=(WIDTH, 0.75 + 0.46 * len(datasets)), layout="constrained")
    axes = figure.subplots()
    found = verdicts.intervals(part)
    for number, method in enumerate(shown):
        shift = 0.26 * (number - (len(shown) - 1) / 2)
        for place, dataset in enumerate(datasets):
            _dot(axes, found, part, dataset, method, place + shift)
        axes.plot([], [], "o", color=COLOURS.get(method, _ink()), label=method)
    _rows(axes, datasets)
    axes.set_xlabel("top-1 accuracy" if set(shown) != {"ZS"} else "nearest-neighbour accuracy")
    figure.legend(loc="outside upper right", ncols=len(shown))
    return figure


@themed
def label_sparsity(frame: pd.DataFrame, percent: float) -> Figure:
    """Figures 1 and 2: ways to use `percent` % of the labels, a panel per data set: means, 95 % intervals, seeds."""
    bars = verdicts.label_bars(frame, percent)
    datasets = _datasets(bars[bars.method.isin(BARS)])
    if not datasets:
        raise ValueError(f"frame must hold runs with {percent:g} % of the labels; it has none; run them")
    figure = Figure(figsize=(WIDTH, 0.35 + 1.55 * len(datasets)), layout="constrained")
    panels = figure.subplots(len(datasets), 1, squeeze=False)[:, 0]
    found = verdicts.intervals(bars)
    for axes, dataset in zip(panels, datasets, strict=True):
        for place, method in enumerate(BARS):
            _dot(axes, found, bars, dataset, method, place)
        _rows(axes, list(BARS))
        axes.set_title(dataset)
    panels[-1].set_xlabel(f"top-1 accuracy, {percent:g} % of the labels")
    return figure


@themed
def differences(frame: pd.DataFrame, family: str = "methods", percent: float = 100.0) -> Figure:
    """How far methods lie apart on each data set, with 95 % intervals; filled where clear after Holm's correction.

    Args:
        frame: runs of one model.
        family: name in `submasking.report.verdicts.FAMILIES`.
        percent: share of the labels.

    Raises:
        ValueError: no two methods of the family are in the frame.
    """
    found = verdicts.compare(verdicts.members(frame, family, percent), verdicts.FAMILIES[family])
    if found.empty:
        raise ValueError(
            f"frame must hold two methods that {family} compares; it has {sorted(set(frame.method))}; run more"
        )
    pairs = list(found.groupby(["first", "second"], sort=False))
    datasets = _datasets(found)
    figure = Figure(figsize=(WIDTH, 0.8 + 0.16 * len(datasets) * (len(pairs) + 0.6)), layout="constrained")
    axes = figure.subplots()
    step = 0.78 / len(pairs)
    for number, ((first, second), rows) in enumerate(pairs):
        colour = PAIRS[number % len(PAIRS)]
        axes.plot([], [], "o", color=colour, label=f"{first} − {second}")
        for row in rows.to_dict("records"):
            place = datasets.index(row["dataset"]) + step * (number - (len(pairs) - 1) / 2)
            ends = [max(100 * row["low"], -100), min(100 * row["high"], 100)]
            axes.plot(ends, [place, place], color=colour, linewidth=1.6)
            fill = "full" if row["clear"] else "none"
            axes.plot(100 * row["value"], place, "o", color=colour, fillstyle=fill, markersize=6)
    axes.axvline(0, color=_ink(), linewidth=0.9)
    _rows(axes, datasets)
    axes.set_xlabel("difference in accuracy, points")
    letters = sum(len(name) for row in verdicts.FAMILIES[family] for name in row)
    columns = len(pairs) if letters <= LEGEND else 2  # one line where it fits
    figure.legend(loc="outside upper left", ncols=columns, columnspacing=1, handletextpad=0.2)
    return figure


@themed
def masking(seed: int = 0, side: int = 8) -> Figure:
    """The idea as a picture: frozen weights, a mask, and the weights that remain; the numbers are made up."""
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=(side, side))
    mask = generator.random((side, side)) > 0.3
    figure = Figure(figsize=(WIDTH, 1.75), layout="constrained")
    panels = figure.subplots(1, 3)
    shown = (weights, np.where(mask, 1.0, np.nan), np.where(mask, weights, np.nan))
    titles = ("frozen weights", "mask of a task", "what remains")
    for axes, values, title in zip(panels, shown, titles, strict=True):
        plain = title.startswith("mask")
        axes.imshow(values, cmap="Greys" if plain else "PuOr", vmin=0 if plain else -2.5, vmax=2 if plain else 2.5)
        axes.set_title(title, loc="center")
        axes.set(xticks=np.arange(-0.5, side), yticks=np.arange(-0.5, side), xticklabels=[], yticklabels=[])
        axes.grid(True, axis="both")
    for place, sign in ((1, "⊙"), (2, "=")):
        panels[place].text(-0.14, 0.5, sign, transform=panels[place].transAxes, ha="center", va="center", fontsize=16)
    return figure


@themed
def bits_per_weight(frame: pd.DataFrame) -> Figure:
    """Bits per weight of masks by coder, a panel per model and method: the mean as a bar, a dot per data set.

    Args:
        frame: identity of each run beside its `storage.columns`; a coder that the records lack has no bar.
    """
    panels = _masks(frame)
    figure, stack = _stack(len(panels))
    for axes, (title, part) in zip(stack, panels, strict=True):
        means = part.groupby("dataset")[[f"bits_{name}" for name in storage.CODERS]].mean()
        colours = [COLOURS["FS"] if name == "coded" else COLOURS["ZS"] for name in storage.CODERS]
        axes.bar(range(len(storage.CODERS)), means.mean(), color=colours, width=0.7)
        for place, name in enumerate(means):
            axes.plot([place] * len(means), means[name], ".", color=_ink(), markersize=3)
        for name, label, dashes in (("entropy", "entropy", "-"), ("tensor", "entropy per tensor", "--")):
            axes.axhline(part[f"bits_{name}"].mean(), linestyle=dashes, color=COLOURS["FFT"], label=label)
        axes.set_xticks(range(len(storage.CODERS)), [name.replace("coded", "ours") for name in storage.CODERS])
        axes.set(title=title, ylabel="bits per weight")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


@themed
def task_bytes(frame: pd.DataFrame) -> Figure:
    """Thousands of bytes of each part of a task file, a panel per model and method: mean over the seeds.

    Args:
        frame: as for `bits_per_weight`.
    """
    panels = _masks(frame)
    shades = dict(zip(storage.PARTS, (COLOURS["FS"], COLOURS["SSFT"], COLOURS["LP"], COLOURS["ZS"]), strict=True))
    names = {"mask": "coded mask", "buffers": "norm buffers", "head": "head", "rest": "description"}
    figure, stack = _stack(len(panels))
    for axes, (title, part) in zip(stack, panels, strict=True):
        means = part.groupby("dataset")[[f"kb_{name}" for name in storage.PARTS]].mean()
        shown = means.reindex([name for name in DATASETS if name in means.index] or list(means.index))[::-1]
        left = np.zeros(len(shown))
        for name in storage.PARTS:
            axes.barh(range(len(shown)), shown[f"kb_{name}"], left=left, color=shades[name], label=names[name])
            left += shown[f"kb_{name}"].to_numpy()
        axes.set_yticks(range(len(shown)), list(shown.index))
        axes.set_title(title)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
    stack[-1].set_xlabel("kB")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def _masks(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Runs that stored a mask, from all labels or from none, by model and method."""
    part = frame[frame.method.isin(storage.RIVALS) & frame.labels.isin([0.0, 100.0]) & frame.bits_coded.notna()]
    if part.empty:
        raise ValueError("frame must hold sizes of masks; it has none: use runs of FS or SSM")
    return [(f"{model}, {method}", rows) for (model, method), rows in part.groupby(["model", "method"], sort=False)]


def _stack(count: int) -> tuple[Figure, list[Axes]]:
    """A figure of that many panels, one below the other; lower ones where they would not fit on a printed page."""
    figure = Figure(figsize=(WIDTH, 0.4 + (2.1 if count <= 4 else 1.6) * count), layout="constrained")
    return figure, list(figure.subplots(count, 1, squeeze=False)[:, 0])


def two_a_row(names: Sequence[str], height: float, head: float = 1.0) -> tuple[Figure, np.ndarray]:
    """A figure of a titled panel for each name, which share their vertical axis.

    Args:
        names: titles.
        height: inches of a row.
        head: inches above and below all of them, for a legend and labels.
    """
    rows = -(-len(names) // 2)
    figure = Figure(figsize=(WIDTH, head + height * rows), layout="constrained")
    panels = figure.subplots(rows, min(2, len(names)), sharey=True, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        axes.set_title(name)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    return figure, panels


def _datasets(rows: pd.DataFrame) -> list[str]:
    """Names of the data sets in the rows: the paper's in its order, or others by name."""
    return [name for name in DATASETS if name in set(rows.dataset)] or sorted(set(rows.dataset))


def _dot(axes: Axes, found: pd.DataFrame, runs: pd.DataFrame, dataset: str, method: str, place: float) -> None:
    """A mean with its interval in a row, and its seeds as small dots; nothing where there is no run."""
    colour = COLOURS.get(method, _ink())
    for row in found[(found.dataset == dataset) & (found.method == method)].to_dict("records"):
        axes.plot([max(row["low"], 0), min(row["high"], 1)], [place, place], color=colour, linewidth=2)
        axes.plot(row["value"], place, "o", color=colour, markersize=6)
    seeds = runs[(runs.dataset == dataset) & (runs.method == method)].top1.dropna()
    if len(seeds) > 1:
        axes.plot(seeds, [place] * len(seeds), ".", color=_ink(), markersize=2.5)


def _rows(axes: Axes, names: list[str]) -> None:
    """Names down the left side, the first on top, lines for reading off values."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")


def _ink() -> str:
    return str(matplotlib.rcParams["text.color"])
