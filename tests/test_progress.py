import pytest

from submasking.experiments import grid, progress
from submasking.files import atomic


@pytest.fixture
def watch(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    return progress.Watch("smoke")


def test_nothing_done_gives_no_estimate(watch):
    assert watch.done() == (0, 0, 0.0)
    said = f"0 of {len(watch.runs)} runs, 0 of {len(watch.notebooks)} notebooks done (0 % of the work)"
    assert watch.line(0.0, 100.0) == said


def test_backbones_count_as_work(watch):
    for file in watch.backbones:
        atomic.write(file, "")
    count, _, share = watch.done()
    assert count == 0
    assert 0 < share < 1
    left = 10 * (1 - share) / share
    assert watch.line(0.0, 600.0).endswith(f"about {left:.0f} min left")


def test_the_estimate_speaks_of_what_was_done_since_watching_began(watch):
    for run in watch.runs:
        atomic.write(run.record_file, "")
    for file in watch.backbones[1:]:
        atomic.write(file, "")
    count, _, share = watch.done()
    assert count == len(grid.runs("smoke"))
    begun = share - progress.WORTH_AN_ESTIMATE
    left = 10 * (1 - share) / progress.WORTH_AN_ESTIMATE
    assert watch.line(begun - 1e-9, 600.0).endswith(f"about {left:.0f} min left")
    assert "left" not in watch.line(share - progress.WORTH_AN_ESTIMATE / 2, 600.0)


def test_a_whole_grid_has_nothing_left_and_one_without_its_analyses_much(watch):
    for file in [*watch.backbones, *(run.record_file for run in watch.runs)]:
        atomic.write(file, "")
    runs, notebooks = len(watch.runs), len(watch.notebooks)
    assert watch.done()[-1] < 0.9
    assert watch.line(0.0, 60.0).startswith(f"{runs} of {runs} runs, 0 of {notebooks} notebooks done")
    for file in watch.notebooks:
        atomic.write(file, "")
    said = f"{runs} of {runs} runs, {notebooks} of {notebooks} notebooks done (100 % of the work)"
    assert watch.line(0.0, 60.0) == said
