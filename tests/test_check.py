"""`submasking check`: what is here and missing, one step of what is here, hours; and its page in the book."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import paper_archives as made
import pytest
import timm
import torch

from submasking.commands.cli import main
from submasking.experiments import cost, grid
from submasking.learning.backbone import Backbone
from submasking.records.names import DATASETS, MODELS
from submasking.worlds.paper import effort, inventory, models, remote, weights
from submasking.worlds.paper.data import catalogue
from submasking.worlds.paper.data.load import load

PAGE = Path(__file__).resolve().parents[1] / "book" / "run_the_paper.md"
SIDE = 32


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Nothing is here yet, no address leads anywhere, and the networks are small ones that still know how to learn."""
    for name in ("weights", "data"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("SUBMASKING_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("SUBMASKING_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path / "results"))
    for name, network in weights.NETWORKS.items():
        elsewhere = replace(network, file=replace(network.file, address=made.NOWHERE))
        monkeypatch.setitem(weights.NETWORKS, name, elsewhere)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**13))
    monkeypatch.setattr(models, "untrained", small)
    monkeypatch.setattr(models, "load", lambda model, download: replace(small(model), fingerprint="read"))
    return tmp_path


def small(model):
    torch.manual_seed(0)
    trunk = timm.create_model("test_resnet", num_classes=0)
    mean, std = weights.IMAGENET
    return Backbone(trunk, trunk.num_features, "resnet", mean, std, SIDE, name=model)


def checked(capsys, *more, code=0):
    assert main(["check", "--profile", "paper", "--device", "cpu", "--json", *more]) == code
    return json.loads(capsys.readouterr().out)


def states(found, name):
    return {file["name"]: file["state"] for file in found["files"] if file["of"] == name}


def put_weights(here, monkeypatch, model):
    network = weights.NETWORKS[model]
    path = here / "weights" / network.file.name
    path.write_bytes(model.encode())
    digest = "sha256:" + remote.digest(path, "sha256")
    monkeypatch.setitem(weights.NETWORKS, model, replace(network, file=replace(network.file, digest=digest)))


def test_with_nothing_here_every_file_is_named_with_its_address_and_its_place(here, capsys):
    found = checked(capsys, "--no-steps")
    assert {file["state"] for file in found["files"]} == {"missing"}
    assert {file["of"] for file in found["files"]} == {*MODELS, *DATASETS}
    assert len(found["files"]) == 6 + 8 + 6
    assert all(file["address"] and file["folder"].startswith(str(here)) for file in found["files"])
    assert found["hours"] is None
    assert not list(here.rglob("*.part"))
    images = sum(2 * one.images("train") + one.images("test") for one in catalogue.SETS.values())
    known = sum(file["bytes"] for file in found["files"])
    assert sum(disk["need"] for disk in found["disk"]) == known + images * 3 * 224 * 224


def test_people_read_the_same(here, capsys):
    assert main(["check", "--no-steps", "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "20 files are missing" in text
    assert all(network.file.name in text for network in weights.NETWORKS.values())
    assert "of unknown size" in text
    kept = sum(map(cost.kept_bytes, grid.runs("paper")))
    assert f"{len(grid.runs('paper'))} runs, which leave task files of {remote.words(kept)} at most" in text
    assert "disk: at least" in text  # for what has an unknown size


def test_a_step_is_taken_with_each_pair_that_is_here(here, monkeypatch, capsys):
    for model in ("rn18-timm", "rn50-swav"):
        put_weights(here, monkeypatch, model)
    for dataset in ("dtd", "cifar10"):
        made.write(monkeypatch, here / "data", dataset)
    found = checked(capsys, "--batch-size", "4")
    assert states(found, "dtd") == dict.fromkeys(("dtd-r1.0.1.tar.gz", "split_zhou_DescribableTextures.json"), "here")
    pairs = {(step["model"], step["dataset"]) for step in found["steps"]}
    real = {(model, dataset) for model in ("rn18-timm", "rn50-swav") for dataset in ("dtd", "cifar10")}
    assert pairs == real | {(model, "") for model in MODELS if model not in ("rn18-timm", "rn50-swav")}
    assert all(step["seconds"] > 0 for step in found["steps"])
    assert all(value > 0 for value in found["hours"].values())
    assert found["faults"] == []


def test_what_is_decoded_needs_no_archive(here, monkeypatch):
    archive = made.write(monkeypatch, here / "data", "dtd")
    for split, how in inventory.KEPT:
        load("dtd", split, how=how, size=224)
    archive.unlink()
    items = inventory.inventory()
    assert {item.state for item in items if item.of == "dtd"} == {"decoded"}
    assert inventory.ready(items, "dtd")
    assert not inventory.ready(items, "sun397")


def test_a_damaged_file_is_a_fault(here, capsys):
    (here / "weights" / "RN50.pt").write_bytes(b"half of it")
    found = checked(capsys, "--no-steps", code=1)
    assert states(found, "rn50-clip") == {"RN50.pt": "damaged"}
    assert "must have the sha256" in found["faults"][0]


def test_an_empty_folder_is_not_taken_for_unpacked_pictures(here, capsys):
    from submasking.worlds.paper.data.catalogue import SETS

    for name in ("dtd", "sun397"):
        (here / "data" / SETS[name].folder / SETS[name].unpacked).mkdir(parents=True)
    found = checked(capsys, "--no-steps")
    assert all("unpacked" not in states(found, name).values() for name in ("dtd", "sun397"))


def test_a_folder_in_a_files_place_is_a_fault(here, capsys):
    (here / "weights" / "RN50.pt").mkdir()
    found = checked(capsys, "--no-steps", code=1)
    assert states(found, "rn50-clip") == {"RN50.pt": "damaged"}
    assert "is a folder; move it away" in found["faults"][0]


def test_a_disk_that_is_too_small_is_a_fault(here, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    assert "must have room for" in checked(capsys, "--no-steps", code=1)["faults"][0]


def test_a_step_that_fails_is_a_fault_and_the_others_are_taken(here, monkeypatch, capsys):
    true = effort.measured

    def full(backbone, *more, **named):
        if backbone.name == "rn50-timm":
            raise RuntimeError("out of memory")
        return true(backbone, *more, **named)

    monkeypatch.setattr(effort, "measured", full)
    found = checked(capsys, "--batch-size", "2", code=1)
    assert found["faults"] == ["rn50-timm cannot be run: out of memory"]
    assert len([step for step in found["steps"] if "seconds" in step]) == 5
    assert found["hours"] is None


def test_a_device_that_is_not_here_is_one_line(here, capsys):
    assert main(["check", "--device", "cuda:99", "--no-steps"]) == 1
    assert "device must be one that is here" in capsys.readouterr().err


def rows(heading):
    table = PAGE.read_text().partition(heading)[2].partition("\n\n|")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_the_page_lists_the_networks_as_they_are():
    assert [
        (name, file.partition("`")[2].partition("`")[0], count) for name, file, _, count in rows("## Networks")
    ] == [(name, network.file.name, f"{network.masked:,}") for name, network in weights.NETWORKS.items()]


def test_the_page_lists_the_data_sets_as_they_are():
    for (name, files, *numbers), (known, one) in zip(rows("## Data sets"), catalogue.SETS.items(), strict=True):
        assert name == known
        wanted = [f"{one.folder}/{one.archive.name}"] + ([one.split.name] if one.split else [])
        assert re.findall(r"`([^`]+)`", files) == wanted
        assert numbers == [f"{one.classes}", f"{one.images('train'):,}", f"{one.images('test'):,}"]
