"""`submasking run`: one of the project's notebooks, with checked parameters, at a place of its own."""

from __future__ import annotations

import argparse
from typing import Any

from submasking.commands.options import place
from submasking.experiments import notebooks
from submasking.worlds.told import value


class Help(argparse.Action):
    """Shows the parameters of a notebook where one is named, as `submasking run label_sparsity --help` does."""

    def __init__(self, option_strings: list[str], dest: str, **said: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **said)

    def __call__(self, parser: argparse.ArgumentParser, given: argparse.Namespace, *rest: Any) -> None:
        """Print it and end."""
        if given.notebook:
            parser.usage = f"{parser.prog} {given.notebook} [-h] [-p NAME VALUE] [--out OUT]"
            told = parser.add_argument_group(f"parameters of {given.notebook}")
            what = notebooks.explained(given.notebook)
            for name, (_, default) in notebooks.known_parameters(given.notebook).items():
                told.add_argument(name, nargs="?", default=default or None, help=what[name].replace("%", "%%"))
        parser.print_help()
        parser.exit()


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Run a notebook through papermill. Its output goes below results/<profile>/notebooks/ and its"
        " records below results/<profile>/records/, unless --out says otherwise for the notebook."
    )
    command.add_argument("notebook", help="its name, such as label_sparsity; with --help, its parameters")
    command.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter"
    )
    command.add_argument("--out", type=place, help="the executed notebook")


def run(given: argparse.Namespace) -> int:
    """Run it and print where it lies."""
    from papermill.exceptions import PapermillExecutionError

    known = notebooks.known_parameters(given.notebook)
    names = [name for name, _ in given.parameters]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"each parameter must be given once; {twice[0]!r} is there twice; leave one out")
    parameters = {
        name: text if notebooks.TYPES.get(known.get(name, ("str",))[0]) is str else value(text)
        for name, text in given.parameters
    }
    try:
        print(notebooks.execute(given.notebook, parameters, given.out))
    except PapermillExecutionError as error:
        at = given.out or notebooks.output_path(given.notebook, parameters)
        raise ValueError(f"a cell failed with {error.ename}: {error.evalue}; see {at}") from error
    return 0
