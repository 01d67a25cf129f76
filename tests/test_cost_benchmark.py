"""The benchmark of the cost counts the same work however it is cut into jobs."""

import pytest

from benchmarks import cost
from submasking.experiments import grid
from submasking.experiments.schedule import makespan
from submasking.records.names import DATASETS, MODELS

SECONDS = {model: 0.5 + number / 4 for number, model in enumerate(MODELS)}


def test_notebooks_and_runs_are_the_same_work():
    runs, notebooks = cost.by_run(SECONDS), cost.by_notebook(SECONDS)
    assert len(runs) == len(grid.runs("paper"))
    assert makespan(notebooks, 1) == pytest.approx(makespan(runs, 1))
    assert makespan(runs, 8) <= makespan(notebooks, 8)
    assert makespan(runs, len(runs)) == max(job.seconds for job in runs.values())


def test_the_large_bank_has_each_data_set_equally_often():
    tasks = cost.bank()
    assert len({str(run) for run in tasks}) == cost.TASKS
    counts = {name: sum(run.dataset == name for run in tasks) for name in DATASETS}
    assert set(counts.values()) == {cost.TASKS // len(DATASETS)}


def test_rows_of_a_schedule_hold_to_its_bounds():
    for row in cost.schedules(SECONDS):
        assert row["longest"] <= row["hours"] + 0.1
        assert 0 < row["busy"] <= 1
