import json
from statistics import fmean

import pytest

from submasking.records import places, profiles

TRIALS = json.loads((places.committed_folder("tiny") / "learning_rates.json").read_text(encoding="utf-8"))
SWEPT = sorted({(trial["method"], trial["model"]) for trial in TRIALS})


@pytest.mark.parametrize(("method", "model"), SWEPT)
def test_tiny_uses_the_learning_rate_that_the_validation_images_chose(method, model):
    plan = profiles.TINY.method(method, model)
    metric = "lp@10" if method.startswith("SS") else "top1"
    found: dict[tuple[float, float], list[float]] = {}
    for trial in TRIALS:
        same = (trial["method"], trial["model"], trial["warmup"]) == (method, model, plan.warmup)
        if same and trial["epochs"] == plan.epochs and "metrics" in trial:
            found.setdefault((trial["lr"], trial["head_lr"]), []).append(trial["metrics"][metric])
    assert len(found) >= 2
    assert {len(values) for values in found.values()} == {3}
    assert max(found, key=lambda rates: fmean(found[rates])) == (plan.lr, plan.head_lr)


def test_every_adapted_model_was_swept():
    assert {model for method, model in SWEPT if method == "FS"} == set(profiles.TINY.full_models)
    assert {model for method, model in SWEPT if method == "FFT"} == set(profiles.TINY.full_models)
