"""The program `python -m benchmarks`: what it refuses, what it writes, another implementation beside ours."""

import json

import pytest
import torch

from benchmarks import __main__ as program
from benchmarks import pythons, step, ways

GOOD = """
def prepare(model):
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.dim() == 4)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
"""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """The program takes all cores; the tests beside it should not notice."""
    monkeypatch.setattr(program.os, "cpu_count", lambda: 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "a peer must be a Python file; got"),
        ("import nothing_of_this_name", "gave ModuleNotFoundError: No module named"),
        ("def prepare(model:", "gave SyntaxError: "),
        ("x = 1", "must define prepare(model)"),
        ("def prepare(model):\n    raise KeyError('fc')", "it gave KeyError: 'fc'"),
        ("def prepare(model):\n    model.fc = None", "it gave TypeError: 'NoneType' object is not iterable"),
        ("def prepare(model):\n    return []", "must return tensors that require gradients; it gave none"),
        ("def prepare(model):\n    return ['fc.weight']", "it gave 1 that are not, first a str"),
        ("def prepare(model):\n    return [p.detach() for p in model.parameters()]", "first a Tensor"),
    ],
)
def test_a_peer_that_does_not_work_is_one_line(tmp_path, capsys, text, message):
    file = tmp_path / "peer.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SystemExit) as end:
        program.main(["step", "--peer", str(file)])
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith("python -m benchmarks: error: ")
    assert said.count("\n") == 1
    assert message in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["speed"], "tables are step, memory"),
        (["fuzz", "--files", "0"], "--files must be at least 1; got 0"),
        (["fuzz", "--files", "many"], "invalid int value: 'many'"),
        (["codec", "--python", "python3"], "--python belongs to the table pythons; got codec"),
        (["pythons"], "the table pythons must have --python FILE, an interpreter; got none"),
        (["memory", "--peer", "peer.py"], "--peer belongs to the table step; got memory"),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(capsys, words, message):
    with pytest.raises(SystemExit) as end:
        program.main(words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


FAKE = """#!/bin/sh
case "$*" in
*pytest*)
  echo "FAILED tests/test_a.py::test_b[1] - no"
  echo "ERROR tests/test_a.py::test_c"
  echo "1 failed, 7 passed, 1 error in 0.1s" ;;
*) echo '{"python": "3.99.0", "torch": "9"}' ;;
esac
"""


def test_another_python_is_told_with_the_tests_that_failed_on_it(tmp_path):
    (tmp_path / "python").write_text(FAKE)
    (tmp_path / "python").chmod(0o755)
    (row,) = pythons.measure([tmp_path / "python"])
    assert (row["python"], row["passed"], row["failed"]) == ("3.99.0", 7, 2)
    assert row["names"] == "test_a.py::test_b[1], test_a.py::test_c"
    assert all((pythons.ROOT / "tests" / f"test_{name}.py").exists() for name in pythons.CORE)


@pytest.mark.parametrize("file", ["/bin/false", "/no/python"])
def test_what_is_no_python_with_the_lock_is_refused(file, capsys):
    with pytest.raises(SystemExit) as end:
        program.main(["pythons", "--python", file])
    assert end.value.code == 2
    assert "--python must be a Python that has" in capsys.readouterr().err


def test_the_program_explains_itself(capsys):
    with pytest.raises(SystemExit) as end:
        program.main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in (*program.TABLES, "--peer", "prepare(model)", "book/records/benchmarks"))


def test_a_peer_is_measured_beside_ours(tmp_path, monkeypatch, capsys):
    (tmp_path / "peer.py").write_text(GOOD)
    monkeypatch.setattr(program, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(step, "CASES", (step.Case("test_resnet", 32, 2, 1),))
    program.main(["step", "--peer", str(tmp_path / "peer.py")])
    (file,) = (tmp_path / "records").iterdir()
    record = json.loads(file.read_text())
    assert [row["way"] for row in record["rows"]] == [*ways.WAYS, "peer"]
    assert all(row["seconds"] > 0 and row["ratio"] > 0 for row in record["rows"])
    assert {"processor", "cores", "threads", "torch"} <= record["machine"].keys()
    assert "full fine-tuning" in capsys.readouterr().out


def test_the_peer_on_the_page_works(tmp_path):
    text = (program.RECORDS.parents[1] / "speed.md").read_text(encoding="utf-8")
    (tmp_path / "peer.py").write_text(text.split("```python\n")[1].split("```")[0])
    model = ways.network("test_resnet")
    scores, _ = ways.peer(tmp_path / "peer.py")(model)
    assert len(scores.param_groups[0]["params"]) > 5
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    held = scores.param_groups[0]["params"]
    assert all(score.grad is not None for score in held)
    assert any(bool(score.grad.any()) for score in held)  # not all: a block's last norm starts from zero


@pytest.mark.parametrize("table", program.OF_A_GRID)
def test_tables_of_a_grid_need_one(table, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    with pytest.raises(SystemExit) as end:
        program.main([table])
    assert end.value.code == 2
    assert "run make grid first" in capsys.readouterr().err
    assert table not in program.read([]).tables
