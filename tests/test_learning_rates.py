import dataclasses
import json
import math
from itertools import product
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import learning_rates
from submasking.experiments import grid, methods
from submasking.experiments.analyses import equal_storage, rivals
from submasking.experiments.run import Run
from submasking.learning import probe
from submasking.records import names, profiles
from submasking.report import tuning

TRIALS = json.loads(learning_rates.RECORD.read_text(encoding="utf-8"))
# a search is kept when it is done, so that the record holds all of it or nothing
SEARCHES = {
    f"{each.method} {each.model} {each.labels:g}": each
    for each in (*learning_rates.SEARCHES, *learning_rates.RIVALS)
    if any((entry["method"], entry["model"], entry["labels"]) == each[:3] for entry in TRIALS)
}


def tried(chosen):
    """Mean score of each pair of rates of a search, by what the record says."""
    found: dict[tuple[float, float], list[float]] = {}
    for entry in TRIALS:
        if (entry["method"], entry["model"], entry["labels"]) == chosen[:3]:
            score = entry.get("metrics", {}).get(tuning.judged_by(chosen.method), -math.inf)
            found.setdefault((entry["lr"], entry["head_lr"]), []).append(score)
    assert {len(values) for values in found.values()} == {2}
    return {rates: fmean(values) for rates, values in found.items()}


PROBES = [each for each in learning_rates.PROBES if any(entry["method"] == "LP" for entry in TRIALS)]


@pytest.mark.parametrize("chosen", PROBES, ids=lambda each: f"{each.model} {each.labels:g}")
def test_a_probe_s_search_had_the_budget_of_the_others_and_its_best_lies_at_no_edge(chosen):
    scores = tried(chosen)
    assert len(scores) == learning_rates.BUDGET[chosen.labels]
    assert {head for _, head in scores} == {0.0}
    decays = sorted(decay for decay, _ in scores)
    assert profiles.DECAY in decays
    best = max(scores.values())
    told = profiles.TINY.probe(chosen.model, chosen.labels)
    assert scores[told["decay"], 0.0] == best
    assert told["exact"]
    assert decays[0] < min(decay for (decay, _), score in scores.items() if score == best)
    assert max(decay for (decay, _), score in scores.items() if score == best) < decays[-1]


CONTROLS = [each for each in learning_rates.CONTROLS if any(entry["method"] == "FS-none" for entry in TRIALS)]


@pytest.mark.parametrize("chosen", CONTROLS, ids=lambda each: f"{each.model} {each.labels:g}")
def test_the_head_of_a_control_was_searched_with_the_budget_of_the_others_and_its_best_lies_at_no_edge(chosen):
    scores = tried(chosen)
    assert len(scores) == learning_rates.BUDGET[chosen.labels]
    heads = sorted(head for head, _ in scores)
    plan = profiles.TINY.method("FS-none", chosen.model, chosen.labels)
    assert scores[plan.head_lr, 0.0] == max(scores.values())
    assert heads[0] < plan.head_lr < heads[-1]
    if chosen.labels == 100:
        assert profiles.TINY.method("FS-random", chosen.model) == plan


def test_every_control_that_trains_a_head_alone_is_searched():
    found = {(each.model, each.labels) for each in learning_rates.CONTROLS}
    few = [(grid.UNLABELLED_MODEL, 10.0)] if "FS-none" in profiles.TINY.few_labels else []
    assert found == {*((model, 100.0) for model in profiles.TINY.control_models), *few}


def test_every_rival_is_searched_on_every_network_where_it_is_compared():
    models = grid.ANALYSES["equal_storage"].models
    assert {(each.method, each.model) for each in learning_rates.RIVALS} == set(product(rivals.RIVALS, models))


def test_the_probe_of_every_model_is_searched():
    labelled = {(each.method, each.model) for each in learning_rates.PROBES if each.labels == 100}
    assert labelled == {("LP", model) for model in names.MODELS}
    few = {each.model for each in learning_rates.PROBES if each.labels == 10}
    assert few == {grid.UNLABELLED_MODEL}


def test_a_search_without_a_head_spends_its_budget_on_the_one_rate():
    found = learning_rates.search(0.01, 0.0, 20, lambda rates: -abs(math.log10(rates[0])), 10.0)
    assert len(found) == 20
    assert max(found, key=lambda rates: found[rates]) == (1.0, 0.0)
    assert {head for _, head in found} == {0.0}


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
    heads = sorted({head for _, head in scores})
    assert heads[0] < plan.head_lr < heads[-1]


@given(st.floats(-3, 3), st.floats(-1.5, 1.5))
def test_a_search_finds_a_peak_wherever_it_lies(shift, head_shift):
    def score(rates):
        return -((math.log10(rates[0]) - shift) ** 2) - (math.log10(rates[1]) + 1 - head_shift / 4) ** 2

    found = learning_rates.search(10 ** (shift - 1), 0.1, 8, score)
    assert len(found) == 8
    best = max(found, key=lambda rates: found[rates])
    assert abs(math.log10(best[0]) - shift) <= 0.3


