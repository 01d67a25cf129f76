"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from submasking.files import atomic, contents
from submasking.worlds.told import value

BACKBONE_HELP = (
    "weights of the backbone: a safetensors file, or one of torch.save, whatever comes before its names; without it the"
    " pretrained ones of timm or open_clip, or those of the package that brings efficientnet-lite0"
)


def place(text: str) -> Path:
    """A path; nothing, as of a variable that is not set, would be the folder where one is."""
    if not text:
        raise argparse.ArgumentTypeError("must be a path, got an empty text; is a variable not set? Write . for here")
    return Path(text)


def add_weights(command: argparse.ArgumentParser) -> None:
    """--weights."""
    command.add_argument("--weights", type=place, metavar="FILE", help=BACKBONE_HELP)


def add_device(command: argparse.ArgumentParser) -> None:
    """--device."""
    command.add_argument(
        "--device", default="auto",
        help="cpu, cuda, cuda:1, mps; none: what SUBMASKING_DEVICE says, else a GPU where there is one",
    )  # fmt: skip


def add_bits(command: argparse.ArgumentParser, more: str = "") -> None:
    """--bits; `more` is what the command adds to its help."""
    from submasking.tasks.rounding import MOST  # which brings torch, and not every command needs it

    command.add_argument("--bits", type=int, choices=range(1, MOST + 1), metavar="N",
                         help="round head and norm statistics for a smaller file, such as to 10 bits"
                         f"{more}; none: as they are, bit for bit")  # fmt: skip


def require_no_loop(out: Path) -> None:
    """Refuse a link that leads back to itself."""
    try:
        out.resolve()
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"--out must be a file to write, but {out} is a link that leads to itself; name another"
        ) from error


def require_place(out: Path, mark: str, **inputs: Path | None) -> None:
    """Refuse, before the work, an output that cannot be written or would take the place of something else.

    Args:
        out: the file that --out names: there is none, it is empty, or one as the command writes them.
        mark: what the metadata of such a file has.
        inputs: what is read, by the name that messages give it.

    Raises:
        ValueError: see above.
    """
    require_no_loop(out)
    atomic.require_writable(out)
    for name, path in inputs.items():
        if path is not None and path.exists() and out.exists() and out.samefile(path):
            what = "--weights" if name == "weights" else f"the {name}"
            raise ValueError(f"--out must be another file than {what}, got {out} for both; name a new file")
    if out.exists() and out.stat().st_size and not contents.bears(out, mark):
        raise ValueError(
            f"--out must be a new file, or one that this command wrote, but {out} is another; name a new one"
        )


def add_json(command: argparse.ArgumentParser) -> None:
    """--json."""
    command.add_argument("--json", action="store_true", help="print JSON for programs instead of text for people")


def shown(text: object) -> str:
    """What a terminal may be told of a name: tabs, line ends and the like as Python writes them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def pair(text: str) -> tuple[str, Any]:
    """NAME=VALUE."""
    name, equals, given = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text!r}; such as drop_rate=0.1")
    try:
        return name, value(given)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
