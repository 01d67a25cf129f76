"""The paper's data sets from miniature archives in the published layouts; a fault is one line and leaves nothing."""

import json
import shutil
from dataclasses import replace

import numpy as np
import paper_archives as made
import pytest
import torch
from PIL import Image

from submasking.records.names import DATASETS
from submasking.worlds.paper import places
from submasking.worlds.paper.data import archives, catalogue, mapped, rendering, splits
from submasking.worlds.paper.data.load import file_of, load

SPLIT = [name for name in DATASETS if not name.startswith("cifar")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("SUBMASKING_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path / "results"))
    return tmp_path / "data"


def refused(match, dataset, split="train"):
    """The one line that a data set is refused with; nothing is left of it, and what was there stays."""
    before = sorted(path for path in places.data_folder().rglob("*"))
    with pytest.raises(ValueError, match=match) as error:
        load(dataset, split, size=made.SIZE)
    assert "\n" not in str(error.value)
    assert sorted(path for path in places.data_folder().rglob("*") if path.is_file()) == [
        path for path in before if path.is_file()
    ]
    assert not list(places.cache_folder().glob("*")) if places.cache_folder().exists() else True
    return str(error.value)


def test_they_are_the_papers_eight():
    assert tuple(catalogue.SETS) == DATASETS


def test_the_published_counts_add_up():
    whole = {name: chosen.train + chosen.val + chosen.test for name, chosen in catalogue.SETS.items()}
    assert whole == {
        "cifar10": 60_000, "cifar100": 60_000, "dtd": 47 * 120, "eurosat": 27_000, "flowers": 8_189,
        "oxfordpets": 7_349, "sun397": 397 * 100, "ucf101": 13_320,
    }  # fmt: skip


@pytest.mark.parametrize("dataset", DATASETS)
def test_each_set_is_read_from_its_archive(folder, monkeypatch, dataset):
    made.write(monkeypatch, folder, dataset)
    train, test = (load(dataset, split, size=made.SIZE) for split in ("train", "test"))
    assert (len(train), len(test)) == (made.TRAIN + made.VAL, made.TEST)
    assert train.classes == test.classes == made.PROMPTED[dataset]
    assert train.images.shape == (6, 3, made.SIZE, made.SIZE)
    if dataset in SPLIT:  # red is class 0, blue class 1, in the order of the split file
        assert train.labels.tolist() == [1, 0] * 3
        middle = train.images[:, :, 8, 8]
        assert ((middle[:, 2] > middle[:, 0]).long() == train.labels).all()
    else:
        assert train.labels.tolist() == [0, 1] * 3


@pytest.mark.parametrize("dataset", ["cifar10", "dtd", "oxfordpets"])
def test_an_unpacked_folder_serves_as_well(folder, monkeypatch, dataset):
    archive = made.write(monkeypatch, folder, dataset)
    packed = load(dataset, "train", size=made.SIZE)
    identity = mapped.identity(file_of(dataset, "train", size=made.SIZE))
    shutil.rmtree(places.cache_folder())
    shutil.unpack_archive(archive, folder / ("" if dataset == "dtd" else catalogue.SETS[dataset].folder), filter="data")
    archive.unlink()
    assert torch.equal(load(dataset, "train", size=made.SIZE).images, packed.images)
    assert mapped.identity(file_of(dataset, "train", size=made.SIZE)) == identity


def test_what_was_decoded_needs_no_archive_and_no_decoder(folder, monkeypatch):
    archive = made.write(monkeypatch, folder, "dtd")
    first = load("dtd", "test", size=made.SIZE)
    archive.unlink()
    monkeypatch.setattr(rendering, "decoded", None)
    again = load("dtd", "test", size=made.SIZE)
    assert torch.equal(again.images, first.images)
    assert torch.equal(again.subset([2, 0]).images, first.images[[2, 0]])
    again.images[0] = 0  # a private copy: the file stays
    assert torch.equal(load("dtd", "test", size=made.SIZE).images, first.images)


def test_another_split_file_makes_other_pictures(folder, monkeypatch):
    made.write(monkeypatch, folder, "eurosat")
    before = load("eurosat", "train", size=made.SIZE)
    path = folder / "eurosat" / "split_zhou_EuroSAT.json"
    turned = json.loads(path.read_text())
    turned["train"].reverse()
    path.write_text(json.dumps(turned))
    after = load("eurosat", "train", size=made.SIZE)
    assert torch.equal(after.images[:4], before.images[:4].flip(0))


def test_training_squeezes_the_whole_picture_and_judging_cuts_the_middle(folder, monkeypatch):
    made.write(monkeypatch, folder, "dtd")
    whole, centre = (load("dtd", "train", how=how, size=20).images[0].float() for how in ("whole", "centre"))
    assert whole[:, :, 0].mean() < 0.7 * whole[:, :, -1].mean()  # the dark end is seen
    assert centre[:, :, 0].mean() > 0.9 * centre[:, :, -1].mean()  # it is cut off
    picture = Image.fromarray(np.arange(36 * 20 * 3, dtype=np.uint8).reshape(20, 36, 3))
    assert (rendering.rendered(picture, "centre", 20) == np.asarray(picture)[:, 8:28].transpose(2, 0, 1)).all()


@pytest.mark.parametrize("dataset", [name for name in DATASETS if catalogue.SETS[name].archive.digest])
def test_a_damaged_or_half_archive_is_refused_by_its_hash(folder, monkeypatch, dataset):
    archive = made.write(monkeypatch, folder, dataset)
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    refused("must have the md5", dataset)
    archive.write_bytes(content[:-20] + b"x" + content[-19:])
    refused("must have the md5", dataset)


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_missing_archive_is_named_with_size_and_place(folder, monkeypatch, dataset):
    archive = made.write(monkeypatch, folder, dataset)
    archive.unlink()
    said = refused("must be in", dataset)
    assert archive.name in said
    assert str(archive.parent) in said


@pytest.mark.parametrize("dataset", SPLIT)
def test_another_archive_is_refused_by_what_is_missing(folder, monkeypatch, dataset):
    archive = made.write(monkeypatch, folder, dataset)
    foreign = made.packed(archive.name, {"holiday/beach.jpg": made.picture(0, 0)})
    archive.write_bytes(foreign)
    made.publish(monkeypatch, dataset, foreign, (archive.parent / catalogue.SETS[dataset].split.name).read_bytes())
    refused("6 of 6 are not in it", dataset)


@pytest.mark.parametrize("dataset", ["dtd", "ucf101"])
def test_without_a_hash_a_cut_archive_is_still_refused(folder, monkeypatch, dataset):
    archive = made.write(monkeypatch, folder, dataset)
    chosen = catalogue.SETS[dataset]
    monkeypatch.setitem(catalogue.SETS, dataset, replace(chosen, archive=replace(chosen.archive, digest="")))
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    refused("cut off or damaged", dataset)
    archive.write_bytes(b"<html>quota exceeded</html>")
    refused("must begin as a file of its name does", dataset)


def test_a_damaged_picture_is_named(folder, monkeypatch):
    content = made.files("ucf101")
    broken = next(name for name in content if name.endswith("c00.jpg"))
    archive = made.write(monkeypatch, folder, "ucf101")
    archive.write_bytes(made.packed(archive.name, content | {broken: content[broken][:300]}))
    assert broken.rpartition("/")[2] in refused("readable pictures", "ucf101")


def test_an_interruption_leaves_nothing(folder, monkeypatch):
    made.write(monkeypatch, folder, "dtd")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(rendering, "rendered", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load("dtd", "train", size=made.SIZE)
    assert list(places.cache_folder().iterdir()) == []


def test_a_cache_that_was_cut_is_made_anew(folder, monkeypatch):
    made.write(monkeypatch, folder, "dtd")
    first = load("dtd", "train", size=made.SIZE).images.clone()
    path = file_of("dtd", "train", size=made.SIZE)
    path.write_bytes(path.read_bytes()[:-100])
    assert torch.equal(load("dtd", "train", size=made.SIZE).images, first)
    path.with_suffix(".json").write_text("{")
    assert torch.equal(load("dtd", "train", size=made.SIZE).images, first)


def test_a_full_disk_is_said_before_decoding(folder, monkeypatch):
    made.write(monkeypatch, folder, "dtd")
    monkeypatch.setattr(mapped, "ROOM", 1 << 60)
    refused("make room there", "dtd")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda parts: parts["val"].pop(), "its val must have 2 pictures, it has 1"),
        (lambda parts: parts["test"][0].__setitem__(1, 5), "labels must be 0 to 1"),
        (lambda parts: parts["test"][0].__setitem__(2, "striped"), "has two names"),
        (lambda parts: parts["test"][0].__setitem__(0, parts["train"][0][0]), "is in it twice"),
        (lambda parts: parts["test"][0].__setitem__(0, "../../secret.jpg"), "no path below"),
        (lambda parts: parts["test"][0].__setitem__(0, "/etc/secret.jpg"), "no path below"),
        (lambda parts: parts["test"][0].__setitem__(1, True), "no label and name"),
        (lambda parts: parts.pop("val"), "it must hold train, val and test"),
    ],
)
def test_a_foreign_split_file_is_refused(folder, monkeypatch, change, said):
    made.write(monkeypatch, folder, "sun397")
    path = folder / "sun397" / "split_zhou_SUN397.json"
    parts = json.loads(path.read_text())
    change(parts)
    path.write_text(json.dumps(parts))
    refused(said, "sun397")


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"\xff\xfe", b'{"train": [["a.jpg", 0]]}'])
def test_what_is_no_split_file_is_refused(tmp_path, content):
    path = tmp_path / "split_zhou_SUN397.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not the published split file"):
        splits.read(path, catalogue.SETS["sun397"], "train")


def test_nothing_of_cifars_archive_lies_outside_the_folder_that_goes_again(folder, monkeypatch):
    content = {"../escaped": b"out"} | made.files("cifar10")
    archive = made.write(monkeypatch, folder, "cifar10")
    archive.write_bytes(made.packed(archive.name, content))
    made.publish(monkeypatch, "cifar10", archive.read_bytes())
    refused("outside", "cifar10")


def test_a_path_that_leads_out_of_an_archive_is_only_a_name(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(made.packed("a.tar.gz", {"images/../../x.jpg": b"1", "images/x.jpg": b"2"}))
    got = list(archives.pictures(tmp_path / "a.tar.gz", "images", {"x.jpg": 0}))
    assert got == [(0, "x.jpg", b"2")]
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_an_unknown_set_or_split_is_refused_with_the_known():
    with pytest.raises(ValueError, match="cifar10, cifar100"):
        load("mnist", "train")
    with pytest.raises(ValueError, match=r"train .*or test"):
        load("dtd", "val")
    with pytest.raises(ValueError, match="whole, centre"):
        load("dtd", "test", how="squeezed")
