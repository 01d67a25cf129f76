"""Where a folder of photographs stands: each way's accuracy with its interval, and one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from submasking.experiments.photographs.trials import PROBE, WAYS
from submasking.records import predictions

LEVEL, DRAWS = 0.95, 2000
RIVAL = "FFT late"
Found = Sequence[Mapping[str, Any]]
Row = Mapping[Any, float]
Right = NDArray[np.float64]  # by test image, the share of the seeds that were right


def table(found: Found) -> pd.DataFrame:
    """One row for each way, in the order of `WAYS`; accuracies and differences in percent.

    Args:
        found: what `study.run` returned.

    Returns:
        "rate", "accuracy" with "low" and "high", "ahead" of fine-tuning the late stages with "ahead low" and "ahead
        high" (intervals of `LEVEL` over test images, the seeds' mean), "off" percent of the masked weights, "KiB" of
        the coded mask, "seconds" of a training; nan where a way has none.
    """
    right = {way: _right(found, way) for way in WAYS}
    rows = {}
    for way in WAYS:
        runs = [entry for entry in found if entry["way"] == way]
        accuracy, ahead = interval(right[way]), interval(right[way] - right[RIVAL])
        rows[way] = {
            "rate": runs[0]["rate"],
            **dict(zip(("accuracy", "low", "high"), accuracy, strict=True)),
            **dict(zip(("ahead", "ahead low", "ahead high"), ahead, strict=True)),
            "off": 100 * _mean(runs, "sparsity"),
            "KiB": _mean(runs, "bytes") / 1024,
            "seconds": _mean(runs, "seconds"),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("way")


def tried(found: Found) -> pd.DataFrame:
    """Percent of the validation images that are right, by way (rows) and rate (columns); nan where it was not tried."""
    rows = {way: {rate: 100 * share for rate, share in _first(found, way)["chosen"].items()} for way in WAYS}
    return pd.DataFrame.from_dict(rows, orient="index").sort_index(axis=1).rename_axis("way")


def interval(values: Right, seed: int = 0) -> tuple[float, float, float]:
    """Mean of values of test images with the ends of its bootstrap interval, in percent."""
    random, count = np.random.default_rng(seed), len(values)
    means = [values[random.integers(0, count, count)].mean() for _ in range(DRAWS)]
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return 100 * float(values.mean()), 100 * float(low), 100 * float(high)


def sentence(name: str, found: Found) -> str:
    """Where the folder stands: do masks keep up with fine-tuning of the same layers, and is either needed at all."""
    rows = table(found).to_dict("index")
    seeds, count = len({entry["seed"] for entry in found}), len(_right(found, PROBE))
    over = interval(_right(found, RIVAL) - _right(found, PROBE))
    squared, constant = (_against(rows[way]) for way in ("FS-squared late", "FS late"))
    # by the validation images: the test images choose nothing
    every = max(("FFT all", "FS all", "FS-squared all"), key=lambda way: max(_first(found, way)["chosen"].values()))
    return (
        f"On {name} ({count:,} test images, {_times(seeds)} each, {100 * LEVEL:.0f} % intervals over images) a linear"
        f" probe is right for {_share(rows[PROBE])}, and fine-tuning the late stages for {_share(rows[RIVAL])}, which"
        f" {_needed(over)}; masks of the same layers are {squared} if their scores start from the squared weights, and"
        f" {constant} from a constant; the best that changes all layers, {every}, is {_against(rows[every])}."
    )


def _right(found: Found, way: str) -> Right:
    runs = [entry for entry in found if entry["way"] == way]
    if not runs:
        raise ValueError(f"a study must have runs of every way, there is none of {way}; run it to its end")
    return np.mean([predictions.right(entry["predictions"], entry["labels"]) for entry in runs], axis=0)


def _first(found: Found, way: str) -> Mapping[str, Any]:
    return next(entry for entry in found if entry["way"] == way)


def _mean(runs: Found, what: str) -> float:
    return float(np.mean([entry.get(what, np.nan) for entry in runs]))


def _share(row: Row) -> str:
    return f"{row['accuracy']:.1f} % [{row['low']:.1f}, {row['high']:.1f}]"


def _against(row: Row) -> str:
    ahead, low, high = row["ahead"], row["ahead low"], row["ahead high"]
    place = "ahead of it" if low > 0 else "behind it" if high < 0 else "not told apart from it"
    return f"{place} ({ahead:+.1f} points [{low:+.1f}, {high:+.1f}])"


def _needed(over: tuple[float, float, float]) -> str:
    gain = f"({over[0]:+.1f} points [{over[1]:+.1f}, {over[2]:+.1f}])"
    if over[1] > 0:
        return f"gains over it {gain}"
    return (
        f"loses against it {gain}"
        if over[2] < 0
        else f"is not told apart from it {gain}: nothing much is to be gained here"
    )


def _times(seeds: int) -> str:
    return "one training" if seeds == 1 else f"{seeds} trainings"
