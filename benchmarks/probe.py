"""What the paper's linear probe would have given on the embedded world, beside the one of the tables.

The paper's has one decay and no search, and the usual solver ends well before the minimum where classes are many; that
of the tables has a decay that was searched for each model and is solved to the end.
"""

from typing import Any

import pandas as pd
from torch import Tensor

from submasking.experiments import methods
from submasking.experiments.run import Run
from submasking.learning.evaluate import accuracy, features
from submasking.learning.probe import linear_probe
from submasking.records import results
from submasking.records.names import DATASETS
from submasking.records.places import committed_folder
from submasking.records.profiles import DECAY, TINY

MODELS = ("rn18-timm", "rn50-swav", "vitb32-clip")
Seen = tuple[Tensor, Tensor]  # features of images, and their labels


def measure() -> list[dict[str, Any]]:
    """Return one row per model and data set, seed 0, and one for each model that is their mean."""
    ahead = _ahead()
    rows: list[dict[str, Any]] = []
    for model in MODELS:
        each = [_row(Run("tiny", model, dataset, "LP"), ahead[model, dataset]) for dataset in DATASETS]
        mean = pd.DataFrame(each).mean(numeric_only=True)
        told = {str(name): float(value) for name, value in mean.items()} | {"classes": None}
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
    splits = [methods.images_of(run, split) for split in ("train", "test")]
    seen = [(features(backbone.trunk, images, backbone.normalise), images.labels) for images in splits]
    shares = probes(*seen, TINY.probe(run.model))
    row = {"way": f"{run.model} {run.dataset}", "classes": len(splits[0].classes), **shares}
    print(row, flush=True)
    return row | {"ahead": ahead, "before": ahead + shares["gained"]}


def probes(train: Seen, test: Seen, told: dict[str, Any]) -> dict[str, float]:
    """Accuracy of the paper's probe, of the same at its minimum, and of one with what `told` says."""
    ways: dict[str, dict[str, Any]] = {"usual": {}, "exact": {"decay": DECAY, "exact": True}, "searched": told}
    found = {name: accuracy(linear_probe(*train, test[0], **how)[0], test[1]) for name, how in ways.items()}
    return found | {"gained": 100 * (found["searched"] - found["usual"])}
