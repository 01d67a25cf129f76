"""What the paper's grid costs: its runs, their hours from one measured step of each network, the bytes they leave.

seconds of a run = s (b e ceil(n / b) c + (n + t) / 3) / b, where s are the measured seconds of a step of b images, e
epochs, n images that it learns from, t images that judge it, and c what the crops of SwAV have in pixels beside one
whole image (1 with labels). A step's time depends neither on what the pictures show nor on the number of classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from submasking.experiments import grid
from submasking.experiments.run import Run
from submasking.records.names import SELF_SUPERVISED
from submasking.records.profiles import profile
from submasking.worlds.paper.data.catalogue import SETS, Published
from submasking.worlds.paper.weights import NETWORKS, SIZE

UPDATED = 3.0  # a training step costs about three forward passes
KINDS = ("tables", "figures", "features")


def steps(run: Run, batch: int) -> float:
    """Training steps of `batch` whole images that the training of a run takes; 0 for ZS and LP.

    Raises:
        ValueError: its data set is none of the paper's.
    """
    if run.method in grid.UNTRAINED:
        return 0.0
    plan = profile(run.profile)
    epochs, images = plan.method(run.method, run.model, run.labels).epochs, _published(run).images("train")
    if run.method in SELF_SUPERVISED:
        crops = sum(n * side**2 for n, side in zip(plan.swav.crops, plan.swav.sizes, strict=True)) / SIZE**2
        return epochs * math.ceil(images / batch) * crops
    return epochs * math.ceil(int(images * run.labels / 100) / batch)


def judging(run: Run, batch: int) -> float:
    """What the forward passes of a run over its images cost in steps: ZS sees the test images alone."""
    images = _published(run).images("test")
    if run.method != "ZS":
        images += _published(run).images("train")
    return math.ceil(images / batch) / UPDATED


def seconds(run: Run, step: Mapping[str, float], batch: int) -> float:
    """Seconds of a run on the device on which a step of each model took `step` seconds for `batch` images.

    Raises:
        ValueError: `step` has not this run's model, or its data set is none of the paper's.
    """
    if run.model not in step:
        raise ValueError(f"seconds must have a step of every model, {run.model} is missing; measure it")
    return step[run.model] * (steps(run, batch) + judging(run, batch))


def hours(step: Mapping[str, float], batch: int, runs: Iterable[Run] = ()) -> dict[str, float]:
    """Hours of the paper's runs, once each, by what they are for.

    Args:
        step: seconds of one step of FS, by model.
        batch: images in that step.
        runs: which; none are all of profile paper.

    Returns:
        "tables": training with all labels. "figures": with few labels and none. "features": passes over all images.

    Raises:
        ValueError: a model without a step.
    """
    found = dict.fromkeys(KINDS, 0.0)
    for run in runs or grid.runs("paper"):
        whole = seconds(run, step, batch)
        judged = step[run.model] * judging(run, batch)
        found["tables" if run.labels == 100 else "figures"] += (whole - judged) / 3600
        found["features"] += judged / 3600
    return found


def kept_bytes(run: Run) -> int:
    """Bytes of a run's task file at most: a bit per masked weight, norm buffers and head as they are; 0 without one.

    A coded mask takes less; how much less depends on how many weights are off.
    """
    if run.method.partition("-")[0] not in ("FS", "SSM"):
        return 0
    network = NETWORKS[run.model]
    labelled = run.method not in SELF_SUPERVISED and not network.clip
    head = _published(run).classes * (network.width + 1) if labelled else 0
    return math.ceil(network.masked / 8) + 4 * (network.parameters - network.masked + head)


def _published(run: Run) -> Published:
    if run.dataset not in SETS:
        raise ValueError(f"only the paper's data sets have known sizes ({', '.join(SETS)}); got {run.dataset!r}")
    return SETS[run.dataset]
