import warnings
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from submasking import results
from submasking.invariance import SGD, Setup, equivalent, experiment, report


@pytest.fixture(scope="module")
def record(smoke_results):
    return experiment.run("smoke", "rn18-timm", "dtd", epochs=2, images=32)


@pytest.mark.parametrize("variant", experiment.variants(), ids=lambda variant: variant.key)
def test_a_variant_is_called_equivalent_where_the_theorems_say_so(variant):
    base = Setup(SGD(50.0), 1.0, 0.0)
    found = equivalent(base, Setup(SGD(variant.lr), variant.start, variant.mu)) and variant.seed_shift == 0
    assert found == variant.equivalent


def test_the_published_pair_is_among_the_runs():
    (both,) = (v for v in experiment.variants() if v.key == "float32 both")
    assert (both.lr, both.start, both.mu) == (100.0, 2.5, 0.5)


def test_every_run_is_measured_at_every_step(record):
    steps = 2 * 2  # epochs times batches
    assert list(record.series) == [variant.key for variant in experiment.variants()]
    for key, series in record.series.items():
        assert len(series["loss"]) == steps
        assert len(series["differing"]) == steps + 1
        assert series["differing"][-1] == record.metrics[f"{key}/differing"]


def test_what_is_exact_in_theory_is_exact_in_the_record(record):
    for key in ("float32 reference", "float32 repeated", "float32 scaled by 2", "bfloat16 scaled by 2"):
        assert record.metrics[f"{key}/differing"] == 0
        assert record.metrics[f"{key}/identical_steps"] == 5


def test_a_record_of_the_same_recipe_is_not_computed_again(record, monkeypatch):
    monkeypatch.setattr(experiment, "observe", None)
    assert experiment.run("smoke", "rn18-timm", "dtd", epochs=2, images=32) == record
    with pytest.raises(TypeError):
        experiment.run("smoke", "rn18-timm", "dtd", epochs=1, images=32)


def test_the_record_is_where_the_book_looks(record):
    path = results.results_folder("smoke") / "records" / "rn18-timm" / "dtd" / "invariance-labels100-seed0.json"
    assert results.read_one(path) == record


def outcome(bits, losses=(2.0, 1.0)):
    masks = [np.packbits(np.array(row)) for row in bits]
    return experiment.Outcome(masks, list(losses), top1=0.5, sparsity=0.25, weights=len(bits[0]))


def test_differing_counts_bits_and_finds_the_first():
    one = outcome([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 1, 0]])
    two = outcome([[1, 1, 1, 1], [1, 1, 1, 0], [0, 1, 1, 0]], losses=(2.0, 1.5))
    metrics, series = experiment.compare(two, one, window=1)
    assert series["differing"] == [0, 0, 0.5]
    assert (metrics["identical_steps"], metrics["first_bits"], metrics["loss_gap"]) == (2, 2, 0.5)
    assert experiment.compare(one, one, window=1)[0]["identical_steps"] == 3


@pytest.mark.parametrize("dark", [False, True])
def test_the_figure_draws_with_and_without_differences(record, dark):
    series = {
        key: value | {"differing": [0.0, *value["differing"][1:-1], 0.01]} for key, value in record.series.items()
    }
    for each in (record, replace(record, series=series)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure = report.curves(each, dark=dark)
            figure.draw_without_rendering()
        assert isinstance(figure, Figure)
        assert len(figure.axes) == 2


def test_the_answer_tells_which_runs_parted_and_when(record):
    changed = {"float32 scaled by 3/identical_steps": 3.0, "float32 scaled by 3/first_bits": 1.0,
               "float32 scaled by 3/differing": 0.02}  # fmt: skip
    text = report.answer(replace(record, metrics=record.metrics | changed))
    assert "scaled by 3: first different at step 3, in 1 bit, 2 % at the end" in text
    assert "In bfloat16, scaled by 2: every mask of all 5 equal" in text
    assert "24 test images" in text
