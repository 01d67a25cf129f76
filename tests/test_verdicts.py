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


def test_a_difference_within_the_spread_is_not_clear():
    found = verdicts.compare(frame({("dtd", "FS"): [0.5, 0.7, 0.6], ("dtd", "LP"): [0.58]}), "FS", "LP")
    assert found.difference["dtd"] == pytest.approx(0.02)
    assert not found.clear["dtd"]


def test_a_difference_beyond_the_spread_is_clear():
    found = verdicts.compare(frame({("dtd", "FS"): [0.7, 0.71, 0.72], ("dtd", "LP"): [0.5]}), "FS", "LP")
    assert found.clear["dtd"]


def test_single_runs_are_never_clear():
    found = verdicts.compare(frame({("dtd", "FS"): [0.9], ("dtd", "LP"): [0.1]}), "FS", "LP")
    assert not found.clear["dtd"]


def test_the_sentence_counts_each_side():
    values = {
        ("a", "FS"): [0.7, 0.7], ("a", "LP"): [0.5],
        ("b", "FS"): [0.4, 0.4], ("b", "LP"): [0.5],
        ("c", "FS"): [0.4, 0.6], ("c", "LP"): [0.5],
    }  # fmt: skip
    text = verdicts.sentence(frame(values), "FS", "LP")
    assert "3 data sets; clearly better on 1, clearly worse on 1, undecided on 1." in text
    assert "+3.3 points" in text


def test_nothing_is_claimed_where_nothing_was_compared():
    text = verdicts.methods(frame({("a", "LP"): [0.5]}))
    assert "nothing to compare" in text
    assert "clearly better" not in text


def test_the_bars_take_the_probe_of_the_asked_share():
    direct = frame({("a", "LP"): [0.3], ("a", "FS"): [0.4]}, labels=10.0)
    probed = frame({("a", "SSM"): [0.0]}, labels=0.0, **{"lp@10": 0.6, "lp@100": 0.8}).drop(columns="top1")
    bars = verdicts.label_bars(pd.concat([direct, probed]), 10.0)
    assert dict(zip(bars.method, bars.top1, strict=True)) == {"LP": 0.3, "FS": 0.4, "SSM+LP": 0.6}
