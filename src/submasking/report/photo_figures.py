"""Figures of the studies of photographs; each takes the studies that are to be seen in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from submasking.records.photographs import FEW, POWERS, PROBE, RIVAL, RIVALS, UNLABELLED, WAYS, runs
from submasking.report.figures import COLOURS, SMALL, WIDTH, themed
from submasking.report.photographs import Study, percent, sample, table, ways
from submasking.report.statistics import difference

SHORT = {
    "mobilenetv2_035": "MobileNetV2 0.35", "mobilenetv2_100": "MobileNetV2", "efficientnet-lite0": "EfficientNet-Lite0",
}  # fmt: skip
LOOKS = {
    PROBE: ("linear probe", COLOURS["LP"], "s"),
    RIVAL: ("fine-tuning", COLOURS["FFT"], "D"),
    "FFT all": ("fine-tuning", COLOURS["FFT"], "D"),
    "FS late": ("masks, constant start", COLOURS["FS"], "o"),
    "FS all": ("masks, constant start", COLOURS["FS"], "o"),
    "FS-squared late": ("masks, squared start", "#009E73", "^"),
    "FS-squared all": ("masks, squared start", "#009E73", "^"),
    "FS-squared-held late": ("squared, statistics held", "#CC79A7", "v"),
    "SSM late": ("no labels, constant start", COLOURS["SSM"], "v"),
    "SSM-squared late": ("no labels, squared start", "#CC79A7", "<"),
    "SSFT late": ("no labels, fine-tuning", "#999999", "P"),
}
DEPTHWISE = "conv_dw"  # what timm calls such a layer
SETS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


def _title(study: Study, between: str = ", ") -> str:
    return f"{study['name']}{between}{SHORT.get(study['model'], study['model'])}"


@themed
def ahead(studies: Sequence[Study], rival: str, shown: Sequence[str]) -> Figure:
    """How far ways are ahead of a rival, in points with 95 % intervals: a row for each network and folder."""
    rows = [study for study in studies if rival in ways(study) and set(shown) & set(ways(study))]
    figure = Figure(figsize=(WIDTH, 1.1 + 0.5 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=LOOKS[rival][1], linewidth=1.2)
    for number, way in enumerate(shown):
        label, colour, mark = LOOKS[way]
        shift = 0.66 / len(shown) * (number - (len(shown) - 1) / 2)
        there = [(place, study) for place, study in enumerate(rows) if way in ways(study)]
        gains = [percent(difference(sample(study, way), sample(study, rival))) for _, study in there]
        if gains:
            value, low, high = np.array(gains).T
            axes.errorbar(value, [place + shift for place, _ in there], xerr=[value - low, high - value], fmt=mark,
                          color=colour, markersize=4, capsize=2, elinewidth=1, label=label)  # fmt: skip
    axes.set_yticks(range(len(rows)), [_title(study, "\n") for study in rows])
    axes.tick_params(axis="y", labelsize=SMALL)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("points ahead of fine-tuning the same layers")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@themed
def powers(studies: Sequence[Study]) -> Figure:
    """Test accuracy, against that of fine-tuning the same layers, and bits of a masked weight by the start's power."""
    rows = [study for study in studies if len(set(POWERS.values()) & set(ways(study))) > 2]
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True)
    upper.axhline(0, color=COLOURS["FFT"], linewidth=1.2)
    for colour, study in zip(SETS, rows, strict=False):
        found = table(study).to_dict("index")
        there = [power for power, way in POWERS.items() if way in found]
        gains = [found[POWERS[power]] for power in there]
        value = np.array([gain["ahead"] for gain in gains])
        low, high = (np.array([gain[f"ahead {end}"] for gain in gains]) for end in ("low", "high"))
        upper.errorbar(there, value, yerr=[value - low, high - value], marker="o", markersize=4, capsize=2,
                       color=colour, linewidth=1.2, elinewidth=0.8, label=study["name"])  # fmt: skip
        lower.plot(there, [gain["bits"] for gain in gains], marker="o", markersize=4, color=colour, linewidth=1.2)
    upper.set_ylabel("points ahead of\nfine-tuning the same layers")
    lower.set_ylabel("bits a masked weight")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("power of the weight's size that a score starts from")
    lower.set_xticks(list(POWERS))
    figure.legend(loc="outside upper center", ncols=4)
    return figure


