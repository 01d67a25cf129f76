"""How far a number may be trusted today: by its recipe, by the code since, by the machine that made it.

A record with another recipe than its run has now fails the build (`shelf`), so that what is shown is never that stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from bookext.shelf import Shelf
from submasking.records import surroundings
from submasking.records.results import Record

ROOMS = ("files", "records", "masking", "tasks", "learning", "worlds", "experiments")  # that a run goes through


class Fact(NamedTuple):
    """One line of the panel: `state` is "good", or "open" where a reader has to judge."""

    what: str
    state: str
    said: str


def facts(records: Sequence[Record], books: Shelf) -> list[Fact]:
    """What is known about runs: their parameters, the code since, and the machine."""
    return [_parameters(records, books), _code(records), _machine(records, books)]


def _parameters(records: Sequence[Record], books: Shelf) -> Fact:
    whose = "a run with these names would have today"
    if books.profile == "images":
        return Fact("Parameters", "open", "runs on folders of one's own are compared with no grid")
    return Fact("Parameters", "good", f"{_runs(records)} with the recipe that {whose}; the build fails on any other")


def _code(records: Sequence[Record]) -> Fact:
    commits = sorted({record.commit for record in records})
    changed = {commit: _changed(commit) for commit in commits}
    if any(files is None for files in changed.values()):
        return Fact("Code", "open", f"made at commit {', '.join(commits) or 'unknown'}, which this copy cannot look up")
    most = max(changed.values(), key=lambda files: len(files or ()), default=()) or ()
    if not most and not any(commit.endswith("+") for commit in commits):
        return Fact("Code", "good", f"made at commit {', '.join(commits)}; no file that a run goes through has changed")
    also = "; a + marks a tree with changes of its own" if any(commit.endswith("+") for commit in commits) else ""
    told = (
        f"made at commit {', '.join(commits)}{also}; up to {len(most)} files that a run goes through have changed "
        "since, which may or may not change a number: the command on the page of a run repeats it"
    )
    return Fact("Code", "open", told)


def _machine(records: Sequence[Record], books: Shelf) -> Fact:
    devices = ", ".join(sorted({record.device for record in records}))
    here = surroundings.packages()
    other = {
        f"{name} {version} (here {here[name]})"
        for record in records
        for name, version in record.versions.items()
        if name in here and here[name] != version
    }
    origin = "in your own run of the grid" if books.own else "elsewhere, and shipped with the project"
    differs = f"other versions than in this build: {', '.join(sorted(other))}" if other else "versions as in this build"
    return Fact("Machine", "open" if other or not books.own else "good", f"made {origin}, on {devices}; {differs}")


def _runs(records: Sequence[Record]) -> str:
    return "1 run" if len(records) == 1 else f"{len(records):,} runs"


@cache
def _changed(commit: str) -> tuple[str, ...] | None:
    return surroundings.changed_since(commit.removesuffix("+"), [f"src/submasking/{room}" for room in ROOMS])
