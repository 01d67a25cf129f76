"""A sample of the faults of `python -m benchmarks faults`, and the record that the book shows."""

import json

import pytest

from benchmarks import __main__ as program
from benchmarks import faults
from benchmarks.faults.trial import OUTCOMES, Trial, outcome


def failing(error):
    def attempt():
        raise error

    return attempt


def test_the_record_in_the_book_has_every_kind_and_nothing_wrong():
    rows = {row["kind"]: row for row in json.loads((program.RECORDS / "faults.json").read_text())["rows"]}
    assert list(rows) == [*faults.KINDS, "all"]
    for kind, situations in faults.KINDS.items():
        assert rows[kind]["tried"] == ", ".join(situations)
        assert rows[kind]["cases"] == sum(rows[kind][name] for name in OUTCOMES) >= 10
        assert rows[kind]["wrong"] == 0
    assert rows["all"]["right"] > 0 < rows["all"]["refused"]


def test_the_command_tries_and_stores_them(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "RECORDS", tmp_path)
    monkeypatch.setattr(program.os, "cpu_count", lambda: 1)
    program.main(["faults", "--cases", "36"])
    rows = json.loads((tmp_path / "faults.json").read_text())["rows"]
    assert rows[-1]["cases"] == 36
    assert rows[-1]["wrong"] == 0, rows[-1]["went_wrong"]


def test_the_same_seed_gives_the_same_table(monkeypatch):
    monkeypatch.setattr(faults, "KINDS", {kind: faults.KINDS[kind] for kind in ("what a run is on", "pictures")})
    assert faults.measure(12, seed=3) == faults.measure(12, seed=3)


@pytest.mark.parametrize(
    ("attempt", "kept", "found"),
    [
        (lambda: True, True, "right"),
        (lambda: False, True, "wrong"),
        (failing(ValueError("this must be that, got another; do so")), True, "refused"),
        (failing(ValueError("this must be that, got another; do so")), False, "wrong"),
        (failing(ValueError("two lines\nthat go on and on")), True, "wrong"),
        (failing(ValueError("no")), True, "wrong"),
        (failing(ValueError("it is damaged: delete it and go on")), True, "wrong"),
        (failing(RuntimeError("mat1 and mat2 shapes cannot be multiplied")), True, "wrong"),
    ],
)
def test_a_case_is_right_or_refused_with_all_as_before_or_wrong(attempt, kept, found):
    assert outcome(Trial(attempt, lambda: kept)) == found
