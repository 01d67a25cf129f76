"""The landing page's figure: masks and a probe against fine-tuning, in the embedded world and on photographs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from submasking.records.photographs import PROBE, RIVAL
from submasking.report import claims, photographs
from submasking.report.figures import COLOURS, SMALL, WIDTH, themed
from submasking.report.photo_figures import LOOKS, SHORT
from submasking.report.photographs import Study
from submasking.report.statistics import Estimate

GRID = {"LP": LOOKS[PROBE], "FS": LOOKS["FS late"], "FS-squared": LOOKS["FS-squared late"]}
LATE = {PROBE: LOOKS[PROBE], "FS late": LOOKS["FS late"], "FS-squared late": LOOKS["FS-squared late"]}
ALL = {PROBE: LOOKS[PROBE], "FS all": LOOKS["FS all"], "FS-squared all": LOOKS["FS-squared all"]}
EDGE = -20.0  # points; what lies beyond is an arrow with its number
Rows = dict[str, dict[str, Estimate]]


@themed
def answer(frame: pd.DataFrame, studies: Sequence[Study]) -> Figure:
    """Points ahead of fine-tuning with 95 % intervals, over the test images of all data sets of a network together.

    Args:
        frame: of the grid's records.
        studies: of photographs.

    Raises:
        ValueError: neither has anything to show.
    """
    parts = {
        "characters and pieces of pictures, all layers": _grid(frame),
        "photographs, late layers": _photographs(studies, LATE, RIVAL),
        "photographs, all layers": _photographs(studies, ALL, "FFT all"),
    }
    shown = {title: rows for title, rows in parts.items() if rows}
    if not shown:
        raise ValueError("there must be runs of fine-tuning to compare with, there are none; run the grid")
    counts = [len(rows) for rows in shown.values()]
    figure = Figure(figsize=(WIDTH, 1.3 + 0.46 * sum(counts) + 0.3 * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), sharex=True, squeeze=False, height_ratios=[count + 0.3 for count in counts])
    every = [found for rows in shown.values() for row in rows.values() for found in row.values()]
    right = max(2.0, *(photographs.percent(found)[2] for found in every)) + 1
    for axes, (title, rows) in zip(panels[:, 0], shown.items(), strict=True):
        _panel(axes, rows, right)
        axes.set_title(title, fontsize=SMALL, loc="left")
    panels[-1, 0].set_xlabel("points ahead of fine-tuning the same layers")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _grid(frame: pd.DataFrame) -> Rows:
    rows: Rows = {}
    for model in claims.ADAPTED if len(frame) else ():
        found = {way: claims.grid_difference(frame, model, way, "FFT") for way in GRID}
        if there := {way: estimate for way, estimate in found.items() if estimate is not None}:
            rows[f"{model}\n(stand-in)"] = there
    return rows


def _photographs(studies: Sequence[Study], ways: dict[str, tuple[str, str, str]], rival: str) -> Rows:
    return {
        SHORT.get(network, network): {way: photographs.together(there, way, rival) for way in ways}
        for network, there in claims.having(studies, (*ways, rival)).items()
    }


def _panel(axes: Axes, rows: Rows, right: float) -> None:
    axes.axvline(0, color=COLOURS["FFT"], linewidth=1.2)
    ways = list(dict.fromkeys(way for found in rows.values() for way in found))
    for number, way in enumerate(ways):
        label, colour, mark = (GRID | LATE | ALL)[way]
        for place, found in enumerate(rows.values()):
            if way not in found:
                continue
            height = place + 0.24 * (number - (len(ways) - 1) / 2)
            value, low, high = photographs.percent(found[way])
            named = label if place == 0 else None
            if value < EDGE:
                axes.plot(EDGE + 0.5, height, "<", color=colour, markersize=5)
                axes.annotate(f"{value:.0f}".replace("-", "−"), (EDGE + 1.2, height), fontsize=SMALL, va="center")
                axes.errorbar([], [], xerr=[], fmt=mark, color=colour, markersize=4, capsize=2, label=named)
            else:
                axes.errorbar(value, height, xerr=[[value - low], [high - value]], fmt=mark, color=colour,
                              markersize=4, capsize=2, elinewidth=1, label=named)  # fmt: skip
    axes.set_yticks(range(len(rows)), list(rows))
    axes.tick_params(axis="y", labelsize=SMALL)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(EDGE, right)
