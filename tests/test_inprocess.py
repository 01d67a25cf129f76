"""Notebooks without a kernel: what their cells print, show and raise is kept as papermill keeps it."""

import subprocess
import sys

import nbformat
import pytest

EXECUTE = """
import sys
import papermill
from submasking.experiments import inprocess
papermill.execute_notebook(*sys.argv[1:3], parameters={"n": 3}, engine_name=inprocess.NAME, progress_bar=False)
"""
DRAWN = "%matplotlib inline\nfrom matplotlib.figure import Figure\nfigure = Figure()\nfigure.subplots()\nfigure"


@pytest.fixture(scope="module")
def execute(tmp_path_factory):
    """Run cells, the first of which declares n, with n = 3: the notebook, and what the process left."""
    folder = tmp_path_factory.mktemp("notebooks")

    def run(*sources):
        given = nbformat.v4.new_code_cell("n: int = 1", metadata={"tags": ["parameters"]})
        cells = [given, nbformat.v4.new_markdown_cell("# Words"), *map(nbformat.v4.new_code_cell, sources)]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / "in.ipynb")
        paths = [str(folder / name) for name in ("in.ipynb", "out.ipynb")]
        done = subprocess.run([sys.executable, "-c", EXECUTE, *paths], capture_output=True, text=True, check=False)
        made = nbformat.read(paths[1], as_version=4)
        nbformat.validate(made)
        code = [cell for cell in made.cells if cell.cell_type == "code"]
        return [cell.outputs for cell in code[2:]], done, made

    return run


def test_what_cells_print_and_show_is_kept(execute):
    table = "import pandas as pd\nprint('a table', len(In))\npd.DataFrame({'n': [n]})"
    shown = "from IPython.display import Markdown, display\ndisplay(Markdown('**one**'))\nMarkdown('two')"
    outputs, done, made = execute(table, DRAWN, shown, "silent = n")
    assert done.returncode == 0, done.stderr
    assert outputs[0][0].text == "a table 4\n"
    assert "<td>3</td>" in outputs[0][1].data["text/html"]
    assert outputs[1][0].data["image/png"].startswith("iVBOR")
    assert [output.data["text/markdown"] for output in outputs[2]] == ["**one**", "two"]
    assert outputs[3] == []
    assert made.metadata.language_info.pygments_lexer == "ipython3"


@pytest.mark.parametrize(("source", "name"), [("print('so far')\n1 / 0", "ZeroDivisionError"), ("1 +", "SyntaxError")])
def test_an_error_ends_the_notebook_and_is_kept(execute, source, name):
    outputs, done, made = execute(source, "print('never')")
    assert done.returncode != 0
    assert name in done.stderr
    assert [output.ename for output in outputs[-2] if output.output_type == "error"] == [name]
    assert outputs[-1] == []
    assert made.metadata.papermill.exception
