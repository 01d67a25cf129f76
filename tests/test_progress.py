import pytest

from submasking.experiments import grid, progress
from submasking.files import atomic


@pytest.fixture
def watch(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    return progress.Watch("smoke")


def test_nothing_done_gives_no_estimate(watch):
    assert watch.done() == (0, 0.0)
    assert watch.line(0.0, 100.0) == f"0 of {len(watch.runs)} runs done (0 % of the work)"


def test_backbones_count_as_work(watch):
    for file in watch.backbones:
        atomic.write(file, "")
    count, share = watch.done()
    assert count == 0
    assert 0 < share < 1
    left = 10 * (1 - share) / share
    assert watch.line(0.0, 600.0).endswith(f"about {left:.0f} min left")


def test_the_estimate_speaks_of_what_was_done_since_watching_began(watch):
    for run in watch.runs:
        atomic.write(run.record_file, "")
    for file in watch.backbones[1:]:
        atomic.write(file, "")
    count, share = watch.done()
    assert count == len(grid.runs("smoke"))
    begun = share - progress.WORTH_AN_ESTIMATE
    left = 10 * (1 - share) / progress.WORTH_AN_ESTIMATE
    assert watch.line(begun - 1e-9, 600.0).endswith(f"about {left:.0f} min left")
    assert "left" not in watch.line(share - progress.WORTH_AN_ESTIMATE / 2, 600.0)


def test_a_whole_grid_has_nothing_left(watch):
    for file in [*watch.backbones, *(run.record_file for run in watch.runs)]:
        atomic.write(file, "")
    assert watch.line(0.0, 60.0) == f"{len(watch.runs)} of {len(watch.runs)} runs done (100 % of the work)"