@given(st.floats(-4.5, 1), st.floats(-2, 2))
def test_the_head_s_rate_goes_on_beyond_an_end_until_it_falls(peak, shift):
    def score(rates):
        return -abs(math.log10(rates[1]) - peak) - abs(math.log10(rates[0]) - shift) / 10

    found = learning_rates.search(10 ** (shift - 1), 0.1, 14, score)
    lr, head = max(found, key=lambda rates: found[rates])
    heads = [rates[1] for rates in found]
    assert min(heads) < head < max(heads)
    assert abs(math.log10(head) - peak) <= 0.26
    assert abs(math.log10(lr) - shift) <= 0.26


def test_a_head_s_rate_that_lies_between_others_is_left():
    def score(rates):
        return -abs(math.log10(rates[1] / 0.1)) - abs(math.log10(rates[0]))

    found = learning_rates.search(0.1, 0.1, 20, score)
    heads = sorted({head for _, head in found})
    assert (heads[0], heads[-1]) == (0.032, 0.32)
    assert len(found) == 20  # where rounding leaves no rate between, it goes on with the heads


def test_a_rate_at_which_training_fails_is_never_the_best():
    found = learning_rates.search(1.0, 0.1, 8, lambda rates: -math.inf if rates[0] > 2 else rates[0])
    assert max(found, key=lambda rates: found[rates])[0] <= 2


def test_every_model_with_controls_was_searched_for_every_start():
    for model in profiles.TINY.control_models:
        methods = {each.method for each in learning_rates.SEARCHES if each.model == model and each.labels == 100}
        assert {"FS", "FS-magnitude", "FS-squared", "FFT"} <= methods


def test_every_model_and_every_method_without_labels_has_a_search():
    labelled = {(each.method, each.model) for each in learning_rates.SEARCHES if each.labels == 100}
    assert {(method, model) for method in profiles.TINY.compared for model in names.MODELS} <= labelled
    unlabelled = {(each.method, each.model) for each in learning_rates.SEARCHES if each.labels == 0}
    trained = {method for method in profiles.TINY.no_labels if method != "SSM-none"}  # the control uses the rate of SSM
    assert unlabelled == {(method, grid.UNLABELLED_MODEL) for method in trained}
    assert len({learning_rates.BUDGET[each.labels] for each in learning_rates.SEARCHES if each.labels != 10}) == 1


def first_four(chosen):
    return list(learning_rates.search(chosen.begin, chosen.head, 4, lambda rates: 0.0))


@pytest.mark.parametrize(("method", "known"), [("SSM", 20.0), ("SSM-squared", 3.0), ("SSFT", 0.5)])
def test_a_search_without_labels_begins_around_the_rate_of_the_first_world(method, known):
    (chosen,) = (each for each in learning_rates.SEARCHES if each.method == method)
    rates = [lr for lr, _ in first_four(chosen)]
    assert any(math.isclose(lr, known, rel_tol=0.03) for lr in rates[1:3])
    assert chosen.datasets == ("cifar100", "sun397")


def test_the_last_models_begin_with_rates_around_all_that_won_before():
    for chosen in learning_rates.SEARCHES:
        anew = (chosen.method, chosen.model) in learning_rates._BEGIN_LOWER
        if chosen.model in ("rn50-timm", "rn50-torch", "rn50-clip") and not anew:
            rates = [lr for lr, _ in first_four(chosen)]
            won = [profiles.TINY.method(chosen.method, model).lr for model in profiles.TINY.control_models]
            assert min(rates) * 0.9 <= min(won)
            assert max(won) <= max(rates) * 1.1


def test_a_search_without_labels_goes_by_the_probe(monkeypatch):
    def made_up(chosen, rates, dataset):
        close = -abs(math.log(rates[0] / 20))
        given = {"method": chosen.method, "model": chosen.model, "labels": chosen.labels, "dataset": dataset}
        return given | {"lr": rates[0], "head_lr": rates[1], "metrics": {"lp@10": close, "lp@100": -close}}

    monkeypatch.setattr(learning_rates, "trial", made_up)
    chosen = next(each for each in learning_rates.SEARCHES if each.method == "SSM")
    trials = learning_rates.run(chosen, [])
    assert len(trials) == 2 * learning_rates.BUDGET[0.0]
    tried = {entry["lr"] for entry in trials}
    assert max(tried) == pytest.approx(200, rel=0.03)  # lp@100 would have gone on beyond
    assert learning_rates.run(chosen, trials) == trials


@pytest.fixture
def smoke(smoke_results, monkeypatch):
    """Profile smoke, put back as it was; what runs keep in memory is forgotten, since validation images are in it."""
    monkeypatch.setitem(profiles.PROFILES, "smoke", profiles.SMOKE)
    yield profiles.SMOKE
    for kept in (methods._read, methods._features):
        kept.cache_clear()


