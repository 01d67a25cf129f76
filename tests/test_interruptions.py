"""What `python -m benchmarks interruptions` does to a program, on small ones."""

import json
import sys
import time
from dataclasses import replace
from functools import partial
from random import Random

import pytest

from benchmarks import __main__ as program
from benchmarks import determinism, interruptions
from benchmarks.interruptions import kills, state
from benchmarks.interruptions.child import Child
from benchmarks.interruptions.program import ROOT, Program, grid
from benchmarks.round_trips import NoGridError
from submasking.experiments.run import Run
from submasking.files import atomic
from submasking.records import predictions, results
from submasking.records.results import Record


def undisturbed(place, start):
    """What is left where nothing disturbs, and seconds that it took."""
    place.mkdir()
    began = time.perf_counter()
    assert start(place, place / "results").end() == 0
    return state.of(place / "results"), time.perf_counter() - began


WRITER = """
import sys
from pathlib import Path
from submasking.files import atomic
for number in range(6):
    atomic.write(Path(sys.argv[1]) / f"{number}.json", '{"a": %d}' % number)
"""
NESTED = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print("begun", flush=True)
time.sleep(60)
"""
WORKFLOW = """
from pathlib import Path
from submasking.experiments import sole
from submasking.files import atomic
FOLDER = Path("results/smoke")
if workflow.subprocess_exec:
    sole.hold_job(FOLDER)

onstart:
    sole.hold_grid(FOLDER)

rule all:
    default_target: True
    input:
        expand("results/smoke/records/{number}.json", number=range(3))

rule one:
    output:
        "results/smoke/records/{number}.json",
    run:
        import time
        time.sleep(0.2)
        atomic.write(Path(output[0]), '{"a": %s}' % wildcards.number)
