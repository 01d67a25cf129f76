"""`submasking share`: a mask file as a folder with a model card, or as a repository of a hub."""

from __future__ import annotations

import argparse

from submasking.commands.options import place
from submasking.tasks import hub


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Write the mask file and a model card to a folder; with --push also upload that folder to the"
        " Hugging Face hub. `submasking.hub.pull` reads either."
    )
    command.add_argument("file", type=place, help="a mask file")
    command.add_argument("folder", type=place)
    command.add_argument("--push", metavar="USER/NAME", help="repository to upload to; needs network and a login")


def run(given: argparse.Namespace) -> int:
    """Write the folder, and push it where asked."""
    folder = hub.export(given.file, given.folder)
    print(folder)
    if given.push:
        print(hub.push(folder, given.push))
    return 0
