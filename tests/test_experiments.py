"""The notebooks as a researcher runs them: through papermill, in profile smoke."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from papermill import PapermillExecutionError, execute_notebook

from submasking.experiments import inprocess, notebooks
from submasking.records import results

ROOT = Path(__file__).resolve().parents[1]
PAPERMILL = [sys.executable, "-m", "papermill"]


def papermill(*arguments, results_folder, **options):
    environment = os.environ | {"SUBMASKING_RESULTS": str(results_folder), "PYTHONWARNINGS": "default"}
    command = [*PAPERMILL, *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options
    )


def test_the_card_s_own_command_runs_redirected(smoke_results):
    done = papermill(
        "notebooks/label_sparsity.ipynb", "-p", "model", "rn50-swav", "-p", "profile", "smoke",
        results_folder=smoke_results,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    written = nbformat.reads(done.stdout, as_version=4)
    assert any("answer" in cell.source for cell in written.cells)
    records = results.read(smoke_results / "smoke" / "records")
    assert {record.method for record in records if record.model == "rn50-swav"} >= {"LP", "FS", "FFT", "SSM", "SSFT"}
    assert list((smoke_results / "smoke" / "figures").glob("label_sparsity-rn50-swav-labels10*"))


def test_an_output_path_gets_the_notebook_with_its_answer(smoke_results, tmp_path):
    output = tmp_path / "out.ipynb"
    arguments = ("-p", "profile", "smoke", "-p", "dataset", "cifar10,dtd", "-p", "seeds", "0")
    done = papermill("notebooks/submasking.ipynb", output, *arguments, results_folder=smoke_results)
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.dumps(nbformat.read(output, as_version=4).cells[-1].outputs)
    assert "FS against LP" in answer
    assert "2 data sets" in answer


def test_the_compression_notebook_makes_its_runs_or_reads_them_and_answers(smoke_results, tmp_path):
    output = tmp_path / "out.ipynb"
    arguments = ("-p", "profile", "smoke", "-p", "dataset", "cifar10", "-p", "seeds", "0")
    done = papermill("notebooks/compression.ipynb", output, *arguments, results_folder=smoke_results)
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.dumps(nbformat.read(output, as_version=4).cells[-1].outputs)
    assert "bits per weight" in answer
    assert "Fine-tuned weights take" in answer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-p", "modle", "rn50-swav"), "unknown parameter 'modle'; did you mean 'model'?"),
        pytest.param(
            ("-p", "dataset", "2024.10"),
            "'dataset' must be text, got 2024.1 (float): pass it as -r dataset <text>",
            marks=pytest.mark.slow,  # a kernel for each; the same values without one are below
        ),
        pytest.param(("-r", "dataset", "007"), "got '007'", marks=pytest.mark.slow),
    ],
)
def test_a_mistake_ends_papermill_with_its_message_and_leaves_no_record(tmp_path, arguments, message):
    done = papermill("notebooks/label_sparsity.ipynb", tmp_path / "out.ipynb", *arguments, results_folder=tmp_path)
    assert done.returncode != 0
    assert message in done.stderr
    assert list(tmp_path.rglob("*.json")) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "nonsense"}, "model must be one of rn18-timm, rn50-timm, rn50-torch, rn50-swav, rn50-clip"),
        ({"dataset": 2024.1}, "'dataset' must be text, got 2024.1 (float): pass it as -r dataset <text>"),
        ({"dataset": "007"}, "got '007'"),
    ],
)
def test_a_mistake_is_an_error_of_the_notebook_and_leaves_no_record(tmp_path, given, message):
    told = tmp_path / "told.txt"
    process = inprocess.forks().Process(target=mistaken, args=(given, tmp_path, told))
    process.start()
    process.join()
    assert message in told.read_text(encoding="utf-8")
    assert list(tmp_path.rglob("*.json")) == []


def mistaken(given, folder, told):
    """Run a notebook in this process, as papermill would with these values, and write down what stopped it."""
    os.environ["SUBMASKING_RESULTS"] = str(folder)
    try:
        execute_notebook(
            str(ROOT / "notebooks" / "label_sparsity.ipynb"), str(folder / "out.ipynb"), parameters=given,
            engine_name=inprocess.NAME, progress_bar=False,
        )  # fmt: skip
    except PapermillExecutionError as error:
        told.write_text(str(error), encoding="utf-8")


def test_our_own_form_checks_before_a_kernel_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    with pytest.raises(ValueError, match="did you mean 'seeds'"):
        notebooks.execute("label_sparsity", {"profile": "smoke", "seed": "0"})
    assert list(tmp_path.iterdir()) == []
