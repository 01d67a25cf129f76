"""Measure, print and store tables of the masking library and of its files: `python -m benchmarks` (`make bench`).

Takes some minutes on two cores. `--peer FILE` puts another implementation beside ours, see `benchmarks.ways.peer`.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks import flip_rates, fuzz, memory, monitoring, step
from benchmarks.machine import describe
from benchmarks.ways import WAYS, peer

RECORDS = Path(__file__).resolve().parents[1] / "book" / "records" / "benchmarks"
TABLES = ("step", "memory", "monitoring", "flip_rates", "fuzz")


def store(name: str, rows: list[dict[str, Any]]) -> None:
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
    RECORDS.mkdir(parents=True, exist_ok=True)
    (RECORDS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Run the tables that are asked for, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("tables", nargs="*", default=TABLES, help=", ".join(TABLES))
    parser.add_argument("--peer", type=Path, help="Python file with prepare(model) -> parameters to train")
    parser.add_argument(
        "--files", type=int, default=fuzz.FILES, help="damaged files of the table fuzz (default: %(default)s)"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.tables) - set(TABLES)
    if unknown:
        parser.error(f"tables are {', '.join(TABLES)}; got {', '.join(sorted(unknown))}")
    ways = {**WAYS, **({"peer": peer(arguments.peer)} if arguments.peer else {})}
    if "step" in arguments.tables:
        for case in step.CASES:
            store(f"step_{case.model}_{case.pixels}", step.measure(case, ways))
    if "memory" in arguments.tables:
        store("memory", [row for case in memory.CASES for row in memory.measure(*case)])
    if "monitoring" in arguments.tables:
        store("monitoring", monitoring.measure())
    if "flip_rates" in arguments.tables:
        store("flip_rates", flip_rates.measure())
    if "fuzz" in arguments.tables:
        store("fuzz", fuzz.measure(arguments.files))


if __name__ == "__main__":
    main()