@themed
def rates(studies: Sequence[Study]) -> Figure:
    """Validation accuracy of fine-tuning and of masks from the square at the same learning rates."""
    rows = [study for study in studies if study["curves"]]
    figure = Figure(figsize=(WIDTH, 1.0 + 1.55 * ((len(rows) + 1) // 2)), layout="constrained")
    panels = np.atleast_1d(figure.subplots((len(rows) + 1) // 2, 2, sharex=True)).ravel()
    for axes, study in zip(panels, rows, strict=False):
        for way in (RIVAL, "FS-squared late"):
            label, colour, mark = LOOKS[way]
            pairs = [(rate, 100 * right) for rate, right in study["curves"][way] if right >= 0]
            axes.plot(*zip(*pairs, strict=True), marker=mark, markersize=4, color=colour, linewidth=1.2,
                      label=label if axes is panels[0] else None)  # fmt: skip
        axes.set_title(_title(study), fontsize=SMALL)
        axes.set_xscale("log")
    for axes in panels[len(rows) :]:
        axes.set_visible(False)
    figure.supxlabel("learning rate of both", fontsize=SMALL)
    figure.supylabel("% of validation images", fontsize=SMALL)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@themed
def gone(study: Study) -> Figure:
    """Which weights go: by layer in the order of the network, depth-wise ones hollow, and by size within a layer."""
    shown = [way for way in ("FS late", "FS-squared late", RIVAL) if way in ways(study)]
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    upper, lower = figure.subplots(2)
    for way in shown:
        label, colour, mark = LOOKS[way]
        told = runs(study["found"], way)[0]["why"]
        shares = np.array([100 * off / total for off, total in told["layers"].values()])
        places, depthwise = np.arange(1, len(shares) + 1), np.array([DEPTHWISE in name for name in told["layers"]])
        upper.plot(places[~depthwise], shares[~depthwise], marker=mark, markersize=3.5, linewidth=1, color=colour,
                   label="signs that fine-tuning turns" if way == RIVAL else label)  # fmt: skip
        upper.plot(places[depthwise], shares[depthwise], mark, markersize=3.5, color=colour, markerfacecolor="none")
        lower.plot(np.arange(1, len(told["sizes"]) + 1), 100 * np.array(told["sizes"]), marker=mark, markersize=4,
                   linewidth=1.2, color=colour)  # fmt: skip
    upper.set_xlabel("layer, of those that learn (hollow: depth-wise)")
    lower.set_xlabel("tenth of a layer's weights, from the smallest to the largest")
    for axes in (upper, lower):
        axes.set_ylabel("% that go")
        axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@themed
def sizes(studies: Sequence[Study]) -> Figure:
    """Test accuracy against bytes of a coded mask, for every way to mask the late stages."""
    figure = Figure(figsize=(WIDTH, 1.0 + 2.6 * len(studies)), layout="constrained")
    panels = list(zip(np.atleast_1d(figure.subplots(len(studies))), studies, strict=True))
    for axes, study in panels:
        _accuracy_by_bytes(axes, study)
    figure.draw_without_rendering()  # or nobody knows where a point lies, and which names would lie over others
    for axes, study in panels:
        _names(axes, _small(study))
    figure.supylabel("% of test images", fontsize=SMALL)
    figure.supxlabel("bits for each weight that a mask decides on", fontsize=SMALL)
    return figure


def _small(study: Study) -> pd.DataFrame:
    """Rows of `table` of what changes the late stages by few bytes."""
    found = table(study)
    return found[found.bits.notna() & found.index.str.endswith("late") & ~found.index.isin(UNLABELLED)]


def _names(axes: Axes, rows: pd.DataFrame) -> None:
    """Name the points, each name where it lies over no other name and no other point, as far as there is room."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    points = axes.transData.transform(rows[["bits", "accuracy"]].to_numpy()) * 72 / figure.dpi
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in points]
    for way, (x, y), point in zip(rows.index, points, rows[["bits", "accuracy"]].to_numpy(), strict=True):
        name = str(way).removesuffix(" late").removeprefix("FS-")
        wide = 0.58 * SMALL * len(name)
        places = [(dx, dy) for dy in (3, -10, 13, -20, 23, -30) for dx in (5, -5 - wide)]
        boxes = [(x + dx, y + dy, x + dx + wide, y + dy + SMALL) for dx, dy in places]
        free = [
            place for place, box in zip(places, boxes, strict=True) if not any(_over(box, other) for other in taken)
        ]
        dx, dy = (free or places)[0]
        taken.append((x + dx, y + dy, x + dx + wide, y + dy + SMALL))
        axes.annotate(name, tuple(point), xytext=(dx, dy), textcoords="offset points", fontsize=SMALL)


def _over(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two boxes (left, bottom, right, top) share an area."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _accuracy_by_bytes(axes: Axes, study: Study) -> None:
    found, small = table(study), _small(study)
    rivals = small.index.isin([way for way in WAYS if WAYS[way].method in RIVALS])
    for part, mark, colour in ((small[~rivals], "o", LOOKS["FS-squared late"][1]), (small[rivals], "v", "#CC79A7")):
        axes.errorbar(part.bits, part.accuracy, yerr=[part.accuracy - part.low, part.high - part.accuracy], fmt=mark,
                      markersize=4, capsize=2, elinewidth=0.8, color=colour)  # fmt: skip
    for way in (PROBE, RIVAL):
        label, colour, _ = LOOKS[way]
        axes.axhline(found.accuracy[way], color=colour, linewidth=1, linestyle="--")
        axes.annotate(label, (0.01, found.accuracy[way]), xycoords=("axes fraction", "data"), ha="left", va="bottom",
                      fontsize=SMALL, color=colour)  # fmt: skip
    axes.set_title(_title(study), fontsize=SMALL)
    axes.set_xscale("log")
    axes.set_xlim(0.6 * small.bits.min(), 3 * small.bits.max())
    axes.xaxis.set_major_formatter("{x:g}")


@themed
def labels(studies: Sequence[Study]) -> Figure:
    """Points ahead of a probe that sees the same labels, with 95 % intervals, by the share of the labels."""
    rows = [study for study in studies if len({entry["share"] for entry in study["found"]}) > 1]
    figure = Figure(figsize=(WIDTH, 1.2 + 2.6 * len(rows)), layout="constrained")
    for axes, study in zip(np.atleast_1d(figure.subplots(len(rows), sharex=True)), rows, strict=True):
        shares = sorted({entry["share"] for entry in study["found"]})
        axes.axhline(0, color=LOOKS[PROBE][1], linewidth=1.2)
        shown = [way for way in (*FEW[1:], *UNLABELLED) if all(runs(study["found"], way, share) for share in shares)]
        for number, way in enumerate(shown):
            label, colour, mark = LOOKS[way]
            pairs = [(sample(study, way, share), sample(study, PROBE, share)) for share in shares]
            value, low, high = np.array([percent(difference(*pair)) for pair in pairs]).T
            # intervals side by side
            places = np.array(shares) * 1.03 ** (number - (len(shown) - 1) / 2)
            axes.errorbar(places, value, yerr=[value - low, high - value], color=colour, marker=mark, markersize=4,
                          capsize=2, linewidth=1.2, elinewidth=0.8,
                          label=label if study is rows[0] else None)  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(shares, [f"{share:g}" for share in shares])
        axes.minorticks_off()
        axes.set_title(_title(study), fontsize=SMALL)
    figure.supxlabel("% of the labels", fontsize=SMALL)
    figure.supylabel("points ahead of the probe", fontsize=SMALL)
    figure.legend(loc="outside upper center", ncols=2)
    return figure
