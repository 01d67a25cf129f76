"""{benchmark-table}: a table of benchmarks/ as `make bench` stored it, with the machine it was measured on.

{benchmark}`step_resnet50_32 masks ratio` is one number of it, by a text of its row and the key of its column.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from docutils import nodes
from sphinx.addnodes import tabular_col_spec
from sphinx.util.docutils import SphinxDirective

from bookext import shelf
from bookext.expressions import Number
from bookext.roles import NumberRole
from bookext.settings import plain

LONG = 60  # letters
# in print: in a table of more columns than this, headings of more letters than this are broken into lines
MANY, WIDE, NARROW = 5, 11, r">{\raggedright\arraybackslash}p{1.35cm}"
Column = tuple[str, str, Callable[[Any], str]]  # key of a row, heading, how a value is printed


def _spoken(tests: str) -> str:
    """Names of tests in words, which a narrow cell can break; their files are left out."""
    return ", ".join(
        one.rpartition("::")[2].removeprefix("test_").replace("_", " ").replace("[", " [") for one in tests.split(", ")
    )


CASE: tuple[Column, ...] = (("model", "model", str), ("pixels", "pixels", str), ("batch", "batch", str))
_WHOLE: tuple[Column, ...] = (
    ("exact", "coded", "{:.0%}".format),
    ("rounded", "rounded and coded", "{:.0%}".format),
    ("largest", "the largest", "{:.0%}".format),
    ("bits_plain", "bits per masked weight", "{:.2f}".format),
    ("bits_rounded", "when rounded", "{:.2f}".format),
    ("images", "test images", "{:,}".format),
    ("changed", "other class", str),
    ("moved", "a logit moves by at most", "{:.4f}".format),
)
COLUMNS: dict[str, tuple[Column, ...]] = {
    "step": (
        ("way", "training", str),
        ("seconds", "seconds a step", "{:.3f}".format),
        ("ratio", "ratio", "{:.2f}".format),
    ),
    "memory": (
        *CASE,
        ("way", "training", str),
        ("peak_mib", "peak, MiB", "{:.0f}".format),
        ("spread_mib", "spread, MiB", "{:.0f}".format),
        ("copies", "copies of the weights more", "{:+.2f}".format),
    ),
    "monitoring": (
        *CASE,
        ("step_seconds", "seconds a step", "{:.3f}".format),
        ("reading_seconds", "seconds a reading", "{:.3f}".format),
        ("every", "read every", str),
        ("share", "share of training", "{:.2%}".format),
    ),
    "flip": (
        ("model", "backbone", str),
        ("wanted", "wanted flips a step", "{:.0e}".format),
        ("lr", "rate found", "{:g}".format),
        ("found", "flips a step at that rate", "{:.1e}".format),
    ),
    "codec": (
        ("model", "network", str),
        ("weights", "weights", "{:,}".format),
        ("off", "share off", "{:.0%}".format),
        ("coder", "coder", str),
        ("bits", "bits a weight", "{:.3f}".format),
        ("above_ideal", "above ideal", lambda share: "" if share is None else f"{share:.1%}"),
        ("coding", "coded, million/s", "{:.1f}".format),
        ("decoding", "decoded, million/s", "{:.1f}".format),
    ),
    "bank_tasks": (
        ("tasks", "tasks", "{:,}".format),
        ("weights", "masked weights", "{:,}".format),
        ("mask_bytes", "bytes of a mask", "{:,}".format),
        ("task_bytes", "with buffers and head", "{:,}".format),
        ("resident_task_bytes", "memory a task takes", "{:,}".format),
        ("resident_mib", "whole process, MiB", "{:.0f}".format),
        ("switch_ms", "switch, ms", "{:.2f}".format),
    ),
    "shelf": (
        ("model", "model", str),
        ("tasks", "tasks", "{:,}".format),
        ("file_bytes", "bytes of a file", "{:,}".format),
        ("folder_gb", "that many different ones, GB", "{:.1f}".format),
        ("open_ms", "opened, ms", "{:.0f}".format),
        ("first_ms", "first use, ms", "{:,.0f}".format),
        ("again_ms", "used again, ms", "{:.1f}".format),
        ("held", "in memory", str),
        ("uses", "used", str),
        ("full_mib", "process when full, MiB", "{:.0f}".format),
        ("end_mib", "at most after, MiB", "{:.0f}".format),
    ),
    "bank_switch": (
        ("model", "model", str),
        ("layout", "layout in memory", str),
        ("weights", "masked weights", "{:,}".format),
        ("switch_ms", "switch, ms", "{:.1f}".format),
        ("copy_ms", "plain copy, ms", "{:.1f}".format),
        ("ratio", "ratio", "{:.2f}".format),
    ),
    "quick": (
        ("command", "command", str),
        ("seconds", "processor seconds", "{:.2f}".format),
        ("ratio", "ratio to importing torch", "{:.2f}".format),
    ),
    "round_trips": (
        ("model", "backbone", str),
        ("files", "files", str),
        ("weights", "weights", "{:,}".format),
        ("same_bits", "same bits", str),
        ("same_outputs", "same outputs", str),
        ("with_head", "with a head", str),
        ("same_top1", "same accuracy", str),
    ),
    "whole_tasks": (("model", "backbone", str), *_WHOLE),
    "whole_photographs": (("model", "photographs", str), *_WHOLE),
    "fuzz": (
        ("damage", "damage", str),
        ("files", "files", "{:,}".format),
        ("refused", "refused", "{:,}".format),
        ("unhurt", "read, unhurt", "{:,}".format),
        ("another task", "read as another task", "{:,}".format),
        ("longest_ms", "longest, ms", "{:.0f}".format),
    ),
    "readers": (
        ("reader", "kind of file", str),
        ("files", "files", "{:,}".format),
        ("refused", "refused", "{:,}".format),
        ("read", "read", "{:,}".format),
        ("longest_ms", "longest, ms", "{:.0f}".format),
    ),
    "cost_steps": (
        ("model", "network", str),
        ("weights", "masked weights", "{:,}".format),
        ("batch", "images a step", str),
        ("seconds", "seconds a step", "{:.2f}".format),
        ("runs", "runs", str),
        ("hours", "hours of its runs", "{:,.0f}".format),
        ("gb", "task files, GB at most", "{:.2f}".format),
    ),
    "cost_schedule": (
        ("work", "work", str),
        ("devices", "devices", str),
        ("jobs", "jobs", "{:,}".format),
        ("hours", "hours", "{:,.0f}".format),
        ("longest", "longest job, hours", "{:,.0f}".format),
        ("busy", "devices at work", "{:.0%}".format),
        ("gb", "task files, GB at most", "{:.1f}".format),
    ),
    "cost_witness": (
        ("devices", "jobs at once", str),
        ("jobs", "jobs", str),
        ("simulated", "simulated, s", "{:.1f}".format),
        ("clock", "by the clock, s", "{:.1f}".format),
        ("idle", "with jobs that take no time, s", "{:.1f}".format),
        ("ratio", "the difference to the simulated", "{:.2f}".format),
    ),
    "two_processes": (
        ("way", "network, numbers, norms", str),
        ("weights", "masked weights", "{:,}".format),
        ("steps", "steps", str),
        ("off", "off at the end", "{:.1%}".format),
        ("differing", "bits that differ", "{:,}".format),
        ("distance", "largest distance of a score, beside the largest score", "{:.0e}".format),
    ),
    "same_grid": (
        ("way", "how it was made", str),
        ("runs", "runs", str),
        ("same", "same records", str),
        ("masks", "mask files", str),
        ("same_masks", "same masks", str),
    ),
    "zero_shot": (
        ("way", "how it is read", str),
        ("images", "pictures", str),
        ("size", "side in pixels", str),
        ("accuracy", "accuracy", "{:.3f}".format),
    ),
    "input_path": (
        ("way", "way", str),
        ("pictures", "pictures", str),
        ("a_second", "pictures a second", "{:.0f}".format),
        ("ratio", "ratio to the better plain loader", "{:.2f}".format),
    ),
    "pythons": (
        ("python", "Python", str),
        ("system", "system", str),
        ("torch", "torch", lambda version: version.partition("+")[0]),
        ("numpy", "numpy", str),
        ("passed", "tests passed", str),
        ("failed", "failed", str),
        ("names", "which failed", _spoken),
    ),
    "witness": (
        ("way", "network, numbers, rescaling", str),
        ("weights", "masked weights", "{:,}".format),
        ("steps", "steps", str),
        ("equal_steps", "steps with equal masks", str),
        ("differing", "bits that differ at the end", "{:.4%}".format),
        ("sparsity", "off at the end", "{:.1%}".format),
        ("ratio_authors", "their step to ours", "{:.2f}".format),
    ),
    "world": (
        ("way", "data set", str),
        ("classes", "classes", str),
        ("train", "training images", "{:,}".format),
        ("test", "test images", "{:,}".format),
        ("repeated", "repeated", "{:.0%}".format),
        ("floor", "nearest pixels", "{:.3f}".format),
        ("chance", "chance", "{:.3f}".format),
    ),
    "probe": (
        ("way", "network and set", str),
        ("classes", "classes", lambda count: "" if count is None else str(count)),
        ("usual", "as published", "{:.3f}".format),
        ("exact", "at its minimum", "{:.3f}".format),
        ("searched", "as in the tables", "{:.3f}".format),
        ("gained", "the search is worth, points", "{:+.1f}".format),
        ("ahead", "masks ahead, points", "{:+.1f}".format),
        ("before", "ahead of the published, points", "{:+.1f}".format),
    ),
    "false_alarms": (
        ("seeds", "seeds", str),
        ("noise", "noise of a run, points", lambda share: f"{100 * share:g}"),
        ("alarms", "false alarms", "{:.1%}".format),
        ("alarms_most", "at most", "{:.1%}".format),
        ("family", "any in eight sets, Holm", "{:.1%}".format),
        ("two_errors", "beyond two standard errors of the seeds", "{:.1%}".format),
        ("seen_1", "1 point seen", "{:.0%}".format),
        ("seen_2", "2 points seen", "{:.0%}".format),
        ("seen_5", "5 points seen", "{:.0%}".format),
    ),
    "faults": (
        ("kind", "kind", str),
        ("cases", "cases", "{:,}".format),
        ("right", "right", "{:,}".format),
        ("refused", "refused in a line", "{:,}".format),
        ("wrong", "wrong", "{:,}".format),
        ("tried", "what was tried", str),
    ),
    "kills": (
        ("program", "what was killed", str),
        ("moment", "when", str),
        ("times", "times", str),
        ("right", "right", str),
        ("wrong", "wrong", str),
    ),
    "mishaps": (
        ("program", "what happened", str),
        ("moment", "how", str),
        ("times", "times", str),
        ("right", "right", str),
        ("wrong", "wrong", str),
    ),
    "determinism": (
        ("way", "what is changed", str),
        ("records", "records", str),
        ("same_records", "same", str),
        ("masks", "mask files", str),
        ("same_masks", "same", str),
        ("bits", "mask bits that differ", "{:.3%}".format),
        ("predictions", "images given another class", "{:.2%}".format),
        ("accuracy", "an accuracy moves by at most", "{:.3f}".format),
    ),
}


class BenchmarkTable(SphinxDirective):
    """A stored benchmark by its name, and one line on where and when it was measured."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        path = shelf.BENCHMARKS / f"{name}.json"
        if not path.exists():
            known = ", ".join(sorted(file.stem for file in shelf.BENCHMARKS.glob("*.json")))
            raise self.error(f"benchmark must be one of {known}; got {name!r}; `make bench` makes them")
        self.env.note_dependency(str(path))
        record = json.loads(path.read_text(encoding="utf-8"))
        columns = columns_of(name)
        head = [heading for _, heading, _ in columns]
        rows = [[show(row[key]) for key, _, show in columns] for row in record["rows"]]
        spec = "".join(
            NARROW if len(columns) > MANY and len(heading) > WIDE else _column([row[key] for row in record["rows"]])
            for key, heading, _ in columns
        )
        before = nodes.raw("", "\\begingroup\\footnotesize", format="latex")
        table = [before, tabular_col_spec(spec=spec), plain([head, *rows]), nodes.raw("", "\\endgroup", format="latex")]
        return [*table, nodes.paragraph("", source(record), classes=["behind"])]


