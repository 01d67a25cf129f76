"""Choose the learning rates of profile tiny on validation images (faces that are in no training or test set).

    python benchmarks/learning_rates.py FS FFT        about 6 minutes on one core
    python benchmarks/learning_rates.py SSM SSFT      about 10 minutes

Every setting runs once (seed 0) on three data sets; `book/records/tiny/learning_rates.json` keeps all that was
tried. The numbers in `submasking.records.profiles` are those of the best mean over the three (top-1 for FS and FFT, the
linear probe with 10 % of the labels for SSM and SSFT); no test image is touched.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import tempfile
from typing import Any

from submasking.files import atomic
from submasking.records import places, profiles

DATASETS = ("cifar100", "dtd", "sun397")
# by method and model: learning rates of what the method trains, and of the head
TRIED: dict[tuple[str, str], tuple[tuple[float, ...], tuple[float, ...]]] = {
    ("FS", "rn18-timm"): ((15.0, 50.0, 150.0, 500.0), (0.1,)),
    ("FS", "rn50-swav"): ((15.0, 50.0, 150.0, 500.0), (0.1,)),
    ("FS", "vitb32-clip"): ((3.0, 10.0, 30.0, 100.0, 300.0), (0.1,)),
    ("FFT", "rn18-timm"): ((0.01, 0.03, 0.1, 0.3, 1.0), (0.1,)),
    ("FFT", "rn50-swav"): ((0.01, 0.03, 0.1, 0.3, 1.0), (0.1,)),
    ("FFT", "vitb32-clip"): ((0.01, 0.03, 0.1), (0.1,)),
    ("SSM", "rn50-swav"): ((20.0, 80.0, 300.0), (0.6,)),
    ("SSFT", "rn50-swav"): ((0.05, 0.15, 0.5), (0.6,)),
}
RECORD = places.committed_folder("tiny") / "learning_rates.json"


def main() -> None:
    """Sweep the methods named on the command line and add what they gave to the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="+", choices=sorted({method for method, _ in TRIED}))
    parser.add_argument("--model", choices=sorted({model for _, model in TRIED}))
    chosen = parser.parse_args()
    backbones = places.results_folder("tiny") / "backbones"
    with tempfile.TemporaryDirectory() as folder:
        # what is tried out must leave no half-trained run where the grid would resume it
        os.environ["SUBMASKING_RESULTS"] = folder
        places.results_folder("tiny").mkdir(parents=True)
        backbones.mkdir(parents=True, exist_ok=True)
        (places.results_folder("tiny") / "backbones").symlink_to(backbones)
        for (method, model), rates in TRIED.items():
            if method in chosen.methods and chosen.model in (None, model):
                for lr, head_lr in itertools.product(*rates):
                    keep([trial(method, model, dataset, lr, head_lr) for dataset in DATASETS])


def trial(method: str, model: str, dataset: str, lr: float, head_lr: float) -> dict[str, Any]:
    """One run with the given learning rates, judged on the validation images."""
    from submasking.experiments.run import Run
    from submasking.records.names import METHODS, SELF_SUPERVISED

    plan = dataclasses.replace(profiles.TINY.method(method, model), lr=lr, head_lr=head_lr)
    profiles.PROFILES["tiny"] = dataclasses.replace(profiles.TINY, evaluated_on="validation", methods={method: plan})
    labels = 0.0 if method in SELF_SUPERVISED else 100.0
    try:
        found = METHODS[method](Run("tiny", model, dataset, method, labels), False)
        outcome = {"metrics": found["metrics"], "loss": found["series"]["loss"], **found["timings"]}
    except FloatingPointError as error:
        outcome = {"failed": str(error)}
    result = {"method": method, "model": model, "dataset": dataset, "lr": lr, "head_lr": head_lr}
    result |= {"epochs": plan.epochs, "warmup": plan.warmup} | outcome
    print(json.dumps(result), flush=True)
    return result


def keep(trials: list[dict[str, Any]]) -> None:
    """Add trials to the record, in place of earlier ones of the same settings."""
    identity = ("method", "model", "dataset", "lr", "head_lr", "warmup")
    kept = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else []
    merged = {tuple(entry[name] for name in identity): entry for entry in [*kept, *trials]}
    ordered = [merged[key] for key in sorted(merged)]
    atomic.write(RECORD, json.dumps(ordered, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
