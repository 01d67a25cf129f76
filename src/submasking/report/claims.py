"""The claims of the draft and of the published paper, each judged by the records: holds, does not, cannot be told.

A claim that one method is *ahead* of another holds for a network if the 95 % interval of the difference, over seeds
and the test images of all its data sets together, lies above nought. A claim that it is *as good* holds if the interval
lies above minus `MARGIN`, and does not if it lies below. Over several networks it holds if it does for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from submasking.records.photographs import PROBE, RIVAL, runs
from submasking.report import photographs, statistics, verdicts
from submasking.report.photographs import Study
from submasking.report.statistics import Estimate

HOLDS, NOT, PART, OPEN = "holds", "does not hold", "holds in part", "cannot be told"
MARGIN = 0.01  # by how much a method may lie behind another that it is as good as
ADAPTED = ("rn18-timm", "rn50-swav", "vitb32-clip")
SWAV = "rn50-swav"
NOT_RUN = "not run here"


class Finding(NamedTuple):
    """What the records of one world say of a claim.

    Attributes:
        verdict: one of HOLDS, NOT, PART, OPEN.
        evidence: numbers with their interval and n.
    """

    verdict: str
    evidence: str


@dataclass(frozen=True)
class World:
    """What is asked: the runs of a grid, and the studies of photographs.

    Attributes:
        frame: of the grid's records with `submasking.report.storage.columns`.
        studies: of photographs.
        invariance: metrics of the invariance experiment's record; none where it was not run.
    """

    frame: pd.DataFrame
    studies: Sequence[Study] = ()
    invariance: Any = None


Ask = Callable[[World], Finding]


@dataclass(frozen=True)
class Claim:
    """One statement and what judges it.

    Attributes:
        said: the statement, in our words.
        source: who makes it, and where.
        grid: what the runs of the grid say of it; None where they cannot speak of it.
        photographs: likewise the studies of photographs.
        change: what would change the verdict.
    """

    said: str
    source: str
    grid: Ask | None
    photographs: Ask | None
    change: str


def judged(claim: Claim, world: World) -> tuple[Finding, Finding]:
    """What the grid and the photographs say of a claim."""
    silent = Finding(OPEN, NOT_RUN)
    asked = ((claim.grid, not world.frame.empty), (claim.photographs, bool(world.studies)))
    grid, photos = (silent if ask is None or not there else ask(world) for ask, there in asked)
    return grid, photos


def ahead(found: Estimate) -> str:
    """Whether a method is ahead of another, for one network."""
    return HOLDS if found.low > 0 else NOT if found.high < 0 else OPEN


def as_good(found: Estimate) -> str:
    """Whether it is as good, but for `MARGIN`."""
    return HOLDS if found.low > -MARGIN else NOT if found.high < -MARGIN else OPEN


def over(verdicts_of: Sequence[str]) -> str:
    """The verdict over several networks."""
    kinds = set(verdicts_of)
    if not kinds:
        return OPEN
    return kinds.pop() if len(kinds) == 1 else PART if HOLDS in kinds else OPEN


def points(found: Estimate) -> str:
    """A difference with its interval and n."""
    value, low, high = photographs.percent(found)
    bounds = "" if np.isnan(low) else f" [{low:+.1f}, {high:+.1f}]"
    return f"{value:+.1f}{bounds} points".replace("-", "−") + f" (n = {found.seeds})"


def grid_pair(
    first: str, second: str, rule: Callable[[Estimate], str], *, percent: float = 100.0,
    models: Sequence[str] = ADAPTED, metrics: tuple[str, str] = ("top1", "top1"), datasets: Sequence[str] = (),
) -> Ask:  # fmt: skip
    """One method of the grid against another, network by network, over the test images of all data sets together."""

    def ask(world: World) -> Finding:
        told, parts = [], []
        for model in models:
            found = grid_difference(world.frame, model, first, second, percent, metrics, datasets)
            if found is not None:
                told.append(rule(found))
                parts.append(f"{model}: {points(found)}")
        return Finding(over(told), "; ".join(parts) or NOT_RUN)

    return ask


def grid_difference(
    frame: pd.DataFrame, model: str, first: str, second: str, percent: float = 100.0,
    metrics: tuple[str, str] = ("top1", "top1"), datasets: Sequence[str] = (),
) -> Estimate | None:  # fmt: skip
    """One method of the grid minus another, over the test images of all data sets that have both as if they were one.

    Args:
        frame: see `World`.
        model: whose runs.
        first: a method, or a bar of Figure 1 such as "SSM+LP".
        second: another.
        percent: share of the labels.
        metrics: of each.
        datasets: which; none for all.

    Returns:
        None where no data set has both, or no seed is known for all.
    """
    rows = frame[frame.model == model]
    bars = "+LP" in first + second
    rows = verdicts.label_bars(rows, percent) if bars else rows[rows.labels.isin([0.0, percent])]
    both = []
    for dataset in datasets or rows.dataset.unique():
        part = rows[rows.dataset == dataset]
        pair = [
            verdicts.sample(part[part.method == method].dropna(subset=[metric]), metric)
            for method, metric in zip((first, second), metrics, strict=True)
            if metric in part
        ]
        if len(pair) == 2 and all(one.right for one in pair):
            both.append(pair)
    if not both or not set.intersection(*(set(one.right) for pair in both for one in pair)):
        return None
    return statistics.difference(*(statistics.joined([pair[k] for pair in both]) for k in (0, 1)))


def photo_pair(first: str, second: str, rule: Callable[[Estimate], str], share: float = 100.0) -> Ask:
    """One way of the studies against another, network by network."""

    def ask(world: World) -> Finding:
        told, parts = [], []
        for network, there in having(world.studies, (first, second), share).items():
            found = photographs.together(there, first, second, share)
            told.append(rule(found))
            parts.append(f"{network}, {_sets(len(there))}: {points(found)}")
        return Finding(over(told), "; ".join(parts) or NOT_RUN)

    return ask


def having(studies: Sequence[Study], ways: Sequence[str], share: float = 100.0) -> dict[str, list[Study]]:
    """By network the studies that have all of these ways; networks without any are left out."""
    found: dict[str, list[Study]] = {}
    for study in studies:
        if set(ways) <= set(photographs.ways(study, share)):
            found.setdefault(study["model"], []).append(study)
    return found


def _sets(count: int) -> str:
    return f"{count} set" if count == 1 else f"{count} sets"


def grid_range(column: str, method: str, fits: Callable[[pd.Series], bool], form: Callable[[float], str]) -> Ask:
    """Whether means by data set of some size lie where the claim has them, network by network."""

    def ask(world: World) -> Finding:
        told, parts = [], []
        for model in ADAPTED:
            rows = world.frame[(world.frame.model == model) & (world.frame.method == method)]
            means = rows[rows.labels == 100].dropna(subset=[column]).groupby("dataset")[column].mean()
            if len(means):
                told.append(HOLDS if fits(means) else NOT)
                parts.append(f"{model}: {form(means.min())} to {form(means.max())} ({_sets(len(means))})")
        return Finding(over(told), "; ".join(parts) or NOT_RUN)

    return ask


def photo_range(
    way: str, number: Callable[[Study, str], float], fits: Callable[[float], bool], form: Callable[[float], str]
) -> Ask:
    """Likewise for the studies."""

    def ask(world: World) -> Finding:
        told, parts = [], []
        for network, there in having(world.studies, (way,)).items():
            values = [number(study, way) for study in there]
            told.append(HOLDS if all(map(fits, values)) else NOT)
            parts.append(f"{network}: {form(min(values))} to {form(max(values))} ({_sets(len(values))})")
        return Finding(over(told), "; ".join(parts) or NOT_RUN)

    return ask


def invariant(world: World) -> Finding:
    """Whether equivalent settings gave equal masks."""
    if world.invariance is None:
        return Finding(OPEN, NOT_RUN)
    told = {kind: world.invariance.get(f"{kind} both/differing") for kind in ("float64", "float32")}
    apart = {kind: 100 * share for kind, share in told.items() if share is not None}
    if not apart:
        return Finding(OPEN, NOT_RUN)
    listed = ", ".join(f"{share:.2g} % of the mask bits differ in {kind}" for kind, share in apart.items())
    return Finding(HOLDS, f"proved for all steps in exact arithmetic; of one training {listed} (n = 1)")


def _off(study: Study, way: str) -> float:
    return 100 * float(np.mean([run["sparsity"] for run in runs(study["found"], way)]))


def _bits(study: Study, way: str) -> float:
    """Bits of a whole task file for each masked weight."""
    found = runs(study["found"], way)
    return float(np.mean([8 * run["whole"] / run["masked"] for run in found]))


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


CLAIMS = (
    Claim(
        "Masks of all layers adapt a frozen network: they are ahead of a linear probe.",
        "draft, Table 1; published, Table 1",
        grid_pair("FS", "LP", ahead), photo_pair("FS all", PROBE, ahead),
        "real networks at full size, where there are more weights to choose from",
    ),
    Claim(
        "Masks of all layers are about as good as full fine-tuning.",
        "draft, Table 1; published, Section 4",
        grid_pair("FS", "FFT", as_good), photo_pair("FS all", "FFT all", as_good),
        "longer trainings at full size; the paper's own numbers fall short of fine-tuning on fine-grained sets",
    ),
    Claim(
        "The same holds where the scores start from the squared weights.",
        "this book",
        grid_pair("FS-squared", "FFT", as_good), photo_pair("FS-squared all", "FFT all", as_good),
        "a search in which both starts have more tries",
    ),
    Claim(
        "A start from the squared weights is ahead of the paper's constant start.",
        "this book",
        grid_pair("FS-squared", "FS", ahead), photo_pair("FS-squared late", "FS late", ahead),
        "sets far from the source task, where large changes are needed",
    ),
    Claim(
        "Masks of late layers, from the squared weights, are as good as fine-tuning of these layers.",
        "this book",
        None, photo_pair("FS-squared late", RIVAL, as_good),
        "larger networks and sets; rates chosen on more images",
    ),
    Claim(
        "Masks can be learnt without labels: before a probe with a tenth of the labels they help.",
        "draft, Figure 1; published, Figure 3",
        grid_pair("SSM+LP", "LP", ahead, percent=10.0, models=(SWAV,)), photo_pair("SSM late", PROBE, ahead, 10.0),
        "long self-supervised trainings on a GPU, with the paper's prototypes and crops",
    ),
    Claim(
        "They help more where the scores start from the squared weights.",
        "this book",
        grid_pair("SSM-squared+LP", "SSM+LP", ahead, percent=10.0, models=(SWAV,)),
        photo_pair("SSM-squared late", "SSM late", ahead, 10.0),
        "more networks and sets: photographs are two sets of one network here",
    ),
    Claim(
        "With a tenth of the labels, masks learnt on all images without them are ahead of masks learnt on those with.",
        "draft, Figure 1",
        grid_pair("SSM+LP", "FS", ahead, percent=10.0, models=(SWAV,)), photo_pair("SSM late", "FS late", ahead, 10.0),
        "as above",
    ),
    Claim(
        "With all labels, masks learnt without them fall behind masks learnt with them.",
        "draft, Figure 2",
        grid_pair("FS", "SSM+LP", ahead, models=(SWAV,)), photo_pair("FS late", "SSM late", ahead),
        "a self-supervised loss that knows more of the task",
    ),
    Claim(
        "After masks learnt without labels, neighbours are ahead of a probe with a tenth of the labels (sun397).",
        "draft, note on Figure 1c",
        grid_pair("SSM", "SSM", ahead, models=(SWAV,), metrics=("knn", "lp@10"), datasets=("sun397",)), None,
        "neighbours that vote with a tenth of the labels too: today they have all",
    ),
    Claim(
        "Masks learnt without labels lower the accuracy of nearest neighbours below the untouched network.",
        "published, supplement (on three of seven sets)",
        grid_pair("ZS", "SSM", ahead, models=(SWAV,), metrics=("knn", "knn")), None,
        "more sets: these are three",
    ),
    Claim(
        "For CLIP's transformer a linear probe is ahead of masks on average.",
        "published, Table 1",
        grid_pair("LP", "FS", ahead, models=("vitb32-clip",)), None,
        "the real network, whose features know the classes by name",
    ),
    Claim(
        "Masks switch off between four and thirty-six percent of the weights.",
        "draft, Tables 3 and 4",
        grid_range("sparsity", "FS", lambda means: bool(means.between(0.04, 0.36).all()), _share),
        photo_range("FS late", _off, lambda off: 4 <= off <= 36, lambda off: f"{off:.1f} %"),
        "other rates and lengths of training, which decide it",
    ),
    Claim(
        "A task takes a bit for each weight, or less, with all that belongs to it.",
        "draft, introduction",
        grid_range("bits_file", "FS", lambda means: bool((means <= 1).all()), lambda bits: f"{bits:.2f} bits"),
        photo_range("FS late", _bits, lambda bits: bits <= 1, lambda bits: f"{bits:.2f} bits"),
        "larger networks: there the classifier and the statistics weigh less",
    ),
    Claim(
        "Masks are up to seventy-nine times smaller than fine-tuned weights, with a general compressor on both.",
        "published, Section 4",
        grid_range("multiple_lzma", "FS", lambda means: bool(means.max() >= 79), lambda times: f"{times:.0f} times"),
        None,
        "masks with fewer weights off, which compress better",
    ),
    Claim(
        "Threshold and starting score are free of choice: equivalent settings give the same masks, with momentum too.",
        "draft, Section 3 and A.1; published, supplement",
        invariant, None,
        "nothing for exact arithmetic; rounding can part two trainings",
    ),
)  # fmt: skip
