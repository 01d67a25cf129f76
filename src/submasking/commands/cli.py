"""`submasking`: the command line for people with a model, a folder of images, and no wish to open a notebook.

A verb's module is imported when the verb is used: help, the version and a mistyped verb do not wait for torch.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from importlib import import_module
from typing import TextIO

from submasking import __version__
from submasking.files.remedies import line

VERBS = {
    "mask": "train a mask for a folder of images",
    "inspect": "show what is in a mask file",
    "predict": "name the classes of images",
    "apply": "bake a task into a plain checkpoint, or back",
    "compare": "how alike are these masks, beyond chance",
    "share": "put a mask file into a folder with a model card, or on a hub",
    "run": "run a notebook of the project",
    "check": "what the paper itself needs, and how long it would take here",
}
# which extra of the package brings a module that may be missing
EXTRAS = dict.fromkeys(("timm", "torchvision", "open_clip", "PIL", "huggingface_hub"), "vision") | dict.fromkeys(
    ("matplotlib", "nbformat", "pandas", "papermill", "seaborn", "sklearn", "zstandard"), "experiments"
)
EXAMPLES = """examples:
  submasking mask photos/ --model timm:resnet18 --out birds.safetensors
  submasking inspect birds.safetensors
  submasking predict birds.safetensors new/*.jpg
  submasking apply birds.safetensors --out resnet18-birds.safetensors
  submasking compare birds.safetensors fish.safetensors
  submasking run label_sparsity -p model rn50-swav

exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted"""


def parser() -> argparse.ArgumentParser:
    """The parser of everything that comes before a verb."""
    top = argparse.ArgumentParser(
        prog="submasking",
        description="Adapt a frozen vision network by learning which of its weights to switch off.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"submasking {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    for verb, what in VERBS.items():
        commands.add_parser(verb, help=what, add_help=False)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what the user can put right is one line on stderr, never a traceback.

    Returns:
        The exit code.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as some daemons have it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot write a class's name shows its number;
            # and whoever follows a file of the output, or ends the command, has every line so far
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = words[0] if words and words[0] in VERBS else parser().parse_args(words[:1] or words).command
    try:
        module = import_module(f"submasking.commands.{verb}")
        command = argparse.ArgumentParser(prog=f"submasking {verb}", formatter_class=_Formatter, add_help=False)
        helps = getattr(module, "Help", "help")  # a verb may have more to show
        command.add_argument("-h", "--help", action=helps, help="show this help message and exit")
        module.add(command)
        given = command.parse_args(words[1:])
        with redirect_stderr(_Unheard(sys.stderr)):
            code = int(module.run(given))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        return 0
    except ModuleNotFoundError as error:
        print(f"submasking {verb}: {_missing(error)}", file=sys.stderr)
        return 1
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"submasking {verb}: {line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:  # its text, if it has one, is a verb's own and says how to go on
        print(f"\nsubmasking {verb}: {str(stop) or 'interrupted'}", file=sys.stderr)
        return 130


class _Unheard(io.TextIOBase):
    """A stream that work goes on without: who has read enough of progress and notes must not end a training."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if anybody reads."""
        with suppress(BrokenPipeError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Likewise."""
        with suppress(BrokenPipeError):
            self._stream.flush()

    def isatty(self) -> bool:
        """As the stream is."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """As the stream has it; a process that is started writes to it itself."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # of TextIOBase, which has no encoding of its own
        """As the stream has it: a progress bar asks."""
        return self._stream.encoding


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that say something: not None, nor the False of a switch."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default == []:
            return action.help
        return super()._get_help_string(action)


def _missing(error: ModuleNotFoundError) -> str:
    """Which extra brings the package that is missing; the error itself where none does."""
    extra = EXTRAS.get((error.name or "").partition(".")[0])
    if extra is None:
        raise error
    return f"needs {error.name}, which is not installed; pip install 'submasking[{extra}]' brings it"


if __name__ == "__main__":
    sys.exit(main())
