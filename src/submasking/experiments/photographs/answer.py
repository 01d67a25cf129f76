"""Where a folder of photographs stands: each way's accuracy with its interval, and one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from submasking.experiments.photographs.trials import PROBE, WAYS
from submasking.records import predictions
from submasking.report.statistics import Estimate, Sample, difference, estimate

RIVAL = "FFT late"
Found = Sequence[Mapping[str, Any]]
Row = Mapping[Any, float]


def table(found: Found) -> pd.DataFrame:
    """One row for each way, in the order of `WAYS`; accuracies and differences in percent.

    Args:
        found: what `study.run` returned.

    Returns:
        "rate", "accuracy" with "low" and "high", "ahead" of fine-tuning the late stages with "ahead low" and "ahead
        high" (95 % intervals of `submasking.report.statistics`, nan for a single seed), "off" percent of the masked
        weights, "KiB" of the coded mask, "seconds" of a training; nan where a way has none.
    """
    samples = {way: _sample(found, way) for way in WAYS}
    rows = {}
    for way in WAYS:
        runs = [entry for entry in found if entry["way"] == way]
        accuracy, ahead = _percent(estimate(samples[way])), _percent(difference(samples[way], samples[RIVAL]))
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


def sentence(name: str, found: Found) -> str:
    """Where the folder stands: do masks keep up with fine-tuning of the same layers, and is either needed at all."""
    rows = table(found).to_dict("index")
    over = difference(_sample(found, RIVAL), _sample(found, PROBE))
    squared, constant = (_against(rows[way]) for way in ("FS-squared late", "FS late"))
    # by the validation images: the test images choose nothing
    every = max(("FFT all", "FS all", "FS-squared all"), key=lambda way: max(_first(found, way)["chosen"].values()))
    return (
        f"On {name} ({over.images:,} test images, {_times(over.seeds)} each, 95 % intervals) a linear"
        f" probe is right for {_share(rows[PROBE])}, and fine-tuning the late stages for {_share(rows[RIVAL])}, which"
        f" {_needed(_percent(over))}; masks of the same layers are {squared} if their scores start from the squared"
        f" weights, and {constant} from a constant; the best that changes all layers, {every}, is"
        f" {_against(rows[every])}."
    )


def _sample(found: Found, way: str) -> Sample:
    runs = {entry["seed"]: entry for entry in found if entry["way"] == way}
    if not runs:
        raise ValueError(f"a study must have runs of every way, there is none of {way}; run it to its end")
    right = {seed: np.array(predictions.right(run["predictions"], run["labels"])) for seed, run in runs.items()}
    values = {seed: float(outcomes.mean()) for seed, outcomes in right.items()}
    return Sample(values, right, next(iter(runs.values()))["test"], name=way)


def _percent(found: Estimate) -> tuple[float, float, float]:
    return 100 * found.value, 100 * found.low, 100 * found.high


def _first(found: Found, way: str) -> Mapping[str, Any]:
    return next(entry for entry in found if entry["way"] == way)


def _mean(runs: Found, what: str) -> float:
    return float(np.mean([entry.get(what, np.nan) for entry in runs]))


def _share(row: Row) -> str:
    return f"{row['accuracy']:.1f} %{_between(row['low'], row['high'], '.1f')}"


def _against(row: Row) -> str:
    return f"{_place(row['ahead low'], row['ahead high'], 'ahead of', 'behind')} {_gain(_ahead(row))}"


def _needed(over: tuple[float, float, float]) -> str:
    said = _place(over[1], over[2], "gains over", "loses against")
    return f"{said if said[0] in 'gl' else f'is {said}'} {_gain(over)}"


def _place(low: float, high: float, above: str, below: str) -> str:
    if np.isnan(low):  # of a single training
        return "not to be judged against it"
    return f"{above} it" if low > 0 else f"{below} it" if high < 0 else "not told apart from it"


def _ahead(row: Row) -> tuple[float, float, float]:
    return row["ahead"], row["ahead low"], row["ahead high"]


def _gain(over: tuple[float, float, float]) -> str:
    return f"({over[0]:+.1f} points{_between(over[1], over[2], '+.1f')})"


def _between(low: float, high: float, form: str) -> str:
    return ", no interval from one training" if np.isnan(low) else f" [{low:{form}}, {high:{form}}]"


def _times(seeds: int) -> str:
    return "one training" if seeds == 1 else f"{seeds} trainings"