def number(text: str) -> Number:
    """One number of a stored benchmark: its name, a text that one row alone has, the key of a column.

    Raises:
        ValueError: there is no such benchmark, row or column, or more than one such row.
    """
    name, _, rest = text.partition(" ")
    row_name, _, key = rest.rpartition(" ")
    path = shelf.BENCHMARKS / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in shelf.BENCHMARKS.glob("*.json")))
        raise ValueError(f"benchmark must be one of {known}; got {name!r}")
    shows = {column: show for column, _, show in columns_of(name)}
    if key not in shows:
        raise ValueError(f"column must be one of {', '.join(shows)}; got {key!r}")
    record = json.loads(path.read_text(encoding="utf-8"))
    rows = [row for row in record["rows"] if row_name in row.values()]
    if len(rows) != 1:
        raise ValueError(f"one row of {name} must have the text {row_name!r}; {len(rows)} have it")
    return Number(shows[key](rows[0][key]), f"{row_name}, {key}; {source(record)}", (path,))


def _column(values: list[Any]) -> str:
    """How LaTeX sets a column: numbers to the right, text to the left, broken into lines where it is long."""
    if not isinstance(values[0], str):
        return "r"
    return "l" if max(map(len, values)) < LONG else "p{0.38\\linewidth}"


def columns_of(name: str) -> tuple[Column, ...]:
    """Columns of a benchmark: its own, or those of all whose names begin alike."""
    return COLUMNS.get(name) or COLUMNS[name.partition("_")[0]]


def source(record: dict[str, Any]) -> str:
    """Where and when a benchmark was measured."""
    machine = record["machine"]
    return (
        f"Measured {record['created'][:10]} on {machine['cores']} cores ({machine['processor']}), "
        f"{machine['threads']} threads, torch {machine['torch'].partition('+')[0]}, GPU: {machine['gpu'] or 'none'}, "
        f"load at the end {machine['load']:g}."
    )


def setup(app: Any) -> None:
    app.add_directive("benchmark-table", BenchmarkTable)
    app.add_role("benchmark", NumberRole("benchmark", lambda text, books: number(text)))
