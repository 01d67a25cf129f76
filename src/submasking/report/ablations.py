"""What of submasking matters, drawn and told from the tables of the analysis `ablations`."""

from __future__ import annotations

import math

import matplotlib
from matplotlib.figure import Figure

from submasking.records.analyses import Row
from submasking.report import figures

Tables = dict[str, list[Row]]


@figures.themed
def variants(tables: Tables) -> Figure:
    """How far each variant lies from the plain method, with 95 % intervals; filled where clear after Holm."""
    return _apart([row for row in tables["variants"] + tables["prototypes"] if row["points"] is not None], "variant")


@figures.themed
def networks(tables: Tables) -> Figure:
    """What masks gain over the linear probe, by initial network, with 95 % intervals."""
    return _apart(tables["networks"], "model")


def answer(tables: Tables) -> str:
    """What the variants say, in sentences."""
    (plain,) = (row for row in tables["variants"] if row["points"] is None)
    better, worse = (_named(tables["variants"], sign) for sign in (1, -1))
    worst, *_, best = sorted(tables["prototypes"], key=lambda row: number(row, "lp"))
    return (
        f"The plain method reaches {100 * number(plain, 'top1'):.1f} % with {100 * number(plain, 'off'):.1f} % of the"
        f" weights off (mean over {plain['n']} pairs of data set and seed). Clearly better than it:"
        f" {better or 'no variant'}. Clearly worse: {worse or 'no variant'}. The others are not told apart from it (t"
        f" test over the pairs at 5 %, Holm over {len(tables['variants']) - 1} variants). Without labels a linear probe"
        f" reaches {100 * number(best, 'lp'):.1f} % with the best number of prototypes ({best['number']:.0f}) and"
        f" {100 * number(worst, 'lp'):.1f} % with the worst ({worst['number']:.0f})."
    )


def number(row: Row, key: str) -> float:
    """A number of a row; NaN where there is none."""
    value = row.get(key)
    return float(value) if value is not None else math.nan


def _named(rows: list[Row], sign: int) -> str:
    return ", ".join(
        f"{row['variant']} ({number(row, 'points'):+.1f} points)"
        for row in rows
        if row["clear"] and number(row, "points") * sign > 0
    )


def _apart(rows: list[Row], label: str) -> Figure:
    """Differences in points, a row each; a row that was not tested is filled."""
    figure = Figure(figsize=(figures.WIDTH, 0.8 + 0.27 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        colour = figures.COLOURS["SSM" if row.get("asks") == "prototypes" else "FS"]
        axes.plot([number(row, "low"), number(row, "high")], [place] * 2, color=colour, linewidth=1.8)
        fill = "full" if row.get("clear", True) else "none"
        axes.plot(number(row, "points"), place, "o", color=colour, fillstyle=fill, markersize=6)
    axes.axvline(0, color=matplotlib.rcParams["text.color"], linewidth=0.9)
    axes.set_yticks(range(len(rows)), [_label(row, label) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    axes.set_xlabel("difference in accuracy, points")
    return figure


def _label(row: Row, label: str) -> str:
    return f"prototypes: {row[label]}" if row.get("asks") == "prototypes" else str(row[label])


FIGURES = {"variants": variants, "networks": networks}
