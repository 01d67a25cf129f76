"""What a cascade of masks gains, drawn and told from the tables of the analysis `cascade`."""

from __future__ import annotations

from matplotlib.figure import Figure

from submasking.records.analyses import Row
from submasking.report import figures
from submasking.report.ablations import number

Tables = dict[str, list[Row]]
JUDGES = {"knn": ("nearest neighbours", "FS"), "lp": ("linear probe", "FFT")}  # label, and whose colour


@figures.themed
def ways(tables: Tables) -> Figure:
    """Accuracy of each way by both judges: a large dot is the mean, small ones are data sets."""
    names = [str(row["way"]) for row in tables["ways"]]
    figure = Figure(figsize=(figures.WIDTH, 0.9 + 0.36 * len(names)), layout="constrained")
    axes = figure.subplots()
    for shift, (metric, (label, colour)) in zip((-0.15, 0.15), JUDGES.items(), strict=True):
        means = [number(row, metric) for row in tables["ways"]]
        places = [place + shift for place in range(len(names))]
        axes.plot(means, places, "o", color=figures.COLOURS[colour], markersize=6, label=label)
        for row in tables["by_set"]:
            place = names.index(str(row["way"])) + shift
            axes.plot(number(row, metric), place, ".", color=figures.COLOURS[colour], markersize=4)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    axes.set_xlabel("top-1 accuracy")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def answer(tables: Tables) -> str:
    """What the comparisons say, in a sentence for each judge."""
    parts = []
    for metric, (label, _) in JUDGES.items():
        found = [row for row in tables["differences"] if row["metric"] == metric]
        said = [
            f"{row['first']} against {row['second']} {number(row, 'points'):+.1f} points"
            f" ({'clear' if row['clear'] else 'not told apart'})"
            for row in found
        ]
        parts.append(f"By {label}: " + "; ".join(said) + ".")
    n = tables["ways"][0]["n"]
    return " ".join([*parts, f"(Means over {n} pairs of data set and seed; paired t tests at 5 %, Holm over the"
                     " comparisons of one judge.)"])  # fmt: skip


FIGURES = {"ways": ways}
