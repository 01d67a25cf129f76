import numpy as np
import pandas as pd
import pytest

from submasking.report import verdicts


def frame(values, labels=100.0, **extra):
    rows = [
        {"profile": "tiny", "dataset": dataset, "method": method, "labels": labels, "seed": seed, "top1": top1} | extra
        for (dataset, method), accuracies in values.items()
        for seed, top1 in enumerate(accuracies)
    ]
    return pd.DataFrame(rows)


PAIR = (("FS", "LP"),)


def one(values, **extra):
    return verdicts.compare(frame(values, **extra), PAIR).set_index("dataset").loc["dtd"]


def test_a_difference_within_the_spread_is_not_clear():
    found = one({("dtd", "FS"): [0.5, 0.7, 0.6], ("dtd", "LP"): [0.58, 0.58, 0.58]})
    assert found.value == pytest.approx(0.02)
    assert not found.clear


def test_a_difference_beyond_the_spread_is_clear():
    assert one({("dtd", "FS"): [0.7, 0.71, 0.72], ("dtd", "LP"): [0.5, 0.5, 0.5]}).clear


def test_single_runs_are_never_clear():
    assert not one({("dtd", "FS"): [0.9], ("dtd", "LP"): [0.1]}).clear


def test_a_run_that_no_seed_changes_stands_for_all():
    values = {("dtd", "FS"): [0.7, 0.71, 0.72], ("dtd", "LP"): [0.5]}
    assert one(values, fixed=True).clear
    assert one(values, fixed=False).seeds == 1


def test_what_is_printed_together_is_adjusted_together():
    values = {(name, "FS"): [0.7, 0.71, 0.715] for name in "abcdefgh"} | {
        (name, "LP"): [0.69] * 3 for name in "abcdefgh"
    }
    few, many = (frame({key: rows for key, rows in values.items() if key[0] in names}) for names in ("a", "abcdefgh"))
    assert verdicts.compare(few, PAIR).holm[0] * 8 == pytest.approx(verdicts.compare(many, PAIR).holm[0])


def test_two_runs_of_one_seed_are_not_averaged():
    twice = pd.concat([frame({("dtd", "FS"): [0.7, 0.8], ("dtd", "LP"): [0.5, 0.6]})] * 2)
    with pytest.raises(ValueError, match="must differ in their seed"):
        verdicts.compare(twice, PAIR)


def test_images_are_paired_where_records_know_them():
    right = np.random.default_rng(0).random((4, 50)) < 0.7
    values = {("dtd", "FS"): list(right[:2].mean(1)), ("dtd", "LP"): list(right[2:].mean(1))}
    known = frame(values, test="a").assign(right=[{"top1": row} for row in right])
    found = verdicts.compare(known, PAIR).iloc[0]
    assert (found.images, found.basis) == (50, "seeds and test images")
    known.loc[0, "test"] = "b"
    with pytest.raises(ValueError, match="same test images"):
        verdicts.compare(known, PAIR)


def test_the_sentence_counts_wins_ties_and_losses():
    values = {
        ("a", "FS"): [0.7, 0.701, 0.7], ("a", "LP"): [0.5, 0.5, 0.5],
        ("b", "FS"): [0.4, 0.401, 0.4], ("b", "LP"): [0.5, 0.5, 0.5],
        ("c", "FS"): [0.4, 0.6, 0.5], ("c", "LP"): [0.5, 0.5, 0.5],
    }  # fmt: skip
    found = verdicts.compare(frame(values), PAIR)
    text = verdicts.sentence(found, "FS", "LP")
    assert "over 3 data sets; 1 win, 1 tie, 1 loss." in text
    assert "+3.4 points" in text
    assert verdicts.score(found, "FS", "LP")[:4] == (["a"], ["c"], ["b"], [])
    assert verdicts.score(found, "LP", "FS")[:4] == (["b"], ["c"], ["a"], [])
    assert str(verdicts.score(found, "FS", "LP")) == "1 / 1 / 1"


def test_one_run_is_no_tie():
    alone = {("a", "FS"): [0.9], ("a", "LP"): [0.1], ("b", "FS"): [0.4], ("b", "LP"): [0.4]}
    found = verdicts.compare(frame(alone), PAIR)
    assert str(verdicts.score(found, "FS", "LP")) == "not tested: one run"
    assert verdicts.sentence(found, "FS", "LP").endswith("over 2 data sets; not tested: one run.")
    text = verdicts.label_sparsity(frame(alone))
    assert "tie" not in text
    assert "clear difference" not in text
    several = {("c", "FS"): [0.7, 0.701, 0.7], ("c", "LP"): [0.5, 0.5, 0.5]}
    found = verdicts.compare(frame(alone | several), PAIR)
    assert str(verdicts.score(found, "FS", "LP")) == "1 / 0 / 0 (2 not tested: one run)"
    assert verdicts.score(found, "FS", "LP").untested == ["a", "b"]
    assert verdicts.explain(found) == "t test over seeds at 5 %, Holm over 1 comparisons"


def test_several_runs_without_a_spread_are_no_tie_either():
    found = verdicts.compare(frame({("a", "FS"): [0.9, 0.9], ("a", "LP"): [0.1, 0.1]}), PAIR)
    assert str(verdicts.score(found, "FS", "LP")) == "not tested: no spread"


def test_a_comparison_finds_its_family():
    rows = frame({("a", "FS"): [0.5], ("a", "LP"): [0.4]})
    assert verdicts.family(rows, "LP", "FS")[1] == verdicts.FAMILIES["methods"]
    assert verdicts.family(rows, "FS", "LP", 10.0)[1] == verdicts.FAMILIES["labels"]
    assert verdicts.family(rows, "ZS", "LP")[1] == (("ZS", "LP"),)


def test_nothing_is_claimed_where_nothing_was_compared():
    text = verdicts.methods(frame({("a", "LP"): [0.5]}))
    assert "nothing to compare" in text
    assert "win" not in text


def test_the_bars_take_the_probe_of_the_asked_share():
    direct = frame({("a", "LP"): [0.3], ("a", "FS"): [0.4]}, labels=10.0)
    probed = frame({("a", "SSM"): [0.0]}, labels=0.0, **{"lp@10": 0.6, "lp@100": 0.8}).drop(columns="top1")
    bars = verdicts.label_bars(pd.concat([direct, probed]), 10.0)
    assert dict(zip(bars.method, bars.top1, strict=True)) == {"LP": 0.3, "FS": 0.4, "SSM+LP": 0.6}
