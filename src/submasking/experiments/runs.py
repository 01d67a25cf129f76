"""Runs, one or many: each becomes one record. Sections 4 and 5 of the paper.

A run whose record is there, with the same recipe, is not run again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from submasking.experiments.methods import METHODS, device
from submasking.experiments.run import Run
from submasking.files import atomic
from submasking.learning.device import described
from submasking.records import results
from submasking.records.places import results_folder
from submasking.records.results import Record
from submasking.records.surroundings import surroundings


def run(task: Run, *, notebook: dict[str, Any] | None = None, progress: bool = True) -> Record:
    """The record of `task`: read where it exists with the same recipe, else computed and written.

    Raises:
        FileNotFoundError: there is no such record and the environment variable SUBMASKING_READ_ONLY is set
            (the book build trains nothing).
    """
    recipe = task.recipe()
    if (known := results.known(task.record_file, recipe)) is not None:
        return known
    started = time.perf_counter()
    found = METHODS[task.method](task, progress)
    found["timings"]["total_s"] = time.perf_counter() - started
    record = Record(
        profile=task.profile,
        model=task.model,
        dataset=task.dataset_name,
        method=task.method,
        labels=task.labels,
        seed=task.seed,
        variant=task.variant,
        recipe=recipe,
        notebook=notebook or {},
        **found,
        **surroundings(described(device(task.profile))),
    )
    record = results.kept(record, results_folder(task.profile) / "records")
    task.checkpoint_file.unlink(missing_ok=True)  # not before: until here the training could be lost
    return record


def run_all(tasks: Iterable[Run], *, notebook: dict[str, Any] | None = None) -> list[Record]:
    """Run every task, one printed line each, past those that fail.

    Raises:
        RuntimeError: after the last task, naming every run that failed and why; at once where the disk takes no files.
    """
    tasks, records, started = list(tasks), [], time.perf_counter()
    failures: dict[str, list[Run]] = {}  # by what went wrong: what is wrong with all of them is said once
    for number, task in enumerate(tasks, 1):
        try:
            record = run(task, notebook=notebook, progress=False)
            records.append(record)
            outcome = "  ".join(f"{name} {value:.3f}" for name, value in sorted(record.metrics.items()))
        except Exception as error:  # one bad run must not cost the others
            failures.setdefault(f"{type(error).__name__}: {error}", []).append(task)
            outcome = f"FAILED: {error}"
            if isinstance(error, OSError) and error.errno in atomic.NO_ROOM:
                rest = f"; {len(tasks) - number} runs were not begun" if number < len(tasks) else ""
                raise RuntimeError(f"{task}: nothing can be written ({error}){rest}; make room and go on") from error
        left = (time.perf_counter() - started) / number * (len(tasks) - number)
        print(f"[{number}/{len(tasks)}, {left:.0f} s left] {task}: {outcome}", flush=True)
    if failures:
        failed = sum(map(len, failures.values()))
        told = [f"{first}{f' and {len(more)} more' if more else ''}: {why}" for why, (first, *more) in failures.items()]
        raise RuntimeError(f"{failed} of {len(tasks)} runs failed:\n" + "\n".join(told))
    return records
