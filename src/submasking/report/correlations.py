"""What goes along with accuracy under submasking, drawn and said, from the tables of the analysis of that name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from submasking.records.analyses import Row
from submasking.records.names import DATASETS
from submasking.report.figures import COLOURS, SMALL, WIDTH, themed, two_a_row

Tables = Mapping[str, Sequence[Row]]
WORDS = {
    "off FS": "weights off",
    "off FS-squared": "weights off (squared)",
    "classes": "classes",
    "images": "images per class",
    "distance": "distance",
    "ZS": "zero-shot kNN",
    "LP": "probe",
}
MARKS = dict(zip(DATASETS, "osD^v<>P", strict=True))


@themed
def gains(tables: Tables) -> Figure:
    """Gain over the untouched network's neighbours by the share of weights off: a panel a network, a mark a set."""
    frame = pd.DataFrame(tables["sets"])
    models = list(dict.fromkeys(frame.model))
    figure, panels = two_a_row(models, 1.8, head=1.5)
    for axes, model in zip(panels, models, strict=False):
        rows = frame[frame.model == model].set_index("dataset")
        for dataset, row in rows.iterrows():
            axes.plot(100 * row["off FS"], 100 * (row["FS"] - row["ZS"]), MARKS[str(dataset)], color=COLOURS["FS"])
    figure.supxlabel("% of the weights off, constant start", fontsize=9.5)
    figure.supylabel("points gained over zero-shot kNN", fontsize=9.5)
    shown = [name for name in DATASETS if name in set(frame.dataset)]
    marks = [panels[0].plot([], [], MARKS[name], color=COLOURS["FS"])[0] for name in shown]
    figure.legend(marks, shown, loc="outside upper center", ncols=3)
    return figure


@themed
def questions(tables: Tables) -> Figure:
    """Every rank correlation with its 95 % interval, filled where clear; dots for the networks, a line for chance."""
    rows = pd.DataFrame(tables["correlations"]).dropna(subset=["value"]).to_dict("records")
    figure = Figure(figsize=(WIDTH, 0.9 + 0.37 * len(rows)), layout="constrained")
    axes = figure.subplots()
    each = pd.DataFrame(tables["networks"])
    for place, row in enumerate(rows):
        part = each[(each.measure == row["measure"]) & (each.outcome == row["outcome"])].value.dropna()
        axes.plot(part, [place + 0.22] * len(part), ".", color=COLOURS["ZS"], markersize=3)
        axes.plot([row["low"], row["high"]], [place, place], color=COLOURS["FS"], linewidth=1.6)
        fill = "full" if row["clear"] else "none"
        axes.plot(row["value"], place, "o", color=COLOURS["FS"], fillstyle=fill, markersize=5)
        axes.plot([row["chance"]] * 2, [place - 0.35, place + 0.35], color=COLOURS["FFT"], linewidth=1.6)
    names = [f"{WORDS[str(row['measure'])]}:\n{row['outcome']}" for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis="y", labelsize=SMALL)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(-1.03, 1.03)
    axes.axvline(0, color=COLOURS["ZS"], linewidth=0.8)
    axes.set_xlabel("rank correlation over the data sets")
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    return figure


FIGURES = {"gains": gains, "questions": questions}


def sentence(tables: Tables) -> str:
    """Which correlations are clear, how many would be by chance, and what sparsity says about the gain."""
    rows, family = tables["correlations"], tables["family"][0]
    clear = [row for row in rows if row["clear"]]
    asked = [row for row in rows if row["measure"] in ("off FS", "off FS-squared") and row["value"] is not None]
    gain, found = ([_said(row) for row in part] for part in (asked, clear))
    return "\n\n".join(
        [
            f"**Sparsity and gain.** {'; '.join(gain) or 'Nothing could be correlated'}.",
            f"**Clear after correction**: {'; '.join(found) or 'none'}.",
            f"Rank correlations over {rows[0]['sets']} data sets, mean of {rows[0]['networks']} networks, 95 %"
            f" intervals by drawing data sets; {family['questions']} questions in one family (Holm), of which"
            f" {family['below']} have p below 5 % before correction; chance alone gives {family['expected']:.2g}.",
        ]
    )


def _said(row: Row) -> str:
    value, low, high = (float(row[name] or 0) for name in ("value", "low", "high"))
    number = f"{value:+.2f} [{low:+.2f}, {high:+.2f}]".replace("-", "−")
    return f"{WORDS[str(row['measure'])]} with {row['outcome']} {number}"
