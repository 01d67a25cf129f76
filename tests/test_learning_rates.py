import json
import math
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import learning_rates
from submasking.records import profiles

TRIALS = json.loads(learning_rates.RECORD.read_text(encoding="utf-8"))
SEARCHES = {f"{each.method} {each.model} {each.labels:g}": each for each in learning_rates.SEARCHES}


def tried(chosen):
    """Mean score of each pair of rates of a search, by what the record says."""
    found: dict[tuple[float, float], list[float]] = {}
    for entry in TRIALS:
        if (entry["method"], entry["model"], entry["labels"]) == chosen[:3]:
            score = entry.get("metrics", {}).get("top1", -math.inf)
            found.setdefault((entry["lr"], entry["head_lr"]), []).append(score)
    assert {len(values) for values in found.values()} == {2}
    return {rates: fmean(values) for rates, values in found.items()}


@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_tiny_uses_the_rates_that_the_validation_images_chose(name):
    chosen = SEARCHES[name]
    plan = profiles.TINY.method(*chosen[:3])
    scores = tried(chosen)
    assert scores[plan.lr, plan.head_lr] == max(scores.values())


@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_every_search_had_the_same_budget_and_its_best_lies_at_no_edge(name):
    chosen = SEARCHES[name]
    scores = tried(chosen)
    assert len(scores) == learning_rates.BUDGET[chosen.labels]
    plan = profiles.TINY.method(*chosen[:3])
    rates = sorted({lr for lr, _ in scores})
    assert rates[0] < plan.lr < rates[-1]


@given(st.floats(-3, 3), st.floats(-1.5, 1.5))
def test_a_search_finds_a_peak_wherever_it_lies(shift, head_shift):
    def score(rates):
        return -((math.log10(rates[0]) - shift) ** 2) - (math.log10(rates[1]) + 1 - head_shift / 4) ** 2

    found = learning_rates.search(10 ** (shift - 1), 0.1, 8, score)
    assert len(found) == 8
    best = max(found, key=lambda rates: found[rates])
    assert abs(math.log10(best[0]) - shift) <= 0.3


def test_a_rate_at_which_training_fails_is_never_the_best():
    found = learning_rates.search(1.0, 0.1, 8, lambda rates: -math.inf if rates[0] > 2 else rates[0])
    assert max(found, key=lambda rates: found[rates])[0] <= 2


def test_every_model_with_controls_was_searched_for_every_start():
    for model in profiles.TINY.control_models:
        methods = {each.method for each in learning_rates.SEARCHES if each.model == model and each.labels == 100}
        assert {"FS", "FS-magnitude", "FS-squared", "FFT"} <= methods
