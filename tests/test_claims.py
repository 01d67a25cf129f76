"""Verdicts on claims: what the rules say of differences that are known."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submasking.records import photographs as records
from submasking.records import places, predictions
from submasking.report import answer, claims
from submasking.report.claims import CLAIMS, HOLDS, NOT, OPEN, PART
from submasking.report.statistics import Estimate

bounds = st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(sorted)


@given(bounds)
def test_ahead_is_told_by_the_end_of_the_interval(ends):
    low, high = ends
    found = claims.ahead(Estimate((low + high) / 2, low, high))
    assert found == (HOLDS if low > 0 else NOT if high < 0 else OPEN)
    # being ahead is more than being as good, and what is not as good is not ahead
    good = claims.as_good(Estimate((low + high) / 2, low, high))
    assert good == HOLDS or found != HOLDS
    assert found == NOT or good != NOT


def test_without_an_interval_nothing_is_told():
    lone = Estimate(0.5, seeds=1)
    assert claims.ahead(lone) == claims.as_good(lone) == OPEN
    assert claims.points(lone) == "+50.0 points (n = 1)"


@given(st.lists(st.sampled_from([HOLDS, NOT, OPEN]), max_size=4))
def test_over_networks_a_claim_holds_only_if_it_does_for_each(told):
    found = claims.over(told)
    assert (found == HOLDS) == (bool(told) and set(told) == {HOLDS})
    assert (found == NOT) == (bool(told) and set(told) == {NOT})
    assert (found == PART) == (HOLDS in told and len(set(told)) > 1)


def grid(shares, models=("rn18-timm",), datasets=("dtd", "ucf101"), seeds=3, images=400):
    """Runs whose test images are right with these shares, each method's apart from the others' in as many images."""
    rows = []
    for model in models:
        for number, dataset in enumerate(datasets):
            for seed in range(seeds):
                hard = np.random.default_rng([number, seed]).random(images)
                for method, share in shares.items():
                    right = hard < share
                    rows.append(
                        {"profile": "tiny", "model": model, "dataset": dataset, "method": method, "labels": 100.0,
                         "seed": seed, "top1": right.mean(), "right": {"top1": right}, "test": dataset, "fixed": False}
                    )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("fs", "fft", "better", "level"),
    [(0.9, 0.6, HOLDS, HOLDS), (0.6, 0.9, NOT, NOT), (0.8, 0.8, OPEN, HOLDS), (0.796, 0.8, NOT, HOLDS)],
)
def test_a_pair_of_the_grid_is_judged_over_all_its_images(fs, fft, better, level):
    world = claims.World(grid({"FS": fs, "FFT": fft}))
    for rule, verdict in ((claims.ahead, better), (claims.as_good, level)):
        found = claims.grid_pair("FS", "FFT", rule)(world)
        assert found.verdict == verdict, found
        assert found.evidence.startswith("rn18-timm: ")


def test_networks_that_disagree_are_told_apart():
    frame = pd.concat([grid({"FS": 0.9, "FFT": 0.6}), grid({"FS": 0.6, "FFT": 0.9}, ("vitb32-clip",))])
    found = claims.grid_pair("FS", "FFT", claims.ahead)(claims.World(frame))
    assert found.verdict == PART
    assert "rn18-timm: +" in found.evidence
    assert "vitb32-clip: −" in found.evidence


def test_data_sets_of_which_one_method_has_no_run_are_left_out():
    both, one = grid({"FS": 0.9, "LP": 0.6}), grid({"FS": 0.1}, datasets=("sun397",))
    alone = claims.grid_pair("FS", "LP", claims.ahead)
    assert alone(claims.World(pd.concat([both, one]))) == alone(claims.World(both))
    assert alone(claims.World(one)) == (OPEN, claims.NOT_RUN)


def test_what_was_not_run_is_not_judged():
    for claim in CLAIMS:
        assert claims.judged(claim, claims.World(pd.DataFrame())) == ((OPEN, claims.NOT_RUN),) * 2


def test_each_claim_has_a_source_a_way_to_judge_it_and_what_would_change_it():
    assert len({claim.said for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert claim.grid or claim.photographs
        assert claim.source.startswith(("draft", "published", "this book"))
        assert claim.said.endswith(".")
        assert claim.change


def study(shares, model="net"):
    hard = np.random.default_rng(0).random((3, 400))
    found = [
        {"way": way, "rate": 1.0, "seed": seed, "share": 100.0, "chosen": [], "sparsity": 0.2, "masked": 100,
         "whole": 25, "predictions": predictions.pack((hard[seed] > share).astype(int).tolist())}
        for way, share in shares.items() for seed in range(3)
    ]  # fmt: skip
    return {
        "name": "birds", "model": model, "found": found, "judged": {"labels": predictions.pack([0] * 400), "test": "x"},
    }  # fmt: skip


def test_photographs_are_judged_network_by_network():
    ask = claims.photo_pair("FS all", "LP", claims.ahead)
    ahead, behind = study({"FS all": 0.9, "LP": 0.5}), study({"FS all": 0.5, "LP": 0.9}, "other")
    assert ask(claims.World(pd.DataFrame(), [ahead])).verdict == HOLDS
    assert ask(claims.World(pd.DataFrame(), [behind])).verdict == NOT
    assert ask(claims.World(pd.DataFrame(), [ahead, behind])).verdict == PART
    assert ask(claims.World(pd.DataFrame(), [study({"LP": 0.5})])).evidence == claims.NOT_RUN


def test_ranges_are_of_means_by_data_set():
    frame = grid({"FS": 0.9}).assign(sparsity=0.1)
    ask = claims.grid_range("sparsity", "FS", lambda means: bool(means.between(0.04, 0.36).all()), "{:.2f}".format)
    assert ask(claims.World(frame)) == (HOLDS, "rn18-timm: 0.10 to 0.10 (2 sets)")
    frame.loc[frame.dataset == "dtd", "sparsity"] = 0.5
    assert ask(claims.World(frame)).verdict == NOT
    assert claims._bits(study({"FS late": 0.5}), "FS late") == 2.0


def test_an_invariance_record_of_another_form_says_nothing():
    world = claims.World(pd.DataFrame(), invariance={"float64 both/differing": 0.0, "float32 both/differing": 0.25})
    assert "25 % of the mask bits differ in float32" in claims.invariant(world).evidence
    assert claims.invariant(replace(world, invariance={"other": 1.0})) == (OPEN, claims.NOT_RUN)


def test_the_studies_that_the_project_ships_answer_the_claims_on_photographs():
    world = claims.World(pd.DataFrame(), records.read(places.committed_folder("photographs")))
    told = [claims.judged(claim, world)[1] for claim in CLAIMS if claim.photographs]
    assert sum(found.evidence != claims.NOT_RUN for found in told) >= 7
    assert not any("nan" in found.evidence or math.isnan(len(found.evidence)) for found in told)


@pytest.mark.parametrize(("share", "beyond"), [(0.6, True), (0.85, False)])
def test_the_landing_figure_draws_each_network_and_says_what_lies_beyond_its_edge(share, beyond):
    frame = grid({"LP": 0.8, "FS": share, "FS-squared": 0.9, "FFT": 0.9}, models=("rn18-timm", "vitb32-clip"))
    studies = [study({"LP": 0.8, "FS late": 0.8, "FS-squared late": 0.9, "FFT late": 0.9})]
    figure = answer.answer(frame, studies)
    assert [axes.get_title(loc="left").split(",")[0] for axes in figure.axes] == [
        "characters and pieces of pictures", "photographs",
    ]  # fmt: skip
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "rn18-timm\n(stand-in)", "vitb32-clip\n(stand-in)",
    ]  # fmt: skip
    told = [text.get_text() for text in figure.axes[0].texts]
    assert told == (["−30", "−30"] if beyond else [])
    with pytest.raises(ValueError, match="run the grid"):
        answer.answer(pd.DataFrame(), [])
