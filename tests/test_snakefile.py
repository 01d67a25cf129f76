"""The Snakefile as it stands: a dry run says what is due, a run is the same as a job of its own."""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from submasking.experiments import grid, job, runs
from submasking.experiments.run import Run
from submasking.records import results

ROOT = Path(__file__).resolve().parents[1]
CALL = [sys.executable, "-m", "snakemake", "--profile", str(ROOT / "profiles" / "machine"), "--cores", "1"]
CALL += ["--resources", "gpu=1", "--snakefile", str(ROOT / "Snakefile"), "--directory"]


def snakemake(folder, *words):
    environment = os.environ | {"SUBMASKING_RESULTS": str(folder / "results"), "OMP_NUM_THREADS": "1"}
    command = [*CALL, str(folder), *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("job", ["run", "notebook"])
def test_a_dry_run_of_the_paper_says_runs_hours_and_bytes_and_writes_nothing(tmp_path, job):
    done = snakemake(tmp_path, "--dry-run", "--config", "profile=paper", f"job={job}")
    assert done.returncode == 0, done.stderr
    count = len(grid.runs("paper"))
    said = rf"{count} of {count} runs are due\n[\d,.]+ hours of one core \(.*\), the longest run [\d,.]+\ntask files"
    assert re.search(said, done.stderr), done.stderr
    assert not (tmp_path / "results").exists()


def test_another_kind_of_job_is_refused_in_a_line(tmp_path):
    done = snakemake(tmp_path, "--config", "profile=smoke", "job=model")
    assert done.returncode == 1
    assert "job must be run or notebook, got 'model'; pass --config job=run" in done.stderr


def test_a_job_is_one_process_that_keeps_others_waiting_and_leaves_a_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    held = []
    monkeypatch.setattr(job.sole, "hold_job", lambda folder: held.append(("job", folder)))
    monkeypatch.setattr(job.sole, "hold_gpu", lambda: held.append("gpu"))
    monkeypatch.setattr(job, "notebook", lambda *given: held.append(given))
    job.main(["--profile=smoke", "--seeds=0,1", "--gpu", "notebook", "compression-all"])
    assert held == [("job", tmp_path / "smoke"), "gpu", ("smoke", "compression-all", "0,1")]
    job.main(["--profile=smoke", "finish"])
    assert "gpu" not in held[3:]
    told = json.loads((tmp_path / "smoke" / "grid.json").read_text(encoding="utf-8"))
    assert told["runs"] == len(grid.runs("smoke"))
    assert told["notebooks"] == sorted(grid.notebooks("smoke"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["notebook", "x"], "the following arguments are required: --profile"),
        (["--profile=smoke", "notebok", "x"], "invalid choice: 'notebok'"),
        (["--profile=smoke", "backbone", "rn18-timm", "first"], "invalid int value: 'first'"),
    ],
)
def test_a_job_that_is_none_is_refused(capsys, words, said):
    with pytest.raises(SystemExit):
        job.main(words)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("seeds=0;touch here", "seeds must be whole numbers split by commas (or all); got '0;touch here'"),
        ("profile=tyni", "profile must be one of smoke, tiny,"),
    ],
)
def test_what_there_is_no_grid_of_is_refused_in_a_line(tmp_path, asked, said):
    done = snakemake(tmp_path, "--config", asked, "--dry-run")
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "results").exists()


def test_what_a_job_is_called_with_is_no_shell_text():
    written = Path(ROOT / "Snakefile").read_text(encoding="utf-8")
    assert "shlex.join(WORDS)" in written
    assert re.findall(r"\{(?:wildcards|params)\.\w+\}", written) == []  # each is quoted: {...:q}


@pytest.mark.slow
def test_a_run_as_a_job_of_its_own_leaves_the_record_of_a_run_by_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path / "results"))
    random = Run("smoke", "rn18-timm", "dtd", "FS-random")
    asked = [random, replace(random, method="LP")]
    done = snakemake(tmp_path, *(one.record_file for one in asked), "--config", "profile=smoke", "job=run")
    assert done.returncode == 0, done.stderr
    asked.append(replace(random, method="FS"))  # which a random mask needs
    jobs = [results.read_one(one.record_file) for one in asked]
    given = {"name": "submasking", "parameters": jobs[0].notebook["parameters"]}
    assert given["parameters"] == {
        "profile": "smoke", "model": "rn18-timm", "dataset": "all", "methods": "all", "seeds": "all", "weights": "",
        "options": "", "arch": "",
    }  # fmt: skip
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path / "hand"))
    for made, one in zip(reversed(jobs), reversed(asked), strict=True):
        moment = {"timings": {}, "created": "", "commit": ""}
        assert asdict(made) | moment == asdict(runs.run(one, notebook=given, progress=False)) | moment
