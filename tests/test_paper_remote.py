"""Published files: fetched whole from a server on this machine, gone on with, checked, or refused in one line."""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from submasking.worlds.paper import remote
from submasking.worlds.paper.remote import Remote

CONTENT = bytes(range(256)) * 4096  # one megabyte


class Server(ThreadingHTTPServer):
    """Serves one file; what it does wrong is set by the tests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.tag, self.cut, self.kind, self.asked = CONTENT, '"one"', [], "application/octet-stream", []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, start = self.server, 0
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if asked and self.headers.get("If-Range") == server.tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(server.content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(server.content) - start))
        self.send_header("Content-Type", server.kind)
        if server.tag:
            self.send_header("ETag", server.tag)
        self.end_headers()
        stop = start + server.cut.pop(0) if server.cut else None
        self.wfile.write(server.content[start:stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def file_at(server, content=CONTENT, kind="sha256"):
    return Remote("file.bin", server.address, len(content), f"{kind}:{hashlib.new(kind, content).hexdigest()}")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_file_arrives_whole_and_alone(server, tmp_path, kind):
    path = remote.have(file_at(server, kind=kind), tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert names(tmp_path / "new") == ["file.bin"]


def test_a_local_copy_is_checked_and_not_fetched(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    remote.have(file_at(server), tmp_path)
    assert server.asked == []


def test_a_broken_line_goes_on_where_it_broke(server, tmp_path):
    server.cut = [1000, 500_000]
    assert remote.have(file_at(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-", "bytes=501000-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server, tmp_path):
    server.cut = [400_000] + [0] * remote.TRIES
    with pytest.raises(ValueError, match=r"only 400,000 bytes arrived.*goes on") as refused:
        remote.have(file_at(server), tmp_path)
    assert "\n" not in str(refused.value)
    assert "file.bin" not in names(tmp_path)
    assert remote.have(file_at(server), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=400000-"
    assert names(tmp_path) == ["file.bin"]


def test_parts_of_two_versions_are_never_joined(server, tmp_path):
    server.cut = [400_000] + [0] * remote.TRIES
    with pytest.raises(ValueError, match="arrived"):
        remote.have(Remote("file.bin", server.address), tmp_path)
    server.content, server.tag = CONTENT[::-1], '"two"'
    assert remote.have(Remote("file.bin", server.address), tmp_path).read_bytes() == CONTENT[::-1]


def test_without_a_tag_it_starts_anew(server, tmp_path):
    server.tag, server.cut = "", [400_000]
    assert remote.have(file_at(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, None]


def test_a_part_that_is_the_whole_is_fetched_again(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    (tmp_path / "file.bin.part.tag").write_text('"one"')
    assert remote.have(file_at(server), tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]


def test_another_content_is_refused_and_nothing_left(server, tmp_path):
    wanted = file_at(server)
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(ValueError, match=r"must have the sha256 .* published with.*try again") as refused:
        remote.have(wanted, tmp_path)
    assert "\n" not in str(refused.value)
    assert names(tmp_path) == []


def test_a_local_copy_of_another_content_is_refused_and_kept(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT[:1000])
    with pytest.raises(ValueError, match=r"1,000 bytes.*move it away"):
        remote.have(file_at(server), tmp_path)
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("what", ["a folder", "a link to nothing", "no plain file"])
@pytest.mark.parametrize("download", [True, False])
def test_what_is_no_file_is_not_replaced(server, tmp_path, what, download):
    path = tmp_path / "file.bin"
    if what == "a folder":
        path.mkdir()
    elif what == "no plain file":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "drive" / "file.bin")
    with pytest.raises(ValueError, match=f"must be a file, but .*file.bin is {what}; move it away"):
        remote.have(file_at(server), tmp_path, download=download)
    assert server.asked == []
    assert names(tmp_path) == ["file.bin"]


ODD = {
    "one.zip": b"<html>", "two.tar.gz": b"PK\x03\x04", "three.tgz": b"", "four.json": b"<!DOCTYPE html>",
    "five.pth.tar": b"<html>", "six.pth": b"half", "seven.json": b"[]",
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_a_file_without_a_hash_begins_as_its_name_says(name, tmp_path):
    (tmp_path / name).write_bytes(ODD[name])
    with pytest.raises(ValueError, match=r"must begin as a file of its name does.*; move it away"):
        remote.have(Remote(name, "http://127.0.0.1:9/"), tmp_path)
    assert (tmp_path / name).read_bytes() == ODD[name]


@pytest.mark.parametrize("content", [b'{"train": []}', b'\xef\xbb\xbf {"train": []}', b"\n{}"])
def test_a_file_that_begins_as_its_name_says_is_taken(content, tmp_path):
    (tmp_path / "split.json").write_bytes(content)
    assert remote.have(Remote("split.json", "http://127.0.0.1:9/"), tmp_path).read_bytes() == content


def test_a_web_page_is_no_file(server, tmp_path):
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(ValueError, match="a web page in its place"):
        remote.have(Remote("file.bin", server.address), tmp_path)
    assert names(tmp_path) == []


def test_without_network_the_line_names_file_size_folder_and_address(tmp_path):
    nowhere = Remote("file.bin", "http://127.0.0.1:9/file.bin", 46_830_571, "sha256:00")
    with pytest.raises(ValueError, match=r"file\.bin \(about 46\.8 MB\) must be in") as refused:
        remote.have(nowhere, tmp_path)
    said = str(refused.value)
    assert str(tmp_path) in said
    assert nowhere.address in said
    assert "\n" not in said
    assert names(tmp_path) == []


def test_a_full_disk_is_said_before_it_is_full(server, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "ROOM", 1 << 60)
    with pytest.raises(ValueError, match="the disk has"):
        remote.have(file_at(server), tmp_path)
    assert names(tmp_path) == []


def test_two_callers_fetch_once(server, tmp_path):
    got = []
    callers = [threading.Thread(target=lambda: got.append(remote.have(file_at(server), tmp_path))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert [path.read_bytes() == CONTENT for path in got] == [True] * 4
    assert len(server.asked) == 1
    assert names(tmp_path) == ["file.bin"]


def test_offline_nothing_is_asked(server, tmp_path):
    with pytest.raises(ValueError, match="must be in"):
        remote.have(file_at(server), tmp_path, download=False)
    assert server.asked == []


@pytest.mark.parametrize(("size", "text"), [(0, "0 bytes"), (563_702, "564 kB"), (39_231_000_000, "39.2 GB")])
def test_sizes_in_words(size, text):
    assert remote.words(size) == text
