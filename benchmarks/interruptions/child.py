"""Work in a process that is forked from this one, which has loaded everything: it costs no start."""

import contextlib
import os
import secrets
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from benchmarks.interruptions.hook import sitecustomize as hook

POLL = 0.002  # seconds


class Child:
    """A process at work, used like `benchmarks.interruptions.program.Program`.

    Attributes:
        log: file of all that it says.
        told: file that says which file it was about to write when it stopped, see `hook`.
    """

    def __init__(
        self, work: Callable[[], object], place: Path, environment: Mapping[str, str] | None = None,
        stop: Mapping[str, object] | None = None,
    ) -> None:  # fmt: skip
        """Begin.

        Args:
            work: what it does; its exit code is what this returns, 1 where it raises.
            place: folder for its log.
            environment: what it is given beside this process's own.
            stop: "event", "folder", "number" and "delay" of `hook`; None lets it be.
        """
        name = secrets.token_hex(8)
        self.log, self.told, self.code = place / f"{name}.log", place / f"{name}.told", None
        self._process = os.fork()
        if not self._process:
            code = 1
            try:
                said = os.open(self.log, os.O_WRONLY | os.O_CREAT)
                os.dup2(said, 1)
                os.dup2(said, 2)
                os.environ.update(environment or {})
                torch.set_num_threads(1)  # as make has it
                if stop:
                    hook.install({**stop, "told": str(self.told)})
                code = int(work() or 0)  # type: ignore[call-overload]
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(code)

    def wait(self, seconds: float) -> bool:
        """Wait until it ends, stops amid writing, or the time is over; whether it is still at work."""
        end = time.monotonic() + seconds
        while not self._over() and not self.told.exists() and time.monotonic() < end:
            time.sleep(POLL)
        return not self._over()

    def end(self) -> int:
        """Wait until it has ended; returns its exit code."""
        while not self._over():
            time.sleep(POLL)
        assert self.code is not None
        return self.code

    def said(self) -> str:
        """All that it has said."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """Kill it -9."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        self.end()

    def _over(self) -> bool:
        if self.code is None:
            process, status = os.waitpid(self._process, os.WNOHANG)
            if process:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None