def test_a_trial_of_a_probe_has_its_decay_and_is_solved(smoke, monkeypatch):
    asked = []
    monkeypatch.setattr(
        methods, "linear_probe", lambda *given, **how: asked.append(how) or probe.linear_probe(*given, **how)
    )
    chosen = learning_rates.Search("LP", "rn18-timm", 100.0, 0.01, 0.0)
    found = learning_rates.trial(chosen, (3.0, 0.0), "cifar10", smoke)
    assert 0 <= found["metrics"]["top1"] <= 1
    assert (found["lr"], found["head_lr"]) == (3.0, 0.0)
    assert asked == [{"decay": 3.0, "exact": True}]
    assert Run("smoke", "rn18-timm", "cifar10", "LP").recipe()["probe"] == {"100": asked[0]}
    unlabelled = Run("smoke", "rn18-timm", "cifar10", "SSM", 0.0).recipe()["probe"]
    assert unlabelled == {"10": asked[0], "100": asked[0]}


@pytest.mark.parametrize(
    ("method", "model", "labels"), [("SSM", "rn50-swav", 0.0), ("SSFT", "rn50-swav", 0.0), ("FS", "rn50-clip", 100.0)]
)
def test_a_trial_runs_with_its_rates_and_is_judged_on_validation_images(smoke, monkeypatch, method, model, labels):
    judged = []
    judge = methods._judge
    monkeypatch.setattr(methods, "_judge", lambda test, given: judged.append(test.fingerprint()) or judge(test, given))
    chosen = learning_rates.Search(method, model, labels, 1.0, 0.1)
    found = learning_rates.trial(chosen, (1.5, 0.2), "cifar10", smoke)
    assert 0 <= found["metrics"][tuning.judged_by(method)] <= 1
    assert (found["lr"], found["head_lr"], found["epochs"], found["labels"]) == (1.5, 0.2, 2, labels)
    task = Run("smoke", model, "cifar10", method, labels, learning_rates.SEED)
    assert methods._read("smoke", "cifar10", "validation", 0, task.variant).fingerprint() == judged[0]
    recipe = task.recipe()
    assert (recipe["lr"], recipe["head_lr"]) == (1.5, 0.2)


@pytest.mark.parametrize("way", rivals.RIVALS)
def test_a_trial_of_a_rival_trains_with_its_rates_and_is_judged_on_validation_images(smoke, monkeypatch, way):
    trained, judged = [], []
    learned, judge = rivals.learned, equal_storage._judged
    monkeypatch.setattr(rivals, "learned", lambda *given, **how: trained.append(given[2:]) or learned(*given, **how))
    monkeypatch.setattr(equal_storage, "_judged", lambda *given: judged.append(given[3].fingerprint()) or judge(*given))
    chosen = learning_rates.Search(way, "vitb32-clip", 100.0, 1.0, 0.1)
    found = learning_rates.trial(chosen, (0.5, 0.2), "cifar10", smoke)
    assert 0 <= found["metrics"]["top1"] <= 1
    assert len(found["loss"]) == 2
    ((rival, plan),) = trained
    assert (rival, plan.lr, plan.head_lr) == (rivals.RIVALS[way], 0.5, 0.2)
    variant = Run("smoke", "vitb32-clip", "cifar10", "FS", 100.0, learning_rates.SEED).variant
    assert judged == [methods._read("smoke", "cifar10", "validation", 0, variant).fingerprint()]


def test_searches_are_chosen_by_method_and_model():
    some = learning_rates.selected(["SSM", "SSFT"], None)
    assert [(each.method, each.labels) for each in some] == [("SSM", 0.0), ("SSFT", 0.0)]
    one = learning_rates.selected([], "rn50-timm")
    assert [(each.method, each.model) for each in one] == [
        (name, "rn50-timm") for name in (*profiles.TINY.compared, "LP")
    ]
    assert learning_rates.selected([], None) == [
        *learning_rates.SEARCHES,
        *learning_rates.PROBES,
        *learning_rates.RIVALS,
        *learning_rates.CONTROLS,
    ]


@pytest.mark.parametrize(
    ("asked", "model", "said"),
    [
        (["SSN"], None, r"methods must be among .*SSM.*got SSN"),
        (["SSM"], "rn50-timm", r"methods must be among FFT, FS, FS-squared, LP; got SSM"),
        ([], "rn34", r"model must be one of rn50-swav, .*got 'rn34'"),
    ],
)
def test_what_has_no_search_is_named_and_what_has_one_is_offered(asked, model, said):
    with pytest.raises(ValueError, match=said):
        learning_rates.selected(asked, model)


@pytest.mark.parametrize("model", ["rn50-timm", "rn50-torch", "rn50-clip"])
@pytest.mark.parametrize("method", profiles.TINY.compared)
def test_a_model_without_rates_of_its_own_takes_those_of_rn50_swav(model, method):
    bare = dataclasses.replace(
        profiles.TINY, methods={key: plan for key, plan in profiles.TINY.methods.items() if model not in key}
    )
    assert bare.method(method, model) == profiles.TINY.method(method, "rn50-swav")
