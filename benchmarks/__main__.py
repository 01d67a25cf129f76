"""Measure, print and store tables of the masking library and of its files: `python -m benchmarks` (`make bench`).

Takes some minutes on two cores. Each table is kept as book/records/benchmarks/TABLE.json. `--peer FILE` puts another
implementation beside ours in the table step: FILE is Python with `prepare(model)` in it, which masks a timm model in
place, freezes the rest and returns the parameters to train.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import (
    bank,
    codec,
    cost,
    determinism,
    false_alarms,
    faults,
    flip_rates,
    fuzz,
    input_path,
    interruptions,
    memory,
    monitoring,
    probe,
    pythons,
    quick_start,
    readers,
    round_trips,
    same_grid,
    shelf,
    step,
    two_processes,
    whole_tasks,
    witness,
    world,
)
from benchmarks.machine import describe
from benchmarks.ways import WAYS, PeerError, peer
from submasking.files import atomic

Rows = list[dict[str, Any]]
RECORDS = Path(__file__).resolve().parents[1] / "book" / "records" / "benchmarks"


def store(name: str, rows: Rows) -> None:
    """Print a table and keep it as a record, with the machine it was measured on."""
    for row in rows:
        print("  ".join(f"{value!s:>20}" if key == "way" else f"{key} {value}" for key, value in row.items()))
    record = {
        "schema": 1,
        "name": name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": describe(),
        "rows": rows,
    }
    atomic.write(RECORDS / f"{name}.json", json.dumps(record, indent=1) + "\n")


def read(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments; what is wrong with them ends the program."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE",
        help=f"{', '.join(TABLES)} (default: all but {', '.join(LONG)}; {', '.join(OF_A_GRID)} need make grid,"
        f" {_needs()})",
    )  # fmt: skip
    parser.add_argument(
        "--authors", type=Path, metavar="FILE", help="the authors' submasking.py, for the table witness"
    )
    parser.add_argument(
        "--python", type=Path, metavar="FILE", action="append", default=[],
        help="an interpreter for the table pythons; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--grids", nargs="+", metavar="NAME=FOLDER", help="results of profile smoke, for the table same_grid"
    )
    parser.add_argument(
        "--tasks", nargs="+", metavar="FILE=FOLDER[=WEIGHTS]",
        help="mask files with their photographs, and weights where no package brings them, for whole_photographs",
    )  # fmt: skip
    parser.add_argument("--peer", type=Path, metavar="FILE", help="another implementation for the table step")
    parser.add_argument(
        "--cases", type=int, metavar="N", default=faults.CASES, help="cases in the table faults (%(default)s)"
    )
    parser.add_argument(
        "--files", type=int, metavar="N", default=fuzz.FILES, help="damaged files in the table fuzz (%(default)s)"
    )
    parser.add_argument(
        "--kills", type=int, metavar="N", default=interruptions.KILLS,
        help="of a grid, in the table kills (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, metavar="N", default=0, help="of the tables kills and mishaps (%(default)s)"
    )
    arguments = parser.parse_args(words)
    arguments.tables = arguments.tables or [
        table
        for table in TABLES
        if (table not in OF_A_GRID or round_trips.folder().is_dir())
        and (table not in GIVEN or getattr(arguments, GIVEN[table][0]))
        and table not in LONG
    ]
    unknown = set(arguments.tables) - set(TABLES)
    if unknown:
        parser.error(f"tables are {', '.join(TABLES)}; got {', '.join(sorted(unknown))}")
    for option, least in (("files", 1), ("cases", 1), ("kills", interruptions.LEAST)):
        if getattr(arguments, option) < least:
            parser.error(f"--{option} must be at least {least}; got {getattr(arguments, option)}")
    for table, (option, what) in GIVEN.items():
        given = getattr(arguments, option)
        if table in arguments.tables and not given:
            parser.error(f"the table {table} must have --{option} {what}; got none")
        if given and table not in arguments.tables:
            parser.error(f"--{option} belongs to the table {table}; got {', '.join(arguments.tables)}")
    if arguments.peer and "step" not in arguments.tables:
        parser.error(f"--peer belongs to the table step; got {', '.join(arguments.tables)}")
    return arguments


def measure(arguments: argparse.Namespace) -> None:
    """Measure and store the tables that are asked for."""
    for table, measured in TABLES.items():
        if table in arguments.tables:
            for name, rows in measured(arguments):
                store(name, rows)


def _steps(arguments: argparse.Namespace) -> Iterator[tuple[str, Rows]]:
    ways = {**WAYS, **({"peer": peer(arguments.peer)} if arguments.peer else {})}
    for case in step.CASES:
        yield f"step_{case.model}_{case.pixels}", step.measure(case, ways)


def _needs() -> str:
    return ", ".join(f"{table} --{option}" for table, (option, _) in GIVEN.items())


def _grid(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise same_grid.NotTwoError(f"--grids must be NAME=FOLDER, got {text!r}; such as hand=results/smoke")
    return name, Path(folder)


def _banks(arguments: argparse.Namespace) -> Iterator[tuple[str, Rows]]:
    yield "bank_tasks", bank.many()
    yield "bank_switch", bank.switching()


# by the name of a table what measures it: its records and their rows, one after the other
TABLES: dict[str, Callable[[argparse.Namespace], Iterable[tuple[str, Rows]]]] = {
    "step": _steps,
    "memory": lambda _: [("memory", [row for case in memory.CASES for row in memory.measure(*case)])],
    "monitoring": lambda _: [("monitoring", monitoring.measure())],
    "flip_rates": lambda _: [("flip_rates", flip_rates.measure())],
    "codec": lambda _: [("codec", codec.measure())],
    "bank": _banks,
    "cost": lambda _: cost.tables(),
    "shelf": lambda _: [("shelf", shelf.measure())],
    "quick_start": lambda _: [("quick_start", quick_start.measure())],
    "round_trips": lambda _: [("round_trips", round_trips.measure())],
    "whole_tasks": lambda _: [("whole_tasks", whole_tasks.measure())],
    "whole_photographs": lambda given: [("whole_photographs", whole_tasks.photographs(given.tasks))],
    "fuzz": lambda arguments: [("fuzz", fuzz.measure(arguments.files))],
    "readers": lambda _: [("readers", readers.measure())],
    "false_alarms": lambda _: [("false_alarms", false_alarms.measure())],
    "input_path": lambda _: [("input_path", input_path.measure())],
    "witness": lambda arguments: [("witness", witness.measure(witness.load(arguments.authors)))],
    "pythons": lambda arguments: [("pythons", pythons.measure(arguments.python))],
    "world": lambda _: [("world", world.measure())],
    "probe": lambda _: [("probe", probe.measure())],
    "faults": lambda arguments: [("faults", faults.measure(arguments.cases))],
    "two_processes": lambda _: [("two_processes", two_processes.measure())],
    "same_grid": lambda arguments: [("same_grid", same_grid.measure(dict(map(_grid, arguments.grids))))],
    "kills": lambda arguments: [("kills", interruptions.killed(arguments.kills, arguments.seed))],
    "mishaps": lambda arguments: [("mishaps", interruptions.mishaps(arguments.seed))],
    "determinism": lambda _: [("determinism", determinism.measure())],
}
# tables that compare with what one has: its option, and what that takes
GIVEN = {
    "witness": ("authors", "FILE, the authors' submasking.py"),
    "same_grid": ("grids", "NAME=FOLDER for each way, the first by hand"),
    "pythons": ("python", "FILE, an interpreter"),
    "whole_photographs": ("tasks", "FILE=FOLDER, a mask file and the images that it was learnt on"),
}
LONG = ("probe", "kills", "mishaps")  # only where they are named
OF_A_GRID = ("round_trips", "whole_tasks", "determinism", "kills", "mishaps")


def main(words: Sequence[str] | None = None) -> None:
    """Run the program; a peer that does not work, or no grid, ends it with one line and exit code 2."""
    arguments = read(words)
    torch.set_num_threads(os.cpu_count() or 1)  # make gives each program one, for the grid of experiments
    try:
        measure(arguments)
    except (PeerError, round_trips.NoGridError, same_grid.NotTwoError, whole_tasks.NoTaskError) as error:
        print(f"python -m benchmarks: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
