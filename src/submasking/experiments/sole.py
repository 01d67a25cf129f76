"""One grid of a profile at a time, held by locks that the system itself lets go of when a process dies.

Snakemake's own lock is a file that stays behind a kill and then stops the next grid; these do not.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from typing import IO

_held: list[IO[str]] = []  # open for as long as the process lives: closing a file lets go of its lock


def hold_grid(folder: Path) -> None:
    """Make this process the one that runs the grid in a folder, once no job of a killed grid is at work there.

    Args:
        folder: results of the profile; made where it is missing.

    Raises:
        ValueError: another process runs it; nothing is changed then.
    """
    grid = _opened(folder, "grid")
    if not _alone(grid):
        with grid:
            grid.seek(0)
            raise ValueError(
                f"a results folder must have one grid at work; process {grid.read().strip() or 'unknown'} is at work in"
                f" {folder}; wait until it is done, or end it"
            )
    _held.append(grid)
    grid.truncate(0)
    grid.write(f"{os.getpid()}\n")
    grid.flush()
    with _opened(folder, "jobs") as jobs:
        if not _alone(jobs):
            print(f"a job of a killed grid is still at work in {folder}; waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(jobs, fcntl.LOCK_EX)


def hold_job(folder: Path) -> None:
    """Let a grid that starts in a folder wait for this process, which is a job of an earlier one."""
    jobs = _opened(folder, "jobs")
    fcntl.flock(jobs, fcntl.LOCK_SH)
    _held.append(jobs)


def _alone(file: IO[str]) -> bool:
    """Lock a file for this process, unless another one has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _opened(folder: Path, what: str) -> IO[str]:
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / f".{what}.lock").open("a+", encoding="utf-8")
