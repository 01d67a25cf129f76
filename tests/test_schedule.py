"""The simulated schedule: exact where it can be counted by hand, within Graham's bounds for any jobs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submasking.experiments.schedule import Job, makespan


@st.composite
def graphs(draw):
    """Jobs that wait for some of those before them."""
    jobs = {}
    for number in range(draw(st.integers(1, 12))):
        after = draw(st.sets(st.sampled_from(sorted(jobs)), max_size=3)) if jobs else set()
        jobs[f"job{number}"] = Job(draw(st.integers(0, 20)), tuple(after))
    return jobs


def chain(jobs, name):
    return jobs[name].seconds + max((chain(jobs, before) for before in jobs[name].after), default=0)


@given(graphs(), st.integers(1, 6))
def test_a_schedule_is_between_its_bounds(jobs, devices):
    total, longest = sum(job.seconds for job in jobs.values()), max(chain(jobs, name) for name in jobs)
    found = makespan(jobs, devices)
    assert max(longest, total / devices) <= found <= total / devices + longest * (1 - 1 / devices) + 1e-9
    assert makespan(jobs, 1) == total
    assert makespan(jobs, len(jobs)) == longest


def test_the_longest_comes_first():
    assert makespan({"a": Job(1), "b": Job(1), "c": Job(2)}, 2) == 2  # in the order of their names it would be 3
    assert makespan({"a": Job(3), "b": Job(1), "c": Job(4, ("b",))}, 1) == 8
    assert makespan({"a": Job(3), "b": Job(1), "c": Job(4, ("b",))}, 2) == 5


@pytest.mark.parametrize(
    ("jobs", "devices", "message"),
    [
        ({"a": Job(1)}, 0, "devices must be at least 1, got 0"),
        ({"a": Job(-1)}, 1, "'a' does not"),
        ({"a": Job(1, ("b",))}, 1, "'a' does not"),
        ({"a": Job(1, ("b",)), "b": Job(1, ("a",))}, 1, "in a circle"),
    ],
)
def test_what_is_no_schedule_is_refused(jobs, devices, message):
    with pytest.raises(ValueError, match=message):
        makespan(jobs, devices)
