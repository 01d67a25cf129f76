"""What is said before a grid starts: what is due, hours as the formula of the cost page has them, bytes."""

import json

import pytest

from submasking.experiments import cost, forecast, grid
from submasking.experiments.run import Run
from submasking.files import atomic
from submasking.records.names import MODELS
from submasking.records.places import committed_folder

ONE = dict.fromkeys(MODELS, 0.001)


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    return tmp_path


def answer(folder, **changed):
    """A file as `submasking check --profile paper --json` prints it."""
    steps = [{"model": model, "dataset": name, "seconds": x} for model in MODELS for name, x in (("dtd", 1), ("", 3))]
    said = {
        "steps": [*steps, {"model": MODELS[0], "dataset": "", "error": "full"}],
        "batch": 64,
        "device": {"name": "cuda:0"},
    }
    file = folder / "answer.json"
    file.write_text(json.dumps(said | changed))
    return file


def test_the_paper_s_hours_are_those_of_the_steps(tmp_path):
    runs = grid.runs("paper")
    lines = list(forecast.told(runs, forecast.checked_steps(answer(tmp_path))))
    total = sum(cost.hours(dict.fromkeys(MODELS, 2.0), 64).values())
    assert lines[0] == f"{len(runs)} of {len(runs)} runs are due"
    assert lines[1].startswith(f"{total:,.1f} hours of cuda:0, the longest run ")
    assert len(lines) == 3


def test_a_run_that_is_done_is_not_due_and_one_of_another_recipe_is():
    runs, shipped = grid.runs("tiny"), committed_folder("tiny")
    done, old = runs[:2]
    atomic.write(done.record_file, (shipped / done.record).read_text())
    record = json.loads((shipped / old.record).read_text())
    atomic.write(old.record_file, json.dumps(record | {"recipe": record["recipe"] | {"neighbours": 1}}))
    assert forecast.due(runs) == runs[1:]


def test_what_nobody_has_measured_is_said():
    assert list(forecast.told([Run("smoke", "rn18-timm", "dtd", "LP")])) == [
        "1 of 1 runs are due", "of 1 runs nothing is known beforehand",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch": None}, r"check must be a file that `submasking check .* is not \(TypeError"),
        ({"steps": 3}, "is not"),
        ({"steps": []}, "must hold a step of every network, .* has none of rn18-timm; run it again"),
    ],
)
def test_a_file_that_is_no_answer_is_refused(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        forecast.checked_steps(answer(tmp_path, **changed))


def test_a_cluster_is_asked_for_twice_the_time_and_for_no_more_than_a_day():
    run = Run("paper", "rn18-timm", "dtd", "FS")
    steps = forecast.Steps(ONE, 64, "a GPU")
    assert forecast.minutes(run, steps) == 10 + round(2 * cost.seconds(run, ONE, 64) / 60)
    assert forecast.minutes(run, forecast.Steps(dict.fromkeys(MODELS, 9.0), 64, "a slow GPU")) == forecast.DAY
    assert forecast.minutes(run, None) == forecast.DAY
