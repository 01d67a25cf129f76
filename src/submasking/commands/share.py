"""`submasking share`: a mask file as a folder with a model card, or as a repository of a hub."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from submasking import hub


def add(commands: Any) -> None:
    """Describe the command."""
    command = commands.add_parser(
        "share",
        help="put a mask file into a folder with a model card, or on a hub",
        description="Write the mask file and a model card to a folder; with --push also upload that folder to the"
        " Hugging Face hub. `submasking.hub.pull` reads either.",
    )
    command.add_argument("file", type=Path, help="a mask file")
    command.add_argument("folder", type=Path)
    command.add_argument("--push", metavar="USER/NAME", help="repository to upload to; needs network and a login")
    command.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Write the folder, and push it where asked."""
    folder = hub.export(given.file, given.folder)
    print(folder)
    if given.push:
        print(hub.push(folder, given.push))
    return 0
