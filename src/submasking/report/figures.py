"""Every plot, in one style: takes a frame of records (`submasking.report.frames`), returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.resources import files
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from submasking.files import atomic
from submasking.records.names import DATASETS
from submasking.report import storage
from submasking.report.verdicts import label_bars

STYLE = str(files("submasking.report") / "submasking.mplstyle")
# a method has one colour in every figure
COLOURS = {
    "ZS": "#999999", "LP": "#56B4E9", "FS": "#D55E00", "FFT": "#0072B2",
    "SSM": "#E69F00", "SSM+LP": "#E69F00", "SSFT": "#009E73", "SSFT+LP": "#009E73",
}  # fmt: skip
BARS = ("LP", "FS", "FFT", "SSM+LP", "SSFT+LP")
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


def _themed(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    @wraps(draw)
    def drawn(*arguments: object, dark: bool = False, **options: object) -> Figure:
        with theme("dark" if dark else "light"):
            return draw(*arguments, **options)

    return drawn


def save(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of the path's ending, the same bytes for the same figure; returns the path."""
    metadata = {"Date": None} if path.suffix == ".svg" else {"CreationDate": None} if path.suffix == ".pdf" else {}
    kind = path.suffix.removeprefix(".")
    with matplotlib.rc_context({"svg.hashsalt": "submasking", "svg.fonttype": "path"}), atomic.replacing(path) as part:
        figure.savefig(part, format=kind, metadata=metadata, transparent=kind != "png")
    return path


@_themed
def methods(frame: pd.DataFrame) -> Figure:
    """Top-1 accuracy of LP, FS and FFT on each data set: the mean as a bar, a dot per seed."""
    shown = [method for method in ("LP", "FS", "FFT") if method in set(frame.method)]
    part = frame[frame.method.isin(shown)] if shown else frame.assign(top1=frame.knn)
    shown = shown or sorted(set(frame.method))
    datasets = [name for name in DATASETS if name in set(part.dataset)] or sorted(set(part.dataset))
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    axes = figure.subplots()
    _bars(axes, part, datasets, shown)
    axes.set_ylabel("top-1 accuracy")
    figure.legend(loc="outside upper right", ncols=len(shown))
    return figure


@_themed
def label_sparsity(frame: pd.DataFrame, percent: float) -> Figure:
    """Figures 1 and 2: five ways to use `percent` % of the labels, a panel per data set, a dot per seed."""
    bars = label_bars(frame, percent)
    datasets = [name for name in DATASETS if name in set(bars.dataset)]
    if not datasets:
        raise ValueError(f"frame must hold runs with {percent:g} % of the labels; it has none")
    figure = Figure(figsize=(2.6 * len(datasets) + 0.4, 3.0), layout="constrained")
    panels = figure.subplots(1, len(datasets), sharey=False, squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=True):
        part = bars[bars.dataset == dataset]
        options = {"data": part, "x": "method", "y": "top1", "order": BARS, "hue": "method", "legend": False}
        sns.barplot(**options, palette=COLOURS, errorbar=None, ax=axes, width=0.72, saturation=1)
        sns.stripplot(**options, palette=dict.fromkeys(BARS, _ink()), size=3, jitter=0.12, ax=axes)
        axes.set(title=dataset, xlabel="", ylabel="", ylim=(0, min(1.0, 1.25 * part.top1.max())))
        axes.set_xticks(range(len(BARS)), [name.replace("+", "\n+") for name in BARS])
    panels[0].set_ylabel(f"top-1, {percent:g} % of the labels")
    return figure


