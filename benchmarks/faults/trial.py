"""One try of a fault: what is done, and whether all is as before where it was refused."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

REFUSALS = (ValueError, OSError, SystemExit)
OUTCOMES = ("right", "refused", "wrong")


@dataclass(frozen=True)
class Trial:
    """One case.

    Attributes:
        attempt: does what a user does; true if what came out is what it must be.
        kept: asked after a refusal: whether files, models and folders are as they were.
    """

    attempt: Callable[[], bool]
    kept: Callable[[], bool] = lambda: True


Situation = Callable[[Random, Path], Trial]  # the dice, an empty folder


def outcome(trial: Trial) -> str:
    """Try it: "right", "refused" in one line with nothing changed, or "wrong" (silently, by half, in others' words)."""
    try:
        return "right" if trial.attempt() else "wrong"
    except REFUSALS as error:
        return "refused" if clear(str(error)) and trial.kept() else "wrong"
    except Exception:
        return "wrong"


def clear(message: str) -> bool:
    """Whether a message is one line that says more than a word, and sends nobody to delete a file."""
    return "\n" not in message.strip() and len(message.split()) > 4 and "delete" not in message
