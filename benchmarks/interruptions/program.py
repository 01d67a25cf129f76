"""A program with all that it starts, which can be killed whole, in part, or amid writing a file. Linux alone."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOOK = Path(__file__).parent / "hook"
MARK = "SUBMASKING_MARK"
POLL = 0.02  # seconds
JOB = b"submasking.experiments.job"  # the module, a word of its own: the shell that calls it has it inside one


class Program:
    """A started command.

    Attributes:
        log: file of all that it says.
        told: file that says which file it was about to write when it stopped, see `hook`.
    """

    def __init__(
        self, command: Sequence[object], place: Path, environment: Mapping[str, str] | None = None,
        stop: Mapping[str, object] | None = None, clock: float = 0.0,
    ) -> None:  # fmt: skip
        """Start a command.

        Args:
            command: its words.
            place: folder for its log; it runs there.
            environment: what it is given beside this process's own.
            stop: "event", "folder", "number" and "delay" of `hook`; None lets it be.
            clock: seconds that its clock is ahead, see `hook`.
        """
        name = secrets.token_hex(8)
        self._mark = f"{MARK}={name}".encode()
        self.log, self.told = place / f"{name}.log", place / f"{name}.told"
        paths = [str(ROOT / "src"), str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        given = {"SUBMASKING_STOP": json.dumps({**stop, "told": str(self.told)})} if stop else {}
        given |= {"SUBMASKING_CLOCK": str(clock)} if clock else {}
        given["PYTHONPATH"] = os.pathsep.join([str(HOOK), *paths] if given else paths)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command], cwd=place, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | given | dict(environment or {}) | {MARK: name},
            )  # fmt: skip

    def wait(self, seconds: float) -> bool:
        """Wait until it ends, stops amid writing, or the time is over; whether it is still at work."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and not self.told.exists() and time.monotonic() < end:
            time.sleep(POLL)
        return self.process.poll() is None

    def end(self) -> int:
        """Wait until it has ended; returns its exit code."""
        return self.process.wait()

    def said(self) -> str:
        """All that it has said."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def alive(self) -> list[int]:
        """Every process that belongs to it, also one that its parent left behind."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and self._mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:  # it has ended, or is another user's
                continue
        return found

    def kill(self) -> None:
        """Kill -9 the program and all that it has started, as a power cut does: none sees another one die."""
        while found := self.alive():
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for process in found:
                    _signal(process, number)
            self.process.poll()
            time.sleep(POLL)
        self.process.wait()

    def kill_first(self) -> None:
        """Kill -9 the process that was started, and nothing else."""
        _signal(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_job(self) -> bool:
        """Kill -9 one job of a grid, as a system without memory does; whether there was one."""
        for process in self.alive():
            try:
                words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if JOB in words:
                _signal(process, signal.SIGKILL)
                return True
        return False


def _signal(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def grid(results: Path, cores: int = 2) -> tuple[list[object], dict[str, str]]:
    """The command and environment of `make grid PROFILE=smoke` with results in another folder."""
    command: list[object] = [sys.executable, "-m", "snakemake", "--profile", ROOT / "profiles" / "machine"]
    command += ["--cores", cores, "--resources", f"gpu={cores}", "--snakefile", ROOT / "Snakefile"]
    command += ["--config", "profile=smoke"]
    return command, {"SUBMASKING_RESULTS": str(results)}
