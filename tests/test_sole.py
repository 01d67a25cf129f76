"""A killed grid stops no later one; two grids at once do not happen. A small workflow takes its lines from ours."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from submasking.experiments import sole

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["--profile", str(ROOT / "profiles" / "machine"), "--cores", "1", "--resources", "gpu=1"]
JOB = """
watch = __import__("types").SimpleNamespace(start=lambda: None)

rule all:
    default_target: True
    input:
        "out/a"

rule a:
    output:
        "out/a",
    run:
        import time
        Path("out/begun").touch()
        while not Path("out/go").exists():
            time.sleep(0.05)
        Path("out/a").touch()
"""


@pytest.fixture
def grid(tmp_path):
    """Start the small workflow with the flags of `make grid` and our Snakefile's lines that hold the locks."""
    ours = (ROOT / "Snakefile").read_text(encoding="utf-8")
    held = ours[ours.index("if not workflow.is_main_process") : ours.index("def digest")]
    start = ours[ours.index("onstart:") : ours.index("onsuccess:")]
    heading = "from pathlib import Path\nfrom snakemake.exceptions import WorkflowError\n"
    heading += 'from submasking.experiments import sole\nFOLDER = Path("out")\n'
    (tmp_path / "Snakefile").write_text(heading + held + start + JOB, encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", *FLAGS]
    begun = []

    def run():
        begun.append(
            subprocess.Popen(
                command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                start_new_session=True,
            )
        )  # fmt: skip
        return begun[-1]

    yield run
    (tmp_path / "out" / "go").touch()
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


def wait_for(file, seconds=120.0):
    end = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < end, f"no {file} after {seconds} s"
        time.sleep(0.05)


def test_a_second_grid_is_refused_in_one_line_and_the_first_ends_well(grid, tmp_path):
    first = grid()
    wait_for(tmp_path / "out" / "begun")
    second = grid()
    said = second.communicate(timeout=120)[0]
    assert second.returncode == 1
    assert f"process {first.pid} is at work in out; wait until it is done, or end it" in said
    assert "Traceback" not in said
    (tmp_path / "out" / "go").touch()
    assert first.wait(timeout=120) == 0


@pytest.mark.parametrize("whole", [True, False], ids=["with its jobs", "without its jobs"])
def test_the_grid_after_a_kill_goes_on_by_itself(grid, tmp_path, whole):
    first = grid()
    wait_for(tmp_path / "out" / "begun")
    (os.killpg if whole else os.kill)(first.pid, signal.SIGKILL)
    first.wait(timeout=60)
    second = grid()
    (tmp_path / "out" / "go").touch()
    said = second.communicate(timeout=120)[0]
    assert second.returncode == 0, said
    assert (tmp_path / "out" / "a").exists()


def test_a_grid_waits_for_the_job_that_a_kill_has_left(tmp_path):
    code = "import sys; from pathlib import Path; from submasking.experiments import sole; sole.{}(Path(sys.argv[1])); "
    job = subprocess.Popen(
        [sys.executable, "-c", code.format("hold_job") + "print('held', flush=True); input()", str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert job.stdout is not None
    assert job.stdout.readline() == "held\n"
    other = subprocess.Popen(
        [sys.executable, "-c", code.format("hold_grid") + "print('alone', flush=True)", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stderr is not None
    assert "a job of a killed grid is still at work" in other.stderr.readline()
    assert other.poll() is None
    job.communicate("\n", timeout=60)
    assert other.communicate(timeout=60)[0] == "alone\n"


def test_a_folder_has_one_grid(tmp_path, monkeypatch):
    held = []
    monkeypatch.setattr(sole, "_held", held)
    sole.hold_grid(tmp_path)
    with pytest.raises(ValueError, match=f"one grid at work; process {os.getpid()} is at work"):
        sole.hold_grid(tmp_path)
    sole.hold_grid(tmp_path / "another profile")
    for file in held:
        file.close()


LOOK = "import os; from submasking.experiments import sole; sole.hold_gpu(); "
LOOK += "print(os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True); input()"


def seen(folder, count, **environment):
    """What so many processes that are alive at once see of the GPUs, each started when the one before has looked."""
    here = {
        name: text for name, text in os.environ.items() if name not in ("SUBMASKING_DEVICE", "CUDA_VISIBLE_DEVICES")
    }
    command, given = [sys.executable, "-c", LOOK], here | {"TMPDIR": str(folder)} | environment
    jobs = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=given)
        for _ in range(count)
    ]
    try:
        return [job.stdout.readline().strip() for job in jobs]
    finally:
        for job in jobs:
            job.kill()
            job.communicate()


def test_each_job_sees_a_gpu_that_no_other_sees_and_a_killed_one_gives_it_back(tmp_path):
    for _ in range(2):
        assert sorted(seen(tmp_path, 3, CUDA_VISIBLE_DEVICES="3,GPU-ab,MIG-c/1/2")) == ["3", "GPU-ab", "MIG-c/1/2"]
    assert seen(tmp_path, 3, CUDA_VISIBLE_DEVICES="0,1").count("0,1") == 1  # one more than there are: it may choose


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"CUDA_VISIBLE_DEVICES": "2"}, "2"),  # what a cluster gives a job
        ({"CUDA_VISIBLE_DEVICES": ""}, ""),
        ({"CUDA_VISIBLE_DEVICES": "0,1", "SUBMASKING_DEVICE": "cuda:1"}, "0,1"),
    ],
)
def test_a_choice_that_was_made_before_stays(tmp_path, given, left):
    assert seen(tmp_path, 1, **given) == [left]


