"""Keep a finished grid as the records that the project ships: `python -m submasking.experiments.keep` (`make records`).

Copies results/tiny/records to book/records/tiny, writes the table and the picture of the README from them, and keeps
what the live page shows.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import pandas as pd

from submasking.experiments import grid, live
from submasking.files import atomic
from submasking.files.remedies import line
from submasking.records import analyses, results
from submasking.records.names import DATASET_STAND_INS, DATASETS
from submasking.records.places import REPOSITORY, committed_folder, results_folder
from submasking.report import figures, frames, storage

MODEL = "rn18-timm"
METHODS = ("LP", "FS", "FS-squared", "FFT")
BEGIN, END = "<!-- made by `make records`: begin -->", "<!-- made by `make records`: end -->"


def readme_table(frame: pd.DataFrame) -> str:
    """Accuracy per data set and method for one model as a Markdown table, with n and the bits of a task below it.

    Args:
        frame: identity of each run beside its metrics and `submasking.report.storage.columns`.
    """
    part = frame[(frame.model == MODEL) & (frame.labels == 100)]
    lines = [
        "| data set (its stand-in) | " + " | ".join(METHODS) + " | weights off (FS) |",
        "|---" * (len(METHODS) + 2) + "|",
    ]
    for dataset in [name for name in DATASETS if name in set(part.dataset)]:
        rows = part[part.dataset == dataset]
        cells = [_cell(rows[rows.method == method].top1) for method in METHODS]
        off = rows[rows.method == "FS"].sparsity.mean()
        lines.append(
            f"| {dataset} ({DATASET_STAND_INS[dataset][0]}) | " + " | ".join(cells) + f" | {100 * off:.1f} % |"
        )
    count = int(part[part.method == "FS"].groupby("dataset").size().min())
    lines += [
        "",
        f"Top-1 accuracy, profile `tiny`, {MODEL}'s stand-in, n = {count}; FS-squared starts the scores from the"
        " squared weights.",
        _bits(frame[(frame.method == "FS") & (frame.labels == 100)]),
    ]
    return "\n".join(lines)


def update_readme(path: Path, frame: pd.DataFrame) -> None:
    """Replace what stands between the two markers; ValueError where a marker is missing."""
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{path.name} must contain the lines {BEGIN!r} and {END!r}; put them back")
    atomic.write(path, pattern.sub(lambda _: f"{BEGIN}\n{readme_table(frame)}\n{END}", text))


def keep(profile: str = "tiny") -> int:
    """Copy a profile's records into the book; returns their number.

    Raises:
        ValueError: the grid is not whole (grid.json is missing), or a record is damaged.
    """
    source = results_folder(profile)
    if not (source / grid.GRID).exists():
        raise ValueError(f"{source} must hold a whole grid, grid.json is missing: run `make grid` first")
    made = source / grid.GRID
    records, stale = grid.own(profile, results.read(source / "records"), grid.made_with(source))
    if stale:
        raise ValueError(f"the grid must be whole and of today; {stale[0].path} has another recipe: run `make grid`")
    target = committed_folder(profile)
    written = {results.write(record, target) for record in records}
    for model in {record.model for record in records}:
        for file in set((target / model).rglob("*-seed*.json")) - written:  # of a grid before
            file.unlink()
    recipes = analyses.read_by(records)
    for stem in grid.notebooks(profile):
        found = analyses.read(source / "records", stem)
        if found is not None and (old := analyses.stale(found, recipes)):
            raise ValueError(f"analysis {stem} must have read the grid's runs, {old[0]} is another: run `make grid`")
        if found is not None:
            analyses.write(found, target)
    atomic.write(target / grid.GRID, made.read_text(encoding="utf-8"))
    return len(records)


def main() -> int:
    """Keep the tiny grid, and renew the README's table and picture."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    try:
        count = keep()
        records = results.read(committed_folder("tiny"))
        frame = frames.to_frame(records).join(storage.columns(records))
        update_readme(REPOSITORY / "README.md", frame)
        picture = figures.methods(frame[(frame.model == MODEL) & (frame.labels == 100)])
        figures.save(picture, REPOSITORY / "book" / "images" / "methods.png")
        live.keep()
    except (ValueError, OSError) as error:
        print(f"records: {line(error)}", file=sys.stderr)
        return 1
    print(f"{count} records kept in book/records/tiny; README.md shows them")
    return 0


def _bits(masks: pd.DataFrame) -> str:
    """Bits per masked weight of each model: of the mask alone, and of all that a task stores."""
    by_set = masks.groupby(["model", "dataset"], sort=False)[["bits_coded", "bits_file"]].mean()
    mean = by_set.groupby("model", sort=False).mean()
    models = "; ".join(f"{row.Index} {row.bits_coded:.2f} and {row.bits_file:.2f}" for row in mean.itertuples())
    return (
        "Bits per masked weight, of a compressed mask alone and of the whole file of a task with norm statistics and"
        f" head (FS, mean over the data sets): {models}."
    )


def _cell(values: pd.Series) -> str:
    if values.empty:
        return "–"
    spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{spread}"


if __name__ == "__main__":
    sys.exit(main())
