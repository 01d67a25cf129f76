"""One grid of a profile at a time, one job a GPU, one training a file, by locks that go with the process that has them.

Snakemake's own lock is a file that stays behind a kill and then stops the next grid; these do not. All jobs of a grid
share theirs, on as many machines as there are.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from submasking.files import atomic

_held: list[IO[str]] = []  # open for as long as the process lives: closing a file lets go of its lock


def hold_grid(folder: Path) -> None:
    """Make this process the one that runs the grid in a folder, once no job of a killed grid is at work there.

    Half-written files of killed ones are removed, and a file whose time lies ahead gets the present one: Snakemake ends
    a job whose input is newer than what it has just written, as after a clock that went wrong.

    Args:
        folder: results of the profile; made where it is missing.

    Raises:
        ValueError: another process runs it, or the folder takes no files; nothing is changed then.
    """
    try:
        grid = _opened(folder, "grid")
        if not _alone(grid):
            with grid:
                grid.seek(0)
                raise ValueError(
                    f"a results folder must have one grid at work; process {grid.read().strip() or 'unknown'} is at"
                    f" work in {folder}; wait until it is done, or end it"
                )
        _held.append(grid)
        grid.truncate(0)
        os.write(grid.fileno(), f"{os.getpid()}\n".encode())
    except OSError as error:
        raise ValueError(
            f"a results folder must take files, {folder} does not ({error}); make room, or set SUBMASKING_RESULTS to"
            " another"
        ) from error
    with _opened(folder, "jobs") as jobs:
        if not _alone(jobs):
            print(f"a job of a killed grid is still at work in {folder}; waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(jobs, fcntl.LOCK_EX)
    atomic.sweep(folder)
    now = time.time()
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a notebook run by hand has put its file in place meanwhile
            if path.lstat().st_mtime > now:
                os.utime(path, follow_symlinks=False)


def hold_job(folder: Path) -> None:
    """Let a grid that starts in a folder wait for this process, which is a job of an earlier one."""
    jobs = _opened(folder, "jobs")
    fcntl.flock(jobs, fcntl.LOCK_SH)
    _held.append(jobs)


def hold_gpu() -> None:
    """Let this process see one GPU of the machine alone (CUDA_VISIBLE_DEVICES), which no other process has so.

    To be called before CUDA is used. All stays as it is where fewer than two can be seen (as in a job of a cluster,
    which was given its own), where every one is taken, and where SUBMASKING_DEVICE names the device.
    """
    gpus = [] if os.environ.get("SUBMASKING_DEVICE") else _gpus()
    for name in gpus if len(gpus) > 1 else ():
        # a folder of the machine, not of the results: several machines may share those
        file = _opened(_of_machine("gpus"), name.replace("/", "-"))
        if _alone(file):
            _held.append(file)
            os.environ["CUDA_VISIBLE_DEVICES"] = name
            return
        file.close()


@contextmanager
def holding_file(path: Path) -> Iterator[None]:
    """Be the one process of this machine that makes a file, for the length of a `with` block.

    Raises:
        ValueError: another one is about to; the block is not entered then.
    """
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    try:
        file = _opened(_of_machine("files"), name)
    except OSError:  # there is no room for locks, which is no reason not to work
        yield
        return
    with file:
        if not _alone(file):
            file.seek(0)
            raise ValueError(
                f"a file must be made by one process at a time; process {file.read().strip() or 'unknown'} is at work"
                f" on {path}; wait until it is done, or name another file"
            )
        with suppress(OSError):
            file.truncate(0)
            os.write(file.fileno(), f"{os.getpid()}\n".encode())
        yield


def _of_machine(what: str) -> Path:
    return Path(tempfile.gettempdir()) / f"submasking-{what}-{os.getuid()}"


def _gpus() -> list[str]:
    """Names of the GPUs that CUDA would show this process, as CUDA_VISIBLE_DEVICES takes them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        try:
            asked = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
            named = ",".join(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split())
        except (OSError, subprocess.CalledProcessError):
            named = ""
    return [name.strip() for name in named.split(",") if name.strip()]


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
