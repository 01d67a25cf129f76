"""A run is what it ran on: folders and files by content, however they are called and wherever they lie."""

import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submasking.files import identity

NAMES = st.sampled_from(["train/cat/a.png", "train/cat/b.png", "train/dog/a.png", "test/cat/a.png", "test/dog/é.png"])
CONTENTS = st.dictionaries(NAMES, st.binary(max_size=6))


def written(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def of(folder, memory):
    return identity.of_folder(folder, ("train", "test"), memory)


@given(CONTENTS, CONTENTS)
def test_two_folders_are_one_only_if_names_and_contents_are(tmp_path_factory, first, second):
    place = tmp_path_factory.mktemp("folders")
    one = of(written(place / "one" / "images", first), place / "1.json")
    two = of(written(place / "two" / "images", second), place / "2.json")
    assert (one == two) == (first == second)


@given(CONTENTS.filter(len), st.data())
def test_any_change_is_noticed_also_of_equal_size_and_with_the_old_time(tmp_path_factory, files, data):
    place = tmp_path_factory.mktemp("folder")
    folder = written(place / "images", files)
    before = of(folder, place / "memory.json")
    assert of(folder, place / "memory.json") == before
    name = data.draw(st.sampled_from(sorted(files)))
    file = folder / name
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    how = data.draw(st.sampled_from(["rewrite", "replace", "remove", "rename", "add"]))
    if how == "rewrite":
        file.write_bytes(bytes(byte ^ 1 for byte in file.read_bytes()) or b"x")
        os.utime(file, ns=times)
    elif how == "replace":
        (place / "new").write_bytes(bytes(byte ^ 1 for byte in file.read_bytes()) or b"x")
        os.utime(place / "new", ns=times)
        os.replace(place / "new", file)
    elif how == "remove":
        file.unlink()
    elif how == "rename":
        file.rename(file.with_name("other.png"))
    else:
        (file.parent / "more.png").write_bytes(b"")
    assert of(folder, place / "memory.json") != before


def aged(folder, seconds=60):
    """Make files look as if they had been there for a while; the time of the inode cannot be set: it is waited for."""
    old = (folder.stat().st_mtime_ns - seconds * 10**9,) * 2
    for path in folder.rglob("*"):
        os.utime(path, ns=old)


def test_files_that_stayed_as_they_were_are_not_read_again(tmp_path, monkeypatch):
    folder = written(tmp_path / "images", {"train/cat/a.png": b"1", "train/cat/b.png": b"2"})
    aged(folder)
    monkeypatch.setattr(identity, "SETTLED_NS", -(10**12))  # as if looked at much later
    before, read, true = of(folder, tmp_path / "memory.json"), [], identity.of_file
    monkeypatch.setattr(identity, "of_file", lambda path: (read.append(path.name), true(path))[1])
    assert of(folder, tmp_path / "memory.json") == before
    assert read == []
    (folder / "train" / "cat" / "b.png").write_bytes(b"3")
    assert of(folder, tmp_path / "memory.json") != before
    assert read == ["b.png"]


def test_a_file_that_was_just_written_is_in_doubt_and_read_again(tmp_path, monkeypatch):
    folder = written(tmp_path / "images", {"train/cat/a.png": b"1"})
    of(folder, tmp_path / "memory.json")
    read, true = [], identity.of_file
    monkeypatch.setattr(identity, "of_file", lambda path: (read.append(path.name), true(path))[1])
    of(folder, tmp_path / "memory.json")
    assert read == ["a.png"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[1, 2]", b'{"train/cat/a.png": 3}', b"\xff"])
def test_a_damaged_memory_is_made_again(tmp_path, damage):
    folder = written(tmp_path / "images", {"train/cat/a.png": b"1"})
    before = of(folder, tmp_path / "memory.json")
    (tmp_path / "memory.json").write_bytes(damage)
    assert of(folder, tmp_path / "memory.json") == before


def test_hidden_files_other_folders_and_loops_do_not_count(tmp_path):
    folder = written(tmp_path / "images", {"train/cat/a.png": b"1"})
    before = of(folder, tmp_path / "memory.json")
    written(folder, {"train/.ipynb_checkpoints/a.png": b"1", "train/cat/._a.png": b"2", "notes/x.png": b"3"})
    (folder / "train" / "cat" / "loop").symlink_to(folder / "train")
    assert of(folder, tmp_path / "memory.json") == before


def test_a_class_that_is_a_link_to_another_counts_and_one_to_nowhere_hurts_nobody(tmp_path):
    folder = written(tmp_path / "images", {"train/cat/a.png": b"1"})
    before = of(folder, tmp_path / "memory.json")
    (folder / "train" / "dog").symlink_to(folder / "train" / "cat")
    linked = of(folder, tmp_path / "memory.json")
    assert linked != before
    (folder / "train" / "cat" / "b.png").symlink_to(tmp_path / "nowhere.png")
    assert of(folder, tmp_path / "memory.json") not in (before, linked)


def test_a_copy_elsewhere_is_the_same(tmp_path):
    folder = written(tmp_path / "images", {"train/cat/a.png": b"1", "test/cat/b.png": b"2"})
    shutil.copytree(folder, tmp_path / "far" / "pictures")
    assert of(folder, tmp_path / "1.json") == of(tmp_path / "far" / "pictures", tmp_path / "2.json")


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert identity.of_file(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert len(identity.short({"a": 1})) == 8
