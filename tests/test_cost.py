"""The cost of the paper's grid, beside a count by hand."""

import math

import pytest

from submasking.experiments import cost, grid
from submasking.experiments.run import Run
from submasking.records.names import MODELS
from submasking.records.profiles import PAPER
from submasking.worlds.paper.data import catalogue
from submasking.worlds.paper.weights import NETWORKS


def test_the_hours_are_those_of_a_count_by_hand():
    got = cost.hours(dict.fromkeys(MODELS, 3600.0), 64)
    batches = {name: math.ceil(one.images("train") / 64) for name, one in catalogue.SETS.items()}
    every = sum(batches.values())
    # rn18-timm and rn50-swav: FS and FFT 150 epochs each; vitb32-clip: FS 32, FFT as the others
    assert got["tables"] == pytest.approx(every * (150 + 150 + 150 + 150 + 32 + 150))
    few = sum(300 * math.ceil(int(catalogue.SETS[name].images("train") * 0.1) / 64) for name in PAPER.sparse_datasets)
    none = sum(300 * batches[name] for name in PAPER.sparse_datasets) * (2 * 224**2 + 6 * 96**2) / 224**2
    assert got["figures"] == pytest.approx(few + none)
    tested = sum(math.ceil(one.images("test") / 64) for one in catalogue.SETS.values())
    assert got["features"] > 6 * tested / 3  # ZS alone, of six models


def test_hours_are_the_sum_over_the_runs_and_grow_with_each_step():
    step = {model: 0.1 * number for number, model in enumerate(MODELS, 1)}
    runs = grid.runs("paper")
    assert sum(cost.hours(step, 32).values()) == pytest.approx(sum(cost.seconds(run, step, 32) for run in runs) / 3600)
    assert cost.hours({model: 2 * one for model, one in step.items()}, 32)["tables"] == pytest.approx(
        2 * cost.hours(step, 32)["tables"]
    )


def test_hours_need_a_step_of_every_model():
    with pytest.raises(ValueError, match="is missing; measure it"):
        cost.hours({"rn18-timm": 1.0}, 64)
    with pytest.raises(ValueError, match="only the paper's data sets"):
        cost.steps(Run("images", "test_resnet", "photos", "FS"), 64)


@pytest.mark.parametrize("model", MODELS)
def test_only_masks_are_kept_and_take_about_a_bit_per_weight(model):
    masked = NETWORKS[model].masked
    found = cost.kept_bytes(Run("paper", model, "dtd", "FS"))
    assert masked / 8 < found <= masked / 8 + 4 * (NETWORKS[model].parameters - masked) + 4 * 47 * 2049
    assert cost.kept_bytes(Run("paper", model, "dtd", "FFT")) == cost.kept_bytes(Run("paper", model, "dtd", "LP")) == 0
