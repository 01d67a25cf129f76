"""A papermill engine that runs a notebook's cells in this process, for a process that is forked for one notebook.

A kernel of its own imports PyTorch anew for each notebook. Where all numbers are read from records, as in the book's
build, that is most of the time; a fork of a process that has the library already takes none of it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import traceback
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from nbformat import NotebookNode, v4
from papermill import log
from papermill.engines import Engine, NotebookExecutionManager, papermill_engines
from traitlets.config import Config

from submasking.experiments import grid, notebooks

NAME = "inprocess"
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
# what the notebooks of a grid import; a name that is not there costs time alone
IMPORTS = (
    __name__, "matplotlib.backends.backend_svg", "matplotlib_inline.backend_inline",
    "submasking.experiments.invariance.experiment", "submasking.experiments.runs",
    *(f"submasking.{room}.{name}" for name in grid.ANALYSES for room in ("experiments.analyses", "report")),
)  # fmt: skip


class Shell(InteractiveShell):
    """IPython without a window and without a history among the user's files."""

    def enable_gui(self, gui: str | None = None) -> None:
        """Nothing: figures are kept as pictures."""


class InProcess(Engine):
    """Runs the cells one after another and stops at the first that fails, as papermill's own engine does."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: NotebookExecutionManager, kernel_name: str, **options: Any) -> None:
        """Fill the outputs of the notebook that papermill manages."""
        shell = Shell.instance(config=Config(HistoryManager={"enabled": False}))
        nb_man.nb.metadata["language_info"] = dict(LANGUAGE)
        for number, cell in enumerate(nb_man.nb.cells):
            if cell.cell_type != "code":
                continue
            nb_man.cell_start(cell, number)
            cell.outputs, error = run(shell, cell.source)
            if error is not None:
                nb_man.cell_exception(cell, number, exception=error)
            nb_man.cell_complete(cell, number)
            if error is not None:
                break


papermill_engines.register(NAME, InProcess)


def run(shell: InteractiveShell, source: str) -> tuple[list[NotebookNode], BaseException | None]:
    """What a cell prints and shows, and the error that ended it."""
    with capture_output() as seen:
        shell.display_trap.hook = sys.displayhook  # else the shell puts its own in place of the one that captures
        done = shell.run_cell(source, store_history=True)
    error = done.error_before_exec or done.error_in_exec
    outputs = [v4.new_output("stream", name="stdout", text=seen.stdout)] if seen.stdout and error is None else []
    outputs += [v4.new_output("stream", name="stderr", text=seen.stderr)] if seen.stderr else []
    outputs += [v4.new_output("display_data", data=one.data, metadata=one.metadata) for one in seen.outputs]
    if error is not None:
        told = traceback.format_exception(error)
        outputs.append(v4.new_output("error", ename=type(error).__name__, evalue=str(error), traceback=told))
    return outputs, error


def forks(*more: str) -> ForkServerContext:
    """Processes that start with the library, and with more modules, imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTS, *more])
    return context


def execute(name: str, given: Mapping[str, Any], output: Path, surroundings: Mapping[str, str]) -> None:
    """Run a notebook in this process, which is made for it, with these variables of the environment."""
    os.environ.update(surroundings)
    log.logger.setLevel(logging.ERROR)  # papermill warns of a parameter whose kind it cannot read; `notebooks` can
    notebooks.execute(name, given, output, progress=False, engine=NAME)
