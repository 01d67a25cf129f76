import json
import math

import pytest

from submasking.records.results import Record
from submasking.report import compute
from submasking.report.compute import Work


def record(profile, **timings):
    return Record(profile, "m", "d", "FS", 100.0, 0, {}, {"top1": 0.5}, timings=timings)


def test_runs_are_counted_by_profile_and_hours_are_sums():
    records = [record("tiny", total_s=1800.0), record("images", total_s=36.0), record("tiny", total_s=5400.0)]
    assert compute.runs(records) == [Work("runs of profile tiny", 2, 2.0), Work("runs of profile images", 1, 0.01)]


def test_work_without_a_time_is_counted_and_adds_no_hours():
    (unknown,) = compute.runs([record("tiny", train_s=5.0)])
    assert unknown.number == 1
    assert math.isnan(unknown.hours)
    assert compute.hours([unknown, Work("", 1, 0.5), Work("", 1, 0.25)]) == 0.75


@pytest.mark.parametrize(("trials", "hours"), [([{"train_s": 3600}, {"total_s": 1800, "train_s": 9}], 1.5), ([], 0)])
def test_a_search_takes_the_whole_time_of_its_trials_where_it_is_kept(tmp_path, trials, hours):
    (tmp_path / "trials.json").write_text(json.dumps(trials))
    assert compute.search(tmp_path / "trials.json") == Work("trainings of the search for rates", len(trials), hours)


def test_energy_is_hours_at_the_power_that_is_assumed():
    assert compute.energy(1000 / compute.WATTS) == 1
