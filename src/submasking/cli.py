"""`submasking`: the command line for people with a model, a folder of images, and no wish to open a notebook."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from submasking import __version__
from submasking.commands import apply, compare, inspect, mask, predict, run, share

EXAMPLES = """examples:
  submasking mask photos/ --model timm:resnet18 --out birds.safetensors
  submasking inspect birds.safetensors
  submasking predict birds.safetensors new/*.jpg
  submasking apply birds.safetensors --out resnet18-birds.safetensors
  submasking compare birds.safetensors fish.safetensors
  submasking run label_sparsity -p model rn50-swav

exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted"""


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(
        prog="submasking",
        description="Adapt a frozen vision network by learning which of its weights to switch off.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"submasking {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    for command in (mask, inspect, predict, apply, compare, share, run):
        command.add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what the user can put right is one line on stderr, never a traceback.

    Returns:
        The exit code.
    """
    given = parser().parse_args(arguments, argparse.Namespace(after=""))
    try:
        code = int(given.run(given))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        return 0
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"submasking {given.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nsubmasking {given.command}: interrupted{given.after}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
