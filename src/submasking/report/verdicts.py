"""Sentences that answer a notebook's question from its records: what was found, on how many sets, how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

import pandas as pd

from submasking.records.profiles import PROFILES
from submasking.report import statistics
from submasking.report.statistics import Estimate, Sample

Pairs = tuple[tuple[str, str], ...]
# What is printed together is tested together: the comparisons of one model in a figure and the sentences beside it.
FAMILIES: dict[str, Pairs] = {
    "methods": (("FS", "LP"), ("FS", "FFT"), ("FFT", "LP")),
    "controls": (("FS", "FS-none"), ("FS", "FS-random"), ("FS", "FS-frozen")),
    "starts": (("FS-squared", "FS"), ("FS-magnitude", "FS"), ("FS-squared", "FFT")),
    "labels": (("SSM+LP", "LP"), ("SSFT+LP", "LP"), ("FS", "LP"), ("FFT", "LP"), ("SSM+LP", "SSM-none+LP")),
}
COLUMNS = ["dataset", "first", "second", *Estimate.__dataclass_fields__, "holm", "clear"]


def sample(rows: pd.DataFrame, metric: str = "top1") -> Sample:
    """The runs of one method on one data set.

    Args:
        rows: of a frame of records; columns that say how images were answered may be missing.
        metric: what is compared.

    Raises:
        ValueError: two runs have the same seed, or were judged on different test images.
    """
    rows = rows.dropna(subset=[metric])
    name = f"{rows.method.iloc[0]} on {rows.dataset.iloc[0]}" if len(rows) else "nothing"
    if rows.seed.duplicated().any():
        raise ValueError(
            f"runs of {name} must differ in their seed, {len(rows)} have {rows.seed.nunique()}: split them"
        )
    values = dict(zip(rows.seed, rows[metric], strict=True))
    right, test = {}, ""
    if "right" in rows and all(isinstance(known, dict) and metric in known for known in rows.right):
        if rows.test.nunique() > 1:
            raise ValueError(f"runs of {name} must be judged on the same test images to be averaged; run them again")
        right = {seed: known[metric] for seed, known in zip(rows.seed, rows.right, strict=True)}
        test = "".join(rows.test.unique())
    fixed = len(rows) == 1 and "fixed" in rows and bool(rows.fixed.iloc[0])
    return Sample(values, right, test, fixed, name)


def compare(frame: pd.DataFrame, pairs: Sequence[tuple[str, str]], metric: str = "top1") -> pd.DataFrame:
    """How far methods lie apart on each data set: one row for each pair and data set that has both.

    The rows are one family: a difference is clear where its p, adjusted by Holm for all rows, is below 5 %.

    Args:
        frame: runs of one model with one share of the labels.
        pairs: (first, second) names of methods.
        metric: what is compared.

    Returns:
        Columns as in `COLUMNS`: `value` is first minus second, the rest as in `statistics.Estimate`.

    Raises:
        ValueError: as `sample`, and where two methods were judged on different test images.
    """
    rows = []
    for first, second in pairs:
        for dataset in frame.dataset.unique():
            both = [sample(_of(frame, dataset, method, metric), metric) for method in (first, second)]
            if not all(one.values for one in both):
                continue
            found = statistics.difference(*both)
            rows.append({"dataset": dataset, "first": first, "second": second} | asdict(found))
    made = pd.DataFrame(rows, columns=COLUMNS)
    made["holm"] = statistics.holm(list(made.p))
    made["clear"] = made.holm < statistics.LEVEL
    return made


def intervals(frame: pd.DataFrame, metric: str = "top1") -> pd.DataFrame:
    """Mean and 95 % interval of each method on each data set: columns dataset, method, and those of an `Estimate`.

    Raises:
        ValueError: as `sample`.
    """
    rows = []
    for (dataset, method), part in frame.dropna(subset=[metric]).groupby(["dataset", "method"], sort=False):
        found = statistics.estimate(sample(part, metric))
        rows.append({"dataset": dataset, "method": method} | asdict(found))
    return pd.DataFrame(rows, columns=["dataset", "method", *Estimate.__dataclass_fields__])


class Score(NamedTuple):
    """Data sets on which one method is clearly better than another, not told apart, clearly worse, and not tested.

    Not tested is a difference of which no spread is known, as of one run each: it is no tie.
    """

    wins: list[str]
    ties: list[str]
    losses: list[str]
    untested: list[str]
    why: str = ""

    @property
    def tested(self) -> int:
        """On how many data sets the two were tested."""
        return len(self.wins + self.ties + self.losses)

    def text(self, shown: str) -> str:
        """What was counted, `shown`, with what it leaves out; that nothing was tested where that is so."""
        if not self.tested:
            return f"not tested: {self.why}"
        return shown + (f" ({len(self.untested)} not tested: {self.why})" if self.untested else "")

    def __str__(self) -> str:
        return self.text(" / ".join(str(len(names)) for names in self[:3]))


def counted(rows: pd.DataFrame, names: Sequence[str]) -> Score:
    """Wins, ties and losses among comparisons.

    Args:
        rows: columns "value", "p", "clear" and "seeds", as `compare` makes them.
        names: of the rows.
    """
    known, won = rows.p.notna(), rows.value > 0
    chosen = (rows.clear & won, known & ~rows.clear, rows.clear & ~won, ~known)
    wins, ties, losses, untested = ([name for name, asked in zip(names, one, strict=True) if asked] for one in chosen)
    return Score(wins, ties, losses, untested, "no spread" if (rows.seeds[~known] > 1).any() else "one run")


def score(found: pd.DataFrame, first: str, second: str) -> Score:
    """What `compare` found of `first` against `second`, in whichever order the pair has there."""
    asked = found[(found["first"] == first) & (found["second"] == second)]
    turned = found[(found["first"] == second) & (found["second"] == first)]
    rows = pd.concat([asked, turned.assign(value=-turned.value)])
    return counted(rows, list(rows.dataset))


def family(frame: pd.DataFrame, first: str, second: str, percent: float = 100.0) -> tuple[pd.DataFrame, Pairs]:
    """The runs and the pairs of the family that a comparison belongs to; a pair of no family is one by itself.

    Args:
        frame: runs of one model.
        first: name of a method, as `label_bars` has them for the family "labels".
        second: name of another.
        percent: share of the labels; with all of them "labels" is asked last.
    """
    for name in FAMILIES if percent == 100 else ("labels",):
        if {(first, second), (second, first)} & set(FAMILIES[name]):
            return members(frame, name, percent), FAMILIES[name]
    name = "labels" if percent < 100 or "+LP" in first + second else "methods"
    return members(frame, name, percent), ((first, second),)


def members(frame: pd.DataFrame, name: str, percent: float = 100.0) -> pd.DataFrame:
    """The runs of one model that a family compares."""
    return label_bars(frame, percent) if name == "labels" else frame[frame.labels == percent]


def sentence(found: pd.DataFrame, first: str, second: str) -> str:
    """One sentence on `first` against `second` from what `compare` found; empty where no data set has both."""
    rows = found[(found["first"] == first) & (found["second"] == second)]
    if rows.empty:
        return ""
    told = score(found, first, second)
    better, tied, worse = map(len, told[:3])
    said = told.text(f"{_count(better, 'win')}, {_count(tied, 'tie')}, {_count(worse, 'loss', 'losses')}")
    gain = f"{100 * rows.value.mean():+.1f} points on average over {_count(len(rows), 'data set')}"
    return f"{first} against {second}: {gain}; {said}."


def methods(frame: pd.DataFrame) -> str:
    """What the accuracy runs of one model say: FS against LP and FFT, and the sparsity found."""
    families = ("methods", "controls", "starts")
    by_family = [compare(members(frame, name), FAMILIES[name]) for name in families]
    parts = [sentence(found, *pair) for name, found in zip(families, by_family, strict=True) for pair in FAMILIES[name]]
    masks = frame[frame.method == "FS"]
    if len(masks):
        low, high = masks.groupby("dataset").sparsity.mean().agg(["min", "max"])
        parts.append(f"The masks switch off between {100 * low:.1f} % and {100 * high:.1f} % of the weights.")
    if not any(len(found) for found in by_family):
        parts.append("Only the untouched backbone was measured here: there is nothing to compare.")
    return " ".join(part for part in parts if part) + "\n\n" + _note(frame, *by_family)


def label_sparsity(frame: pd.DataFrame) -> str:
    """What the label-sparsity runs say: each way of adapting against the plain probe, per share of labels."""
    parts, every = [], []
    for percent in sorted(frame.labels[frame.labels > 0].unique()):
        found = compare(label_bars(frame, percent), FAMILIES["labels"])
        said = [sentence(found, *pair) for pair in FAMILIES["labels"]]
        parts.append(f"**With {percent:g} % of the labels.** " + " ".join(filter(None, said)))
        every.append(found)
    return "\n\n".join([*parts, _note(frame, *every)])


def label_bars(frame: pd.DataFrame, percent: float) -> pd.DataFrame:
    """What Figures 1 and 2 show: methods with `percent` labels, and probes after training without, on their sets."""
    probed, name = frame[frame.labels == 0].copy(), f"lp@{percent:g}"
    direct = frame[(frame.labels == percent) & (frame.dataset.isin(probed.dataset) if len(probed) else True)]
    probed["method"] += "+LP"
    probed["top1"] = probed[name] if len(probed) else []
    if "right" in probed:
        kept = [{"top1": known[name]} if name in known else {} for known in probed.right]
        probed["right"] = pd.Series(kept, index=probed.index, dtype=object)
    wanted = [name for name in ("dataset", "method", "seed", "top1", "test", "right", "fixed") if name in frame]
    return pd.concat([direct, probed])[wanted].dropna(subset=["top1"]).reset_index(drop=True)


def explain(*found: pd.DataFrame) -> str:
    """What clear means for these comparisons, each a family of its own."""
    tested = [one.dropna(subset=["p"]) for one in found]
    sizes = " and ".join(map(str, dict.fromkeys(len(one) for one in tested if len(one))))
    bases = " or ".join(pd.concat(tested).basis.unique())
    return f"t test over {bases} at 5 %, Holm over {sizes} comparisons" if sizes else statistics.NOTHING


def _of(frame: pd.DataFrame, dataset: str, method: str, metric: str) -> pd.DataFrame:
    return frame[(frame.dataset == dataset) & (frame.method == method)].dropna(subset=[metric])


def _note(frame: pd.DataFrame, *found: pd.DataFrame) -> str:
    seeds, profile = frame.seed.nunique(), frame.profile.iloc[0]
    rule = (
        f" A win or a loss is a clear difference: {explain(*found)}."
        if any(one.p.notna().any() for one in found)
        else ""
    )
    other = profile not in PROFILES or PROFILES[profile].protocol is None
    bound = " Nothing here speaks of the paper's own models and data." if other else ""
    return f"({_count(len(frame), 'run')} with {_count(seeds, 'seed')} of profile {profile}.{rule}{bound})"


def _count(number: int, noun: str, several: str = "") -> str:
    return f"{number} {noun if number == 1 else several or noun + 's'}"
