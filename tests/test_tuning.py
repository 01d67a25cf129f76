"""The page on learning rates, with a record of some searches and with one of all."""

import json

import pytest
from bookext import tuning as page

from benchmarks import learning_rates
from submasking.report import tuning


def searched(searches):
    """Made-up trials: of each search the last rate wins, with the highest head's rate where `edge` says so."""
    entries = []
    for each in searches:
        metric = tuning.judged_by(each.method)
        for power, head in ((0, 1), (1, 1), (2, 0.3), (2, 1), (2, 3)):
            score = power / 10 + (head == 1) / 100
            entries += [
                {
                    "method": each.method, "model": each.model, "labels": each.labels, "dataset": dataset,
                    "lr": each.begin * 3**power, "head_lr": each.head * head, "metrics": {metric: score},
                    "train_s": 36.0,
                }
                for dataset in each.datasets
            ]  # fmt: skip
    return entries


@pytest.fixture
def record(tmp_path):
    def write(entries):
        path = tmp_path / "learning_rates.json"
        path.write_text(json.dumps(entries))
        return path

    return write


SOME = [each for each in learning_rates.SEARCHES if each.model in ("rn18-timm", "rn50-swav") and each.labels]


def test_a_record_of_some_searches_says_what_was_not_searched(record):
    texts = page.texts(record(searched(SOME)))
    assert texts["models"] == (
        "Not searched yet: rn50-timm, rn50-torch, rn50-clip and vitb32-clip, for which what was found for rn50-swav is"
        " used."
    )
    assert "were not searched" in texts["unlabelled"]
    assert "those without labels" in texts["rates"]
    assert "not searched anew" in texts["limits"]
    assert texts["budget"] == "5"
    assert texts["hours"] == f"about {len(SOME) * 10 * 36 / 3600:.1f} hours"


def test_a_record_of_all_searches_leaves_no_gap(record):
    path = record(searched(learning_rates.SEARCHES))
    assert page.texts(path)["models"] == "Every model was searched."
    assert "linear probe" in page.texts(path)["unlabelled"]
    assert page.texts(path)["rates"] == "rates come from validation images"
    assert "searched like all others" in page.texts(path)["limits"]
    assert len(page.table(path)) == 1 + len(learning_rates.SEARCHES)
    assert ("rn50-swav", "none", "SSM", "56.7", "0.6", "0.210", "0.200", "5") in page.table(path)


@pytest.mark.parametrize("searches", [SOME, learning_rates.SEARCHES])
def test_there_is_a_panel_for_each_model_and_share_of_the_labels(record, searches):
    figure = tuning.curves(tuning.trials(record(searched(searches))))
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    wanted = {tuning.TITLES[each.labels].format(model=each.model) for each in searches}
    assert sorted(titles) == sorted(wanted)


def test_controls_have_a_table_of_their_own(record):
    path = record(searched([*SOME, *learning_rates.CONTROLS]))
    rows = page.alone(path, "controls")
    assert len(rows) == 1 + len(learning_rates.CONTROLS)
    assert ("rn18-timm", "100 %", "0.0288", "0.203", "0.110", "3", "0.0032", "0.0288") in rows
    assert len(page.table(path)) == 1 + len(SOME)


def test_a_head_s_rate_at_an_end_is_told(record):
    entries = searched(SOME)
    assert page.texts(record(entries))["heads"].startswith("No head's rate that won is the lowest")
    for entry in entries:
        if (entry["method"], entry["model"], entry["labels"]) == ("FFT", "rn18-timm", 100.0) and entry["head_lr"] > 0.1:
            entry["metrics"]["top1"] = 0.9
    assert page.texts(record(entries))["heads"] == (
        "The head's rate that won is the lowest or the highest that was tried for FFT (rn18-timm, 100 %)."
    )