"""


@pytest.mark.parametrize(("event", "number"), [("open", 1), ("open", 4), ("rename", 1), ("rename", 6)])
def test_a_program_stops_amid_the_file_that_is_named_and_goes_on_later(tmp_path, event, number):
    out = tmp_path / "out"
    stop = {"event": event, "folder": str(out), "number": number, "delay": 0.0}
    stopped = Program([sys.executable, "-c", WRITER, out], tmp_path, stop=stop)
    assert stopped.wait(60)
    stopped.kill()
    assert stopped.told.read_text().startswith(str(out))
    found = state.of(out)
    finished = {path for path in found if path.endswith(".json")}
    # a file is opened three times: to be made, to be written, to be brought to the disk
    assert len(finished) == {"open": (number - 1) // 3, "rename": number - 1}[event]
    reference = {f"{n}.json": state.content(out / f"{n}.json") for n in range(len(finished))}
    assert state.wrong(found, reference) == []
    assert Program([sys.executable, "-c", WRITER, out], tmp_path).end() == 0
    assert sum(path.endswith(".json") for path in state.of(out)) == 6


def test_a_kill_takes_what_has_a_session_of_its_own_too(tmp_path):
    nested = Program([sys.executable, "-c", NESTED], tmp_path)
    while "begun" not in nested.said() or len(nested.alive()) < 2:
        time.sleep(0.02)
    nested.kill()
    assert nested.alive() == []


def test_times_count_for_nothing_and_all_else_does(tmp_path):
    def record(**values):
        atomic.write(tmp_path / "a.json", json.dumps({"top1": 0.5, "timings": {"s": 1}, "created": "now"} | values))
        return state.content(tmp_path / "a.json")

    assert record(timings={}, created="then", seconds=3) == record()
    assert record(top1=0.6) != record()
    (tmp_path / "a.json").write_text(json.dumps({"top1": 0.5})[:5])
    assert state.content(tmp_path / "a.json") == "damaged"


@pytest.mark.parametrize(
    ("there", "ended", "wrong"),
    [
        ({"a.json": "1"}, False, []),
        ({"a.json": "1"}, True, ["b.ipynb"]),
        ({"a.json": "damaged"}, False, ["a.json"]),
        ({"c.json": "1"}, False, ["c.json"]),
        ({"b.ipynb": "damaged", ".a.json.0123abcd.part": "x"}, False, []),
        ({"a.json": "1", "b.ipynb": "2", ".a.json.0123abcd.part": "x"}, True, [".a.json.0123abcd.part"]),
    ],
)
def test_a_file_is_wrong_unless_it_is_the_undisturbed_one(there, ended, wrong):
    reference = {"a.json": "1", "b.ipynb": "2"}
    assert state.wrong(there, reference, reference if ended else None) == wrong


@pytest.mark.parametrize("way", [pytest.param(kills.AT_ANY, marks=pytest.mark.slow), kills.WRITING])
def test_work_in_a_child_that_is_killed_ends_in_the_same_bits_only_if_it_is_written_whole(tmp_path, way):
    def start(how, place, results, stop=None):
        def work():
            atomic.sweep(results)  # as a grid does
            for number in range(5):
                if not (file := results / f"{number}.json").exists():
                    how(file, json.dumps([number] * 50_000))

        return Child(work, place, stop=stop)

    def carelessly(path, content):
        path.parent.mkdir(exist_ok=True)
        with path.open("w") as file:
            for number in range(0, len(content), 1000):
                file.write(content[number : number + 1000])
                file.flush()
                time.sleep(0.0002)

    for how in (atomic.write, carelessly):
        wanted, seconds = undisturbed(tmp_path / f"undisturbed {how.__name__}", partial(start, how))
        (tmp_path / how.__name__).mkdir()
        killed = kills.Killed(tmp_path / how.__name__, partial(start, how), wanted, wanted, seconds, (way,), Random(0))
        found = killed.often(12)
        assert found.kills.total() == 12
        assert bool(found.wrong) == (how is carelessly), found.said
        assert found.wrong <= found.kills  # a kill is counted once, whenever it is found out


def test_disturbed_and_same_runs_are_told_apart(tmp_path, monkeypatch):
    """Two folders of one made-up run: the second with another class for one of four images, and another timing."""
    task = Run("tiny", "rn18-timm", "dtd", "LP")
    monkeypatch.setattr(determinism, "tasks", lambda: [task])

    def made(name, classes, seconds):
        metrics = {"top1": sum(one == other for one, other in zip(classes, [0, 1, 1, 0], strict=True)) / 4}
        given, test = (
            {"top1": predictions.pack(classes)},
            {"images": "0" * 64, "labels": predictions.pack([0, 1, 1, 0])},
        )
        record = Record("tiny", "rn18-timm", "dtd", "LP", 100.0, 0, {}, metrics, predictions=given, test=test)
        results.write(replace(record, timings={"train_s": seconds}), tmp_path / name / "records")
        return tmp_path / name

    first, same, other = made("a", [0, 1, 1, 0], 1.0), made("b", [0, 1, 1, 0], 2.0), made("c", [0, 1, 0, 0], 1.0)
    assert determinism.compared(first, same) == {
        "records": 1, "same_records": 1, "masks": 0, "same_masks": 0, "bits": 0.0, "predictions": 0.0, "accuracy": 0.0,
    }  # fmt: skip
    found = determinism.compared(first, other)
    assert (found["same_records"], found["predictions"], found["accuracy"]) == (0, 0.25, 0.25)


def test_the_grid_that_is_killed_is_that_of_the_makefile(tmp_path):
    command, environment = grid(tmp_path, cores=2)
    words = " ".join(map(str, command[3:]))
    line = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "snakemake --profile" in line)
    assert "--profile profiles/$(ON) $(LIMITS_$(ON))" in line
    assert "LIMITS_machine = --cores $(CORES) --resources gpu=$(GPUS)" in (ROOT / "Makefile").read_text()
    assert words.startswith(f"--profile {ROOT / 'profiles' / 'machine'} --cores 2 --resources gpu=2 ")
    assert words.endswith("--config profile=smoke")
    assert environment == {"SUBMASKING_RESULTS": str(tmp_path)}


def test_a_grid_of_another_commit_is_no_reference(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    with pytest.raises(NoGridError, match="a whole grid is needed"):
        interruptions.killed(4)
    atomic.write(tmp_path / "smoke" / "grid.json", json.dumps({"commit": "of old"}))
    with pytest.raises(NoGridError, match=r"must be of this commit, .* it is of of old; move it away and"):
        interruptions.killed(4)


def rows(table):
    return json.loads((program.RECORDS / f"{table}.json").read_text())["rows"]


def test_the_record_of_kills_has_enough_of_them_and_nothing_lost():
    found = rows("kills")
    assert sum(row["times"] for row in found if row["program"] == "the grid's runs") >= 200
    assert {row["program"] for row in found} >= {"submasking mask", "saving a mask file"}
    assert [row for row in found if row["right"] != row["times"]] == []


def test_the_same_seed_gives_the_same_bits_in_another_process_and_order():
    same = {row["way"]: row["same_records"] == row["records"] > 0 for row in rows("determinism")}
    assert list(same) == [*determinism.WAYS]
    assert all(same[way] for way in list(same)[:3])
