"""What the invariance experiment says: its figure and its answer in words, both read from the record."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from submasking.experiments.invariance.experiment import REFERENCE, Variant
from submasking.records.results import Record
from submasking.report.figures import WIDTH, theme

COLOURS = {"float32": "#0072B2", "bfloat16": "#D55E00", "float64": "#009E73"}
MARKERS = {"scaled by 2": "v", "scaled by 3": "s", "shifted by 0.5": "^", "both": "o", "shifted by 1000": "D"}
CONTROL = "#999999"
ALONE = ("learning rate only", "threshold only", "initial score only")
CONTROLS = {"learning rate only": ":", "threshold only": "--", "initial score only": "-.", "another seed": "-"}
SMOOTH = 13  # steps of the running mean of the loss


def ordered(record: Record) -> list[str]:
    """Keys of all runs of the record in their order; the file has them by the alphabet."""
    return [Variant(**given).key for given in record.recipe["variants"]]


def shown(record: Record) -> list[Variant]:
    """Return the runs of the record, without the references."""
    found = [Variant(**given) for given in record.recipe["variants"]]
    return [variant for variant in found if variant.name not in (REFERENCE, "repeated")]


def steps(record: Record) -> pd.DataFrame:
    """A row for each run and number of steps done: the share of mask bits that differ from the reference, and the loss.

    The loss is that of the next batch, so there is none after the last step.
    """
    runs = {run: pd.DataFrame({name: pd.Series(values) for name, values in series.items()})
            for run, series in record.series.items()}  # fmt: skip
    return pd.concat(runs, names=["run", "step"]).reset_index()


def curves(record: Record, *, dark: bool = False) -> Figure:
    """Draw the share of mask bits that differ from the reference, and the loss, over the steps of training."""
    with theme("dark" if dark else "light"):
        figure = Figure(figsize=(WIDTH, 6.6), layout="constrained")
        upper, lower = figure.subplots(2, 1)
        _differing(upper, record)
        _losses(lower, record)
        figure.legend(*upper.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def _differing(axes: Axes, record: Record) -> None:
    """Lines of the runs whose masks differ at all: a line at zero on a logarithmic axis tells nothing."""
    for variant in shown(record):
        share = np.array(record.series[variant.key]["differing"])
        if share.any():
            colour = COLOURS[variant.dtype] if variant.equivalent else CONTROL
            style = "-" if variant.equivalent else CONTROLS[variant.name]
            label = f"{variant.name}, {variant.dtype}" if variant.equivalent else variant.name
            first = int((share > 0).argmax())  # marked, since a bit that differs in one step only draws no line
            (line,) = axes.plot(np.where(share > 0, share, np.nan), style, color=colour, label=label, markersize=4)
            line.set_marker(MARKERS.get(variant.name, ""))
            line.set_markevery((first, 16))
    axes.set_yscale("log")
    axes.set_ylim(0.5 / record.backbone["masked"], 1)
    axes.set_xlabel("step")
    axes.set_ylabel("share of differing mask bits")


def _losses(axes: Axes, record: Record) -> None:
    drawn = {f"float32 {REFERENCE}": "-", "float32 both": "--"} | {f"float32 {name}": CONTROLS[name] for name in ALONE}
    for key, style in drawn.items():
        loss = np.convolve(record.series[key]["loss"], np.full(SMOOTH, 1 / SMOOTH), mode="valid")
        axes.plot(np.arange(len(loss)) + SMOOTH // 2, loss, style, label=key.removeprefix("float32 "))
    axes.set_xlabel("step")
    axes.set_ylabel(f"loss (running mean of {SMOOTH} steps)")
    axes.legend()


def answer(record: Record) -> str:
    """Return the answer to the notebook's question in a paragraph."""
    parts = [_format(record, dtype) for dtype in COLOURS]
    ends = [record.metrics[f"float32 {name}/differing"] for name in ALONE]
    lr_loss, mu_loss = (record.series[f"float32 {name}"]["loss"] for name in ALONE[:2])
    equal = sum(one == two for one, two in zip(lr_loss, mu_loss, strict=True))
    parts.append(
        f"Changing only one of the three numbers, which no theorem covers, ends with {100 * min(ends):.2g} % to"
        f" {100 * max(ends):.2g} % differing bits; but doubling the learning rate and halving the distance to the"
        f" threshold are equivalent to each other, and have the same loss in {equal} of {len(lr_loss)} steps."
    )
    return " ".join([*parts, _accuracy(record)])


def _format(record: Record, dtype: str) -> str:
    """What happened to the equivalent settings in one number format."""
    variants = [v for v in shown(record) if v.dtype == dtype and v.equivalent]
    steps = len(record.series[f"{dtype} {REFERENCE}"]["differing"])
    phrases = []
    for variant in variants:
        same, end, first = (
            record.metrics[f"{variant.key}/{name}"] for name in ("identical_steps", "differing", "first_bits")
        )
        if same == steps:
            phrases.append(f"{variant.name}: every mask of all {steps} equal")
        else:
            bits = f"{first:.0f} {'bit' if round(first) == 1 else 'bits'}"
            phrases.append(
                f"{variant.name}: first different at step {same:.0f}, in {bits}, {100 * end:.2g} % at the end"
            )
    return f"In {dtype}, {'; '.join(phrases)}."


def _accuracy(record: Record) -> str:
    """How far the accuracies of equivalent settings lie apart, beside two yardsticks: a seed, and chance."""
    equal, seed, error = (100 * value for value in accuracy_gaps(record).values())
    return (
        f"Top-1 accuracy of equivalent settings differs by at most {equal:.1f} points; another seed changes it by"
        f" {seed:.1f} points, and the standard error of such a difference is {error:.1f} points"
        f" on {record.data['test']} test images. One seed, profile {record.profile}."
    )


def accuracy_gaps(record: Record) -> dict[str, float]:
    """Return differences of top-1 from the reference of the same number format, as shares in [0, 1].

    Returns:
        "equivalent": the largest of the equivalent settings; "seed": that of another seed; "error": the standard error
        of the difference of two such accuracies, as if each were measured on test images of its own.
    """
    equal, seed = 0.0, 0.0
    for variant in shown(record):
        change = abs(record.metrics[f"{variant.key}/top1"] - record.metrics[f"{variant.dtype} {REFERENCE}/top1"])
        equal = max(equal, change) if variant.equivalent else equal
        seed = change if variant.name == "another seed" else seed
    accuracy = record.metrics[f"float32 {REFERENCE}/top1"]
    return {"equivalent": equal, "seed": seed, "error": (2 * accuracy * (1 - accuracy) / record.data["test"]) ** 0.5}
