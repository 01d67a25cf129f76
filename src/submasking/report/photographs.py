"""Where a folder of photographs stands: each way's accuracy with its interval, a sentence, and studies compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from submasking.records import predictions
from submasking.records.photographs import POWERS, PROBE, RIVAL, WAYS, runs
from submasking.report.statistics import LEVEL, Estimate, Sample, difference, estimate, holm, joined

Study = Mapping[str, Any]
Row = Mapping[Any, float]
EVERY = ("FFT all", "FS all", "FS-squared all")
# the ways that every study has, among which a table marks the best
JUDGED = (PROBE, RIVAL, "FS late", "FS-squared late", *EVERY)
# what is compared; the differences of one family, over all studies, are judged together
FAMILIES = {
    "late": (
        ("FS-squared late", RIVAL), ("FS late", RIVAL), ("FS-squared late", "FS late"), ("FS-power1 late", "FS late"),
        ("FS-squared late", PROBE), ("FS late", PROBE), (RIVAL, PROBE), (RIVAL, "norms late"),
    ),
    "all": (
        ("FS-squared all", "FFT all"), ("FS all", "FFT all"), ("FS-squared all", "FS all"), ("FFT all", RIVAL),
        ("FS-squared all", "FS-squared late"),
    ),
    "powers": (("FS-power3 late", "FS-squared late"), ("FS-power1.5 late", "FS-squared late"),
               ("FS-squared late", "FS-power1 late"), ("FS-power0.5 late", "FS late")),
    "held": (
        ("FS-squared-held late", RIVAL), ("FS-squared-held late", "FFT-held late"), ("FFT-held late", RIVAL),
        ("FS-squared-held late", "FS-squared late"), ("FS-held late", "FS late"), ("FS-squared-held late", PROBE),
        ("FS-squared-held late", "FS-held late"),
    ),
    "rivals": (
        ("FS-squared late", "LoRA late"), ("FS late", "LoRA late"), ("LoRA late", RIVAL), ("LoRA late", PROBE),
        ("FS-squared late", "biases late"), ("FS-squared late", "norm weights late"), ("biases late", PROBE),
        ("norm weights late", PROBE), ("FS-squared-held late", "LoRA late"),
    ),
    "choices": (
        ("FS-pointwise late", "FS late"), ("FS-squared-pointwise late", "FS-squared late"),
        ("FS-rescaled late", "FS late"), ("FS-squared-rescaled late", "FS-squared late"),
        ("top-50% late", "FS late"), ("FS-squared-top-90% late", "FS-squared late"),
        ("FS-squared-top-70% late", "FS-squared late"),
    ),
}  # fmt: skip


def ways(study: Study, share: float = 100.0) -> list[str]:
    """The ways that a study tried with a share of the labels, in the order of `WAYS`."""
    return [way for way in WAYS if runs(study["found"], way, share)]


def table(study: Study, share: float = 100.0) -> pd.DataFrame:
    """One row for each way, in the order of `WAYS`; accuracies and differences in percent.

    Args:
        study: record of a study, see `submasking.records.photographs`.
        share: percent of the labels.

    Returns:
        "rate", "accuracy" with "low" and "high", "ahead" of fine-tuning the late stages with "ahead low" and "ahead
        high" (95 % intervals of `submasking.report.statistics`, nan for a single seed), "off" percent of the masked
        weights, "KiB" of the coded mask, "bits" of it a masked weight, "task" KiB of the whole file, "seconds" of a
        training; nan where a way has none.
    """
    samples = {way: sample(study, way, share) for way in ways(study, share)}
    rows = {}
    for way, of in samples.items():
        found = runs(study["found"], way, share)
        accuracy, ahead = percent(estimate(of)), percent(difference(of, samples[RIVAL]))
        size = _mean(found, "bytes")
        rows[way] = {
            "rate": found[0]["rate"],
            **dict(zip(("accuracy", "low", "high"), accuracy, strict=True)),
            **dict(zip(("ahead", "ahead low", "ahead high"), ahead, strict=True)),
            "off": 100 * _mean(found, "sparsity"),
            "KiB": size / 1024,
            "bits": 8 * size / _mean(found, "masked"),
            "task": _mean(found, "whole") / 1024,
            "seconds": _mean(found, "seconds"),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("way")


def tried(study: Study, share: float = 100.0) -> pd.DataFrame:
    """Percent of the validation images that are right, by way (rows) and rate (columns); nan where it was not tried."""
    rows = {way: {rate: 100 * right for rate, right in chosen(study, way, share).items()} for way in ways(study, share)}
    return pd.DataFrame.from_dict(rows, orient="index").sort_index(axis=1).rename_axis("way")


def chosen(study: Study, way: str, share: float = 100.0) -> dict[float, float]:
    """Share of the validation images that are right, by the rate that was tried."""
    return dict(runs(study["found"], way, share)[0]["chosen"])


def ended(study: Study, way: str, share: float = 100.0) -> bool:
    """Whether the rate that was chosen is the lowest or the highest of those tried, so that a better one may follow."""
    tried = chosen(study, way, share)
    return bool(tried) and runs(study["found"], way, share)[0]["rate"] in (min(tried), max(tried))


def distance(studies: Sequence[Study]) -> pd.DataFrame:
    """How far each folder is from what a network knows, beside the start of the scores that does best on it.

    Returns:
        By network and folder: "moved" standard deviations by which running means follow the folder, mean over the
        channels; "probe" percent that the linear probe is right for; "gain" points of fine-tuning the late stages over
        it; "best" power of the start with the highest test accuracy, and "ahead" of the power 2, "low" and "high"; nan
        for a study without other powers. For studies with the control "norms late".
    """
    rows = {}
    for study in studies:
        if "norms late" not in ways(study):
            continue
        found = table(study)
        moved = np.mean([run["why"]["norms"]["mean"] for run in runs(study["found"], "norms late")])
        row = {"moved": moved, "probe": found.accuracy[PROBE], "gain": round(-found.ahead[PROBE], 6) + 0.0}
        tried = {power: way for power, way in POWERS.items() if way in found.index}
        if len(tried) == len(POWERS):
            top = max(tried, key=lambda power: found.accuracy[tried[power]])
            over = percent(difference(sample(study, tried[top]), sample(study, tried[2.0])))
            row |= {"best": top} | dict(zip(("ahead", "low", "high"), over, strict=True))
        rows[study["model"], study["name"]] = row
    columns = ["moved", "probe", "gain", "best", "ahead", "low", "high"]
    return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns)


def sentence(study: Study) -> str:
    """Where the folder stands: do masks keep up with fine-tuning of the same layers, and is either needed at all.

    Raises:
        ValueError: the study lacks the probe, fine-tuning of the late stages, or masks of them from either start.
    """
    over = difference(sample(study, RIVAL), sample(study, PROBE))
    rows = table(study).to_dict("index")
    if missing := {"FS late", "FS-squared late"} - set(rows):
        raise ValueError(f"a study must have runs of every way, there is none of {min(missing)}; run it to its end")
    squared, constant = (against(rows[way]) for way in ("FS-squared late", "FS late"))
    said = (
        f"On {study['name']} ({over.images:,} test images, {_times(over.seeds)} each, 95 % intervals) a linear"
        f" probe is right for {_share(rows[PROBE])}, and fine-tuning the late stages for {_share(rows[RIVAL])}, which"
        f" {_needed(percent(over))}; masks of the same layers are {squared} if their scores start from the squared"
        f" weights, and {constant} from a constant"
    )
    judged = [RIVAL, "FS-squared late", "FS late"]
    if set(EVERY) <= set(rows):
        # by the validation images: the test images choose nothing
        every = max(EVERY, key=lambda way: max(chosen(study, way).values()))
        said += f"; the best that changes all layers, {every}, is {against(rows[every])}"
        judged.append(every)
    ends = [way for way in judged if ended(study, way)]
    more = (
        f" For {', '.join(ends)} the best rate was the lowest or the highest that was tried: with more tries there may"
        " be a better one, and another order."
    )
    return f"{said}.{more if ends else ''}"


def compare(studies: Sequence[Study], family: str, share: float = 100.0) -> pd.DataFrame:
    """How far ways lie apart in each study: one row for each pair of a family and study that has both.

    A difference is clear where its p, adjusted by Holm for all rows, is below 5 %.

    Returns:
        "model", "name", "first", "second", "value" first minus second, the rest as in `statistics.Estimate`, "holm",
        "clear".
    """
    rows = []
    for first, second in FAMILIES[family]:
        for study in studies:
            if {first, second} <= set(ways(study, share)):
                found = difference(sample(study, first, share), sample(study, second, share))
                told = {"model": study["model"], "name": study["name"], "first": first, "second": second}
                rows.append(told | asdict(found))
    fields = ["model", "name", "first", "second", *Estimate.__dataclass_fields__]
    made = pd.DataFrame(rows, columns=fields)
    made["holm"] = holm(list(made.p))
    made["clear"] = made.holm < LEVEL
    return made


def together(studies: Sequence[Study], first: str, second: str, share: float = 100.0) -> Estimate:
    """The difference of two ways over the test images of several studies of one network, as if they were one set.

    Raises:
        ValueError: there is no study, one lacks a way, or they are of several networks.
    """
    if len({study["model"] for study in studies}) != 1:
        raise ValueError("studies must be of one network, at least one; others share its test images: ask one by one")
    one, other = (joined([sample(study, way, share) for study in studies]) for way in (first, second))
    return difference(one, other)


def sample(study: Study, way: str, share: float = 100.0) -> Sample:
    """What the trainings of a way were right for, as `submasking.report.statistics` takes it.

    Raises:
        ValueError: there is none.
    """
    found = {entry["seed"]: entry for entry in runs(study["found"], way, share)}
    if not found:
        raise ValueError(f"a study must have runs of every way, there is none of {way}; run it to its end")
    labels = study["judged"]["labels"]
    right = {seed: np.array(predictions.right(run["predictions"], labels)) for seed, run in found.items()}
    values = {seed: float(outcomes.mean()) for seed, outcomes in right.items()}
    return Sample(values, right, study["judged"]["test"], name=way)


def percent(found: Estimate) -> tuple[float, float, float]:
    """Value and ends of the interval, in percent."""
    return 100 * found.value, 100 * found.low, 100 * found.high


def against(row: Row) -> str:
    """How a row of `table` stands to fine-tuning of the late stages, in words."""
    ahead = row["ahead"], row["ahead low"], row["ahead high"]
    return f"{_place(row['ahead low'], row['ahead high'], 'ahead of', 'behind')} {_gain(ahead)}"


def _mean(found: list[dict[str, Any]], what: str) -> float:
    return float(np.mean([entry.get(what, np.nan) for entry in found]))


def _share(row: Row) -> str:
    return f"{row['accuracy']:.1f} %{_between(row['low'], row['high'], '.1f')}"


def _needed(over: tuple[float, float, float]) -> str:
    said = _place(over[1], over[2], "gains over", "loses against")
    return f"{said if said[0] in 'gl' else f'is {said}'} {_gain(over)}"


def _place(low: float, high: float, above: str, below: str) -> str:
    if np.isnan(low):  # of a single training
        return "not to be judged against it"
    return f"{above} it" if low > 0 else f"{below} it" if high < 0 else "not told apart from it"


def _gain(over: tuple[float, float, float]) -> str:
    return f"({over[0]:+.1f} points{_between(over[1], over[2], '+.1f')})"


def _between(low: float, high: float, form: str) -> str:
    return ", no interval from one training" if np.isnan(low) else f" [{low:{form}}, {high:{form}}]"


def _times(seeds: int) -> str:
    return "one training" if seeds == 1 else f"{seeds} trainings"
