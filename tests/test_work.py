"""What starts first: whatever has most after it."""

import heapq

import pytest

from submasking.experiments import grid, work
from submasking.records.names import MODELS


@pytest.mark.parametrize("profile", ["smoke", "tiny", "paper"])
def test_each_notebook_has_its_work_and_none_is_left_over(profile):
    names = {name for name, _ in grid.notebooks(profile).values()}
    assert names == set(work.BESIDE)
    left = work.until_the_end(profile)
    assert set(left) == set(grid.notebooks(profile)) | set(MODELS)
    for stem in grid.notebooks(profile):
        assert all(left[earlier] > left[stem] for earlier in grid.before(stem, profile))
        model = grid.notebooks(profile)[stem][1]["model"]
        assert model == "all" or left[model] > left[stem]


def test_two_cores_are_busy_to_the_end_of_the_embedded_grid():
    """A greedy schedule, as Snakemake's, takes hardly more than half of the work, and never less."""
    left = work.until_the_end("tiny")
    stems = grid.notebooks("tiny")
    made = {stem: work.beside(stem, "tiny") for stem in stems}
    for run, maker in grid.makers("tiny").items():
        made[maker] += work.of(run)
    takes = made | dict.fromkeys(MODELS, work.BACKBONE)
    needs = {stem: {*grid.before(stem, "tiny"), *{stems[stem][1]["model"]} - {"all"}} for stem in stems}
    needs |= {model: set() for model in MODELS}
    now, running, done = 0.0, [], set()
    while needs or running:
        while len(running) < 2 and (ready := [part for part, before in needs.items() if before <= done]):
            first = max(ready, key=lambda part: left[part])
            del needs[first]
            heapq.heappush(running, (now + takes[first], first))
        now, ended = heapq.heappop(running)
        done.add(ended)
    assert sum(takes.values()) / 2 <= now <= 1.03 * sum(takes.values()) / 2