def test_gpus_are_counted_as_the_driver_names_them(tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf 'GPU-one\\nGPU-two\\n'\n")
    program.chmod(0o755)
    assert sorted(seen(tmp_path, 2, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")) == ["GPU-one", "GPU-two"]


def test_a_folder_that_takes_no_files_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"a results folder must take files, .* does not .*; make room") as said:
        sole.hold_grid(tmp_path / "file" / "results")
    assert "\n" not in str(said.value)


def test_files_from_the_future_do_not_stop_a_grid_and_others_keep_their_times(grid, tmp_path):
    text = (tmp_path / "Snakefile").read_text(encoding="utf-8")
    needs = text.replace(
        '    output:\n        "out/a"', '    input:\n        "out/b", "out/c"\n    output:\n        "out/a"'
    )
    assert needs != text
    (tmp_path / "Snakefile").write_text(needs, encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    old, ahead = 10**9, time.time() + 10**7
    for name, then in (("b", old), ("c", ahead), ("go", ahead)):
        (out / name).touch()
        os.utime(out / name, (then, then))
    process = grid()
    assert process.wait(timeout=120) == 0, process.stdout.read()
    assert (out / "a").exists()
    assert (out / "b").stat().st_mtime == old
    assert all(abs((out / name).stat().st_mtime - time.time()) < 120 for name in ("c", "go"))


def test_a_file_that_goes_while_a_grid_starts_stops_nothing(tmp_path, monkeypatch):
    gone = tmp_path / ".record.json.1.part"
    monkeypatch.setattr(Path, "rglob", lambda folder, pattern: [gone])
    monkeypatch.setattr(sole, "_held", [])
    sole.hold_grid(tmp_path)
    assert len(sole._held) == 1
    sole._held.pop().close()


def test_a_file_is_made_by_one_process_at_a_time_and_a_killed_one_lets_go(tmp_path, monkeypatch):
    monkeypatch.setattr(sole.tempfile, "gettempdir", lambda: str(tmp_path / "locks"))
    (tmp_path / "link").symlink_to(tmp_path)
    code = "import sys, time; from submasking.experiments import sole; from pathlib import Path\n"
    code += "sole.tempfile.gettempdir = lambda: sys.argv[2]\n"
    code += "with sole.holding_file(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "task"), str(tmp_path / "locks")],
        stdout=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    try:
        assert other.stdout.readline() == "held\n"
        for path in (tmp_path / "task", tmp_path / "link" / "task"):
            with pytest.raises(ValueError, match=f"one process at a time; process {other.pid} is at work on .*task"):
                sole.holding_file(path).__enter__()
        with sole.holding_file(tmp_path / "another"):
            pass
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    with sole.holding_file(tmp_path / "task"):
        pass


def test_where_there_is_no_room_for_locks_work_goes_on(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(sole.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    with sole.holding_file(tmp_path / "task"):
        pass
