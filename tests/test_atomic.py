"""What is written has the rights that the umask leaves, whoever writes it."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest
import torch
from torch import nn

from submasking import mask, maskfile
from submasking.files import atomic, store


def torch_saved(path):
    with atomic.replacing(path) as part:
        torch.save({"a": torch.ones(2)}, part)


WRITERS = {
    "text": lambda path: atomic.write(path, "text"),
    "torch": torch_saved,
    "safetensors": lambda path: store.save(path, {"a": torch.ones(2)}, {}),
    "a mask file": lambda path: maskfile.save(path, mask(nn.Sequential(nn.Linear(3, 2)), "weights")),
}


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077, 0o027])
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_file_has_the_rights_that_the_umask_leaves(writer, umask, tmp_path):
    before = os.umask(umask)
    try:
        for _ in range(2):  # a new file, and one that takes the place of another
            writer(tmp_path / "file")
            assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_writer_has_left_is_swept_when_it_is_old_and_nothing_else(tmp_path):
    (tmp_path / "deep").mkdir()
    names = [".a.json.0123abcd.part", "deep/.b.safetensors.89abcdef.part"]
    others = ["a.json", "download.part", ".hidden.part", ".a.json.0123abcd.part.txt"]
    for name in (*names, *others):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (0, 0))
    young = tmp_path / ".c.json.01234567.part"
    young.touch()
    atomic.sweep(tmp_path)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {*others, young.name}


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_no_file_is_not_replaced_by_one(kind, tmp_path):
    """As /dev/null would be, for every program of the machine."""
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    link = tmp_path / "link"
    link.symlink_to(path)
    before = path.stat()
    for target in (path, link):
        with pytest.raises(OSError, match="is a device or a pipe"):
            atomic.write(target, "text")
        with pytest.raises(ValueError, match="is a device or a pipe, which a file would replace; name a file"):
            atomic.require_writable(target)
    assert (path.stat().st_ino, path.stat().st_mode) == (before.st_ino, before.st_mode)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([kind, "link"])


def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "latest"
    link.symlink_to(tmp_path / "there" / "file")
    for text in ("one", "two"):
        atomic.write(link, text)
        assert link.is_symlink()
        assert (tmp_path / "there" / "file").read_text() == text
    assert [file.name for file in (tmp_path / "there").iterdir()] == ["file"]


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_is_no_file_to_write_and_stays_as_it_is(writer, linked, tmp_path):
    folder, path = tmp_path / "folder", tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    if linked:
        path = tmp_path / "link"
        path.symlink_to(folder)
    with pytest.raises(IsADirectoryError, match=f"is a folder; name a file in it: '{folder}'"):
        writer(path)
    assert [each.name for each in folder.iterdir()] == ["inside"]
    assert list(tmp_path.rglob("*.part")) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Quota")])
def test_a_disk_that_fills_while_a_file_is_written_is_said_with_the_file(tmp_path, error):
    path = tmp_path / "task"
    path.write_text("before")
    with pytest.raises(OSError, match=f"{error.strerror}: '{path}'"), atomic.replacing(path):
        raise error
    assert path.read_text() == "before"


@pytest.mark.parametrize("given", ["~/task.mask", "~somebody/tasks/task.mask"])
def test_a_home_folder_that_no_shell_has_written_out_is_no_new_folder(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="home folder is written ~ for a shell alone; write it out"):
        atomic.write(Path(given), "text")
    with pytest.raises(ValueError, match=r"~ for a shell alone; write it out.*choose another place"):
        atomic.require_writable(Path(given))
    assert not list(tmp_path.iterdir())
    for name in ("~", "~backup"):  # files may be called so, and folders that are there
        atomic.write(Path(name), "text")
    (tmp_path / "~kept").mkdir()
    atomic.write(Path("~kept/task.mask"), "text")
