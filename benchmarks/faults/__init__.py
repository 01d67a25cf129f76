"""Faults that people report of such tools: `python -m benchmarks faults [--cases N]`. Never silently wrong.

Cases of twelve kinds are drawn at random and really tried, a twelfth of N of each. What comes out is compared with what
is known to be true: it is right, refused in one line with everything as it was before, or wrong, which includes every
error that is not one of ours. Two processes at a time, where a case needs them, are tried by the tests.
"""

import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.faults import hands, inputs, models, programs
from benchmarks.faults.trial import OUTCOMES, Situation, outcome

CASES = 2400
KINDS: dict[str, Mapping[str, Situation]] = {
    "what a run is on": inputs.IDENTITY,
    "what is saved is the model": models.SAVED,
    "checked before written": models.WRITTEN,
    "a bank follows its model": models.FOLLOWED,
    "one task after another": hands.NEXT,
    "other hands": hands.HANDS,
    "wrappers and their names": models.WRAPPED,
    "pictures": inputs.PICTURES,
    "files of weights": inputs.WEIGHTS,
    "killed, or two at a time": programs.KILLED,
    "text that looks like a number": inputs.WORDS,
    "what the command says": programs.SAID,
}


def measure(cases: int = CASES, seed: int = 0) -> list[dict[str, Any]]:
    """Try `cases` cases, at least one of each kind; one row per kind, and one for all.

    A row holds the names of the kind's situations, and those that went wrong.
    """
    rows = [_row(kind, max(1, cases // len(KINDS)), seed) for kind in KINDS]
    total = {name: sum(row[name] for row in rows) for name in ("cases", *OUTCOMES)}
    wrong = "; ".join(row["went_wrong"] for row in rows if row["went_wrong"])
    return [*rows, {"kind": "all", "tried": "", **total, "went_wrong": wrong}]


def _row(kind: str, cases: int, seed: int) -> dict[str, Any]:
    situations, found = KINDS[kind], Counter[str]()
    wrong = set()
    for number in range(cases):
        dice = Random(f"{seed} {kind} {number}")
        name = dice.choice(sorted(situations))
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said beside the result, which is what is judged here
            result = outcome(situations[name](dice, Path(folder)))
        found[result] += 1
        if result == "wrong":
            wrong.add(name)
    counts = {name: found[name] for name in OUTCOMES}
    return {
        "kind": kind,
        "tried": ", ".join(situations),
        "cases": cases,
        **counts,
        "went_wrong": ", ".join(sorted(wrong)),
    }
