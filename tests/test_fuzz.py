"""A sample of the damaged files of `python -m benchmarks fuzz`."""

import pytest

from benchmarks import fuzz


@pytest.fixture(scope="module")
def rows():
    return {row["damage"]: row for row in fuzz.measure(600, seed=1)}


def test_every_damaged_file_is_refused_or_unhurt(rows):
    """A stray exception, or a task that is not the original, would have come out of `measure`."""
    assert rows["all"]["files"] == 600
    for kind in ("flipped bits", "other length", "other header", "spliced"):
        assert rows[kind]["another task"] == 0
        assert rows[kind]["refused"] > 0.7 * rows[kind]["files"]


def test_a_lie_under_a_right_checksum_is_never_more_than_another_task(rows):
    row = rows["lying, checksum right"]
    assert row["refused"] > 0.3 * row["files"]


def test_a_reader_that_does_not_look_would_be_caught(monkeypatch):
    monkeypatch.setattr(fuzz.container, "fingerprint", lambda tensors: "00" * 32)
    with pytest.raises(AssertionError, match="was read as another task"):
        fuzz.measure(400, seed=0)
