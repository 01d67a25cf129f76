"""`submasking compare`: how alike the masks of several files are, beyond chance."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from submasking.commands.options import add_json, add_weights, place
from submasking.files import raw
from submasking.files.guesses import guesses
from submasking.files.raw import Raw
from submasking.tasks import stored
from submasking.tasks.similarity import overlap
from submasking.tasks.stored import Stored


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Compare the weights that tasks on one backbone switch off, pair by pair. overlap is the Jaccard"
        " index; corrected is 0 for masks that have no more in common than their sparsities, layer by layer and"
        " magnitude by magnitude, let expect, and 1 for the largest possible overlap; z counts standard deviations."
    )
    command.add_argument("files", type=place, nargs="+", help="two or more mask files")
    add_weights(command)
    add_json(command)


def run(given: argparse.Namespace) -> int:
    """Print a line per pair."""
    if len(given.files) < 2:
        raise ValueError("give at least two mask files to compare; got one")
    tasks = [stored.read(path) for path in given.files]
    weights = _weights(tasks, given.weights)
    with _without_scipy():
        off = [task.switched_off(weights) for task in tasks]
    values = {name: weights[name].floats() for name in set[str]().union(*off)}
    rows = []
    for first, second in itertools.combinations(range(len(tasks)), 2):
        found = overlap(off[first], off[second], values)
        rows.append({
            "first": str(given.files[first]),
            "second": str(given.files[second]),
            "overlap": found.jaccard,
            "corrected": found.corrected,
            "z": found.z,
            "off_in_both": found.both,
            "expected": found.expected,
        })  # fmt: skip
    if given.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'overlap':>8} {'corrected':>9} {'z':>9}  pair")
    for row in rows:
        print(f"{row['overlap']:8.4f} {row['corrected']:9.4f} {row['z']:9.1f}  {row['first']}  {row['second']}")
    return 0


@contextmanager
def _without_scipy() -> Iterator[None]:
    """Spare numba, which decodes masks, all of scipy.linalg: it looks there for a BLAS that no kernel calls.

    Of the processor time of comparing two masks of a million weights that is about a twentieth.
    """
    absent = "scipy" not in sys.modules
    if absent:
        sys.modules["scipy"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules["scipy"]


def _weights(tasks: list[Stored], path: Path | None) -> dict[str, Raw]:
    """The weights that all these tasks belong to.

    A weights file that holds just the backbone, or the backbone and a classifier, is recognised by the tasks'
    fingerprint; only otherwise is the network built, which takes torch and its library's time to import.

    Raises:
        ValueError: they belong to another backbone, or it cannot be built.
    """
    for tensors in guesses(path, next(iter(tasks[0].shapes))) if path is not None else ():
        if all(task.fits(tensors) for task in tasks):
            return tensors
    from submasking.commands.backbone import backbone_of

    built = {name: raw.of(value) for name, value in backbone_of(tasks[0], path).trunk.state_dict().items()}
    for task in tasks:
        task.require(built)
    return built
