"""Sentences that answer a notebook's question from its records: what was found, on how many sets, how surely."""

from __future__ import annotations

import pandas as pd

# a difference of two means counts as one where it exceeds this many standard errors
CLEAR = 2.0


def compare(frame: pd.DataFrame, first: str, second: str, metric: str = "top1") -> pd.DataFrame:
    """Per data set: mean difference of `metric` between two methods, and whether it is clear.

    Clear means beyond `CLEAR` standard errors of the difference over the seeds, with at least two seeds
    for one of the two methods; a method run once (LP with all labels has no randomness) adds no error.
    """
    rows = {}
    for dataset, part in frame.groupby("dataset"):
        one, two = (part[part.method == method][metric].dropna() for method in (first, second))
        if one.empty or two.empty:
            continue
        error = sum(values.var(ddof=1) / len(values) for values in (one, two) if len(values) > 1) ** 0.5
        difference = one.mean() - two.mean()
        clear = max(len(one), len(two)) > 1 and abs(difference) > CLEAR * error
        rows[dataset] = {"difference": difference, "clear": clear}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["difference", "clear"])


def sentence(frame: pd.DataFrame, first: str, second: str, metric: str = "top1") -> str:
    """One sentence on `first` against `second`; empty where no data set has both."""
    found = compare(frame, first, second, metric)
    if found.empty:
        return ""
    better, worse = (int((found.clear & (sign * found.difference > 0)).sum()) for sign in (1, -1))
    mean = 100 * found.difference.mean()
    return (
        f"{first} against {second}: {mean:+.1f} points on average over {_count(len(found), 'data set')}; "
        f"clearly better on {better}, clearly worse on {worse}, undecided on {len(found) - better - worse}."
    )


def methods(frame: pd.DataFrame) -> str:
    """What the accuracy runs of one model say: FS against LP and FFT, and the sparsity found."""
    parts = [sentence(frame, *pair) for pair in (("FS", "LP"), ("FS", "FFT"), ("FFT", "LP"))]
    masks = frame[frame.method == "FS"]
    if len(masks):
        low, high = masks.groupby("dataset").sparsity.mean().agg(["min", "max"])
        parts.append(f"The masks switch off between {100 * low:.1f} % and {100 * high:.1f} % of the weights.")
    if not any(parts[:3]):
        parts.append("Only the untouched backbone was measured here: there is nothing to compare.")
    return _join(parts, frame)


def label_sparsity(frame: pd.DataFrame) -> str:
    """What the label-sparsity runs say: each way of adapting against the plain probe, per share of labels."""
    parts = []
    for percent in sorted(frame.labels[frame.labels > 0].unique()):
        bars = label_bars(frame, percent)
        found = [sentence(bars, method, "LP") for method in ("FS", "FFT", "SSM+LP", "SSFT+LP")]
        parts.append(f"**With {percent:g} % of the labels.** " + " ".join(found))
    return "\n\n".join(parts) + "\n\n" + _sample(frame)


def label_bars(frame: pd.DataFrame, percent: float) -> pd.DataFrame:
    """The five bars of Figures 1 and 2 as rows: LP, FS, FFT with `percent` labels, SSM+LP and SSFT+LP."""
    direct = frame[(frame.labels == percent) & frame.method.isin(["LP", "FS", "FFT"])]
    probed = frame[frame.method.isin(["SSM", "SSFT"])].copy()
    probed["method"] += "+LP"
    probed["top1"] = probed[f"lp@{percent:g}"] if len(probed) else []
    return pd.concat([direct, probed])[["dataset", "method", "seed", "top1"]].reset_index(drop=True)


def _join(parts: list[str], frame: pd.DataFrame) -> str:
    return " ".join(part for part in parts if part) + "\n\n" + _sample(frame)


def _sample(frame: pd.DataFrame) -> str:
    seeds, profile = frame.seed.nunique(), frame.profile.iloc[0]
    return (
        f"({_count(len(frame), 'run')} with {_count(seeds, 'seed')} of profile {profile}; clear: beyond "
        f"{CLEAR:g} standard errors over the seeds. Nothing here speaks of the paper's own models and data.)"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
