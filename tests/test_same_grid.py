"""Grids made in two ways are compared run by run, whatever the clock said."""

import json
import shutil

import pytest
import torch

from benchmarks import __main__ as program
from benchmarks import same_grid
from submasking.files import store

PATH = "rn18-timm/dtd/FS-labels100-seed0"


@pytest.fixture
def hand(tmp_path):
    for method in ("FS", "FFT"):
        file = tmp_path / "hand" / "records" / f"{PATH.replace('FS', method)}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"metrics": {"top1": 0.5}, "timings": {"total_s": 3.0}, "commit": "abc"}))
    store.save(tmp_path / "hand" / "masks" / f"{PATH}.safetensors", {"bits": torch.arange(4)}, {})
    return tmp_path / "hand"


def other(hand, **changed):
    """A copy whose FS has another record."""
    copy = shutil.copytree(hand, hand.parent / "slurm")
    file = copy / "records" / f"{PATH}.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    return copy


@pytest.mark.parametrize(("changed", "same"), [({"timings": {}, "commit": ""}, 2), ({"metrics": {"top1": 0.51}}, 1)])
def test_what_differs_beside_the_clock_counts(hand, changed, same):
    grids = {"hand": hand, "slurm": other(hand, **changed)}
    assert same_grid.measure(grids) == [{"way": "slurm", "runs": 2, "same": same, "masks": 1, "same_masks": 1}]


def test_another_mask_counts(hand):
    copy = other(hand)
    store.save(copy / "masks" / f"{PATH}.safetensors", {"bits": torch.arange(4) + 1}, {})
    assert same_grid.measure({"hand": hand, "slurm": copy})[0]["same_masks"] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["same_grid"], "the table same_grid must have --grids NAME=FOLDER for each way"),
        (["world", "--grids", "a=b"], "--grids belongs to the table same_grid; got world"),
        (["same_grid", "--grids", "a"], "--grids must be NAME=FOLDER, got 'a'"),
        (["same_grid", "--grids", "a=nowhere"], "must name two folders or more, got 1"),
        (["same_grid", "--grids", "a=nowhere", "b=nowhere"], "nowhere has none; run its grid first"),
    ],
)
def test_what_is_no_comparison_is_one_line(words, message, capsys, monkeypatch):
    monkeypatch.setattr(program.os, "cpu_count", lambda: 1)
    with pytest.raises(SystemExit) as end:
        program.main(words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
