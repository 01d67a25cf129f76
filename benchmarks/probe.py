"""What the linear probe of the embedded grid is short of: the minimum of what it minimises, and a decay of its own.

The paper's probe has one decay and no search, and the grid's follows it; the usual solver ends well before the minimum
where classes are many. What masks are ahead of it, in the project's records, is told with what that leaves.
"""

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from submasking.experiments import methods
from submasking.experiments.run import Run
from submasking.learning.evaluate import accuracy, features
from submasking.learning.probe import linear_probe
from submasking.records import results
from submasking.records.names import DATASETS
from submasking.records.places import committed_folder

MODELS = ("rn18-timm", "vitb32-clip")  # with the features of a ResNet-50 a set of many classes takes ten minutes
DECAYS = (0.01, 0.1, 1.0, 10.0, 100.0)  # the paper's, which is the first, and larger ones
Seen = tuple[Tensor, Tensor]  # features of images, and their labels


def measure() -> list[dict[str, Any]]:
    """Return one row per model and data set, seed 0, and one for each model that is their mean."""
    ahead = _ahead()
    rows: list[dict[str, Any]] = []
    for model in MODELS:
        each = [_row(Run("tiny", model, dataset, "LP"), ahead[model, dataset]) for dataset in DATASETS]
        mean = pd.DataFrame(each).mean(numeric_only=True)
        told = {str(name): float(value) for name, value in mean.items()} | {"classes": None, "decay": None}
        rows += [*each, {"way": f"{model}, mean", **told}]
    return rows


def _ahead() -> dict[tuple[str, str], float]:
    """Points that masks (FS) are ahead of the probe in the project's records, by model and data set."""
    kept = results.read(committed_folder("tiny"))
    frame = pd.DataFrame(
        [
            vars(one) | {"top1": one.metrics.get("top1")}
            for one in kept
            if one.method in ("FS", "LP") and one.labels == 100
        ]
    )
    means = frame.groupby(["model", "dataset", "method"]).top1.mean().unstack()
    return {key: 100 * float(points) for key, points in (means.FS - means.LP).dropna().items()}


def _row(run: Run, ahead: float) -> dict[str, Any]:
    backbone = methods.backbone_of(run)
    splits = [methods.images_of(run, split) for split in ("train", "validation", "test")]
    seen = [(features(backbone.trunk, images, backbone.normalise), images.labels) for images in splits]
    shares = probes(*seen)
    gained = 100 * (shares["chosen"] - shares["usual"])
    row = {"way": f"{run.model} {run.dataset}", "classes": len(splits[0].classes), **shares}
    print(row, flush=True)
    return row | {"ahead": ahead, "left": ahead - gained}


def probes(train: Seen, validation: Seen, test: Seen) -> dict[str, float]:
    """Accuracy of the probe as the grid has it, at its minimum, and with a decay that validation images choose."""
    count, found = len(validation[1]), {}
    for decay in DECAYS:
        classes, _ = linear_probe(*train, torch.cat([validation[0], test[0]]), decay=decay, exact=True)
        found[decay] = accuracy(classes[:count], validation[1]), accuracy(classes[count:], test[1])
    decay = max(DECAYS, key=lambda one: (found[one][0], one))
    usual = accuracy(linear_probe(*train, test[0])[0], test[1])
    return {"usual": usual, "exact": found[DECAYS[0]][1], "chosen": found[decay][1], "decay": decay}
