"""Programs that are killed, two at a time, or given what they cannot use."""

import contextlib
import io
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.faults.models import adapted
from benchmarks.faults.trial import Situation, Trial, clear
from submasking.commands.cli import main
from submasking.experiments import sole
from submasking.files import atomic
from submasking.tasks import maskfile


def _started(work: Callable[[], None]) -> int:
    """A process of its own that works until it is killed, or for a minute."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            work()
            time.sleep(60)
        os._exit(0)
    return child


def _killed(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def locked(*, killed: bool) -> Situation:
    """A grid that holds its folder, killed or not, and a second one."""

    def situation(dice: Random, folder: Path) -> Trial:
        grid, said = folder / "results", folder / "said"

        def attempt() -> bool:
            held = grid / ".grid.lock"
            first = _started(lambda: sole.hold_grid(grid))
            while not (held.exists() and held.read_text().endswith("\n")):
                time.sleep(0.01)
            if killed:
                _killed(first)
            second = _started(lambda: _hold_and_say(grid, said))
            while not said.exists():
                time.sleep(0.01)
            for child in (second,) if killed else (first, second):
                _killed(child)
            if refusal := said.read_text():
                raise ValueError(refusal)
            return killed

        return Trial(attempt, lambda: not killed)

    return situation


def _hold_and_say(folder: Path, said: Path) -> None:
    refusal = ""
    try:
        sole.hold_grid(folder)
    except ValueError as error:
        refusal = str(error)
    atomic.write(said, refusal)


def interrupted(dice: Random, folder: Path) -> Trial:
    """A process that writes one file again and again, killed at any moment."""
    path, old, new = folder / "file", b"a" * 50_000, b"b" * 70_000

    def work() -> None:
        while True:
            atomic.write(path, new)
            atomic.write(path, old)

    def attempt() -> bool:
        atomic.write(path, old)
        child = _started(work)
        time.sleep(dice.random() / 50)
        _killed(child)
        return path.read_bytes() in (old, new)

    return Trial(attempt)


def told(words: Callable[[Path, Random], list[str]]) -> Situation:
    """A command that cannot do what is asked: one line on stderr that ends it, whatever the file holds."""

    def situation(dice: Random, folder: Path) -> Trial:
        path = folder / "task.safetensors"
        maskfile.save(path, adapted(dice), architecture="timm:no_such_network")
        given = words(path, dice)
        content = path.read_bytes() if path.is_file() else None

        def attempt() -> bool:
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(given)
            if code == 1 and clear(err.getvalue()):
                raise ValueError(err.getvalue().strip())
            return False

        return Trial(attempt, lambda: (path.read_bytes() if path.is_file() else None) == content)

    return situation


def _cut(path: Path, dice: Random) -> str:
    path.write_bytes(path.read_bytes()[: dice.randrange(path.stat().st_size)])
    return str(path)


KILLED: dict[str, Situation] = {
    "grid killed": locked(killed=True),
    "two grids": locked(killed=False),
    "killed while writing": interrupted,
}
SAID: dict[str, Situation] = {
    "file cut off": told(lambda path, dice: ["inspect", _cut(path, dice)]),
    "no such file": told(lambda path, dice: ["inspect", f"{path}{dice.randrange(10)}"]),
    "folder for a file": told(lambda path, dice: ["inspect", str(path.parent)]),
    "backbone unknown": told(lambda path, dice: ["apply", str(path), "--out", f"{path}.out"]),
    "no head": told(lambda path, dice: ["predict", str(path), str(path)]),
    "no such notebook": told(lambda path, dice: ["run", f"none{dice.randrange(10)}"]),
    "parameter misspelt": told(lambda path, dice: ["run", "submasking", "-p", dice.choice(("modle", "seed")), "0"]),
}