@_themed
def masking(seed: int = 0, side: int = 8) -> Figure:
    """The idea as a picture: frozen weights, a mask, and the weights that remain; the numbers are made up."""
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=(side, side))
    mask = generator.random((side, side)) > 0.3
    figure = Figure(figsize=(7.2, 2.4), layout="constrained")
    panels = figure.subplots(1, 3)
    shown = (weights, np.where(mask, 1.0, np.nan), np.where(mask, weights, np.nan))
    titles = ("frozen weights", "mask of a task", "what the task sees")
    for axes, values, title in zip(panels, shown, titles, strict=True):
        plain = title.startswith("mask")
        axes.imshow(values, cmap="Greys" if plain else "PuOr", vmin=0 if plain else -2.5, vmax=2 if plain else 2.5)
        axes.set_title(title, loc="center")
        axes.set(xticks=np.arange(-0.5, side), yticks=np.arange(-0.5, side), xticklabels=[], yticklabels=[])
        axes.grid(True, axis="both")
    for place, sign in ((1, "⊙"), (2, "=")):
        panels[place].text(-0.14, 0.5, sign, transform=panels[place].transAxes, ha="center", va="center", fontsize=16)
    return figure


@_themed
def bits_per_weight(frame: pd.DataFrame) -> Figure:
    """Bits per weight of masks by coder, a panel per model and method: the mean as a bar, a dot per data set.

    Args:
        frame: identity of each run beside its `storage.columns`; a coder that the records lack has no bar.
    """
    panels = _masks(frame)
    figure = Figure(figsize=(7.2, 2.6 * -(-len(panels) // 2)), layout="constrained")
    for axes, (title, part) in zip(_grid(figure, len(panels)), panels, strict=True):
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


@_themed
def task_bytes(frame: pd.DataFrame) -> Figure:
    """Thousands of bytes of each part of a task file, a panel per model and method: mean over the seeds.

    Args:
        frame: as for `bits_per_weight`.
    """
    panels = _masks(frame)
    shades = dict(zip(storage.PARTS, (COLOURS["FS"], COLOURS["SSFT"], COLOURS["LP"], COLOURS["ZS"]), strict=True))
    names = {"mask": "coded mask", "buffers": "norm buffers", "head": "head", "rest": "description"}
    figure = Figure(figsize=(7.2, 2.6 * -(-len(panels) // 2)), layout="constrained")
    for axes, (title, part) in zip(_grid(figure, len(panels)), panels, strict=True):
        means = part.groupby("dataset")[[f"kb_{name}" for name in storage.PARTS]].mean()
        shown = means.reindex([name for name in DATASETS if name in means.index] or list(means.index))[::-1]
        left = np.zeros(len(shown))
        for name in storage.PARTS:
            axes.barh(range(len(shown)), shown[f"kb_{name}"], left=left, color=shades[name], label=names[name])
            left += shown[f"kb_{name}"].to_numpy()
        axes.set_yticks(range(len(shown)), list(shown.index))
        axes.set(title=title, xlabel="kB")
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=len(storage.PARTS))
    return figure


def _masks(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Runs that stored a mask, from all labels or from none, by model and method."""
    part = frame[frame.method.isin(storage.RIVALS) & frame.labels.isin([0.0, 100.0]) & frame.bits_coded.notna()]
    if part.empty:
        raise ValueError("frame must hold sizes of masks; it has none: use runs of FS or SSM")
    return [(f"{model}, {method}", rows) for (model, method), rows in part.groupby(["model", "method"], sort=False)]


def _grid(figure: Figure, count: int) -> list[Axes]:
    """That many panels in rows of two; one alone is as wide as the page."""
    columns = min(2, count)
    return [figure.add_subplot(-(-count // columns), columns, number + 1) for number in range(count)]


def _bars(axes: Axes, part: pd.DataFrame, datasets: list[str], shown: list[str]) -> None:
    width = 0.8 / len(shown)
    for number, method in enumerate(shown):
        rows = part[part.method == method].groupby("dataset").top1
        places = [index + (number - (len(shown) - 1) / 2) * width for index in range(len(datasets))]
        means = rows.mean().reindex(datasets)
        axes.bar(places, means, width=0.92 * width, color=COLOURS[method], label=method)
        for place, dataset in zip(places, datasets, strict=True):
            values = rows.get_group(dataset) if dataset in rows.groups else pd.Series(dtype=float)
            if len(values) > 1:
                axes.plot([place] * len(values), values, ".", color=_ink(), markersize=3)
    axes.set_xticks(range(len(datasets)), datasets)
    axes.set_ylim(0, 1)


def _ink() -> str:
    return str(matplotlib.rcParams["text.color"])
