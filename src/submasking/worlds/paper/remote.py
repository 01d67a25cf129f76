"""A published file: its local copy, or fetched from its address, in either case checked before it is used.

A download that stops goes on from where it stopped, as long as the server still has the same file. What arrives gets
its name only when it is whole and has the hash that it was published with.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from tqdm import tqdm

TRIES = 4  # in a row without a single byte, after which a download gives up
PATIENCE = 60.0  # seconds without a byte
PIECE = 1 << 20  # bytes
# how files begin that are called so: packed ones, JSON, and what torch.save writes, in either of its forms
BEGINNINGS = {
    ".zip": (b"PK",), ".gz": (b"\x1f\x8b",), ".tgz": (b"\x1f\x8b",), ".json": (b"{",),
    ".pth": (b"PK", b"\x80"), ".pt": (b"PK", b"\x80"), ".tar": (b"PK", b"\x80"),
}  # fmt: skip
ROOM = 1 << 28  # bytes of the disk that a download leaves free


@dataclass(frozen=True)
class Remote:
    """A file that somebody has published.

    Attributes:
        name: of the file, in a folder.
        address: where it is fetched.
        size: about how many bytes; 0 where nobody says so.
        digest: "sha256:" or "md5:" and the hash of the content, or its first letters; "" where none was published.
    """

    name: str
    address: str
    size: int = 0
    digest: str = ""

    @property
    def about(self) -> str:
        """Its size in words."""
        return f"about {words(self.size)}" if self.size else "of unpublished size"


class StoppedError(OSError):
    """A download ended before the file did."""


def words(size: float) -> str:
    """A number of bytes in words, as 1.2 GB."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size:.0f} bytes"


def have(remote: Remote, folder: Path, *, download: bool = True, progress: bool = True) -> Path:
    """The file in a folder, where it is fetched to if it is not there.

    Args:
        remote: the file.
        folder: holds local copies; a file that is in it is never changed.
        download: fetch what is missing.
        progress: show it, in a terminal.

    Raises:
        ValueError: the file is missing and cannot be had, or its content is not the published one. One line, with its
            name, its size and where to put it. A part of it that has arrived stays, for the next call to go on from.
    """
    path = folder / remote.name
    if path.is_file():
        _require(remote, path, progress, f"; move it away, and it is fetched again from {remote.address}")
        return path
    if os.path.lexists(path):  # which a download would end at, or replace
        what = "a folder" if path.is_dir() else "a link to nothing" if path.is_symlink() else "no plain file"
        raise ValueError(f"{remote.name} ({remote.about}) must be a file, but {path} is {what}; move it away")
    if not download:
        raise _missing(remote, folder, "it is not there")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(path) as part:
            if not path.is_file():  # else somebody else has just fetched it
                _fetch(remote, part, progress)
                _require(remote, part, progress, "; what has arrived is removed, try again", remove=True)
                os.replace(part, path)
                _tag(part).unlink(missing_ok=True)
    except (OSError, http.client.HTTPException) as error:
        raise _missing(remote, folder, " ".join(str(error).split()) or type(error).__name__) from error
    return path


def digest(path: Path, kind: str, *, progress: bool = False) -> str:
    """Hash of a file's content by a name of hashlib, with a bar for a large file."""
    found = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file, _bar(path.stat().st_size, f"checking {path.name}", progress) as bar:
        while piece := file.read(PIECE):
            found.update(piece)
            bar.update(len(piece))
    return found.hexdigest()


@lru_cache
def _known(path: Path, kind: str, state: tuple[int, int, int], progress: bool) -> str:
    """The hash of a file in this state: the largest takes minutes, and is asked for more than once."""
    return digest(path, kind, progress=progress)


def _missing(remote: Remote, folder: Path, why: str) -> ValueError:
    return ValueError(
        f"{remote.name} ({remote.about}) must be in {folder}, but {why}; it is published at {remote.address}"
    )


def _oddly_begun(path: Path) -> str:
    """Why a file is plainly none of its name, where no hash was published: a page of the web, or nothing."""
    wanted = BEGINNINGS.get(Path(path.name.removesuffix(".part")).suffix)
    with path.open("rb") as file:
        found = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    odd = wanted and not found.startswith(wanted)
    return f"must begin as a file of its name does, but begins with {found[:12]!r}" if odd else ""


def _require(remote: Remote, path: Path, progress: bool, remedy: str, *, remove: bool = False) -> None:
    """Refuse a file that is not the published one."""
    kind, _, wanted = remote.digest.partition(":")
    if not wanted:
        if odd := _oddly_begun(path):
            if remove:
                path.unlink()
                _tag(path).unlink(missing_ok=True)
            raise ValueError(f"{path} {odd}{remedy}")
        return
    seen = path.stat()
    size = seen.st_size
    got = _known(path, kind, (size, seen.st_mtime_ns, seen.st_ino), progress)
    if got.startswith(wanted):
        return
    if remove:
        path.unlink()
        _tag(path).unlink(missing_ok=True)
    raise ValueError(
        f"{path.name.removesuffix('.part')} must have the {kind} {wanted} that it was published with, but {path} has"
        f" {got[: len(wanted)]} ({size:,} bytes; the published one is {remote.about}){remedy}"
    )


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """The part of a file that has arrived, for one process at a time; an empty one is not left behind."""
    part = path.with_name(path.name + ".part")
    with part.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        part.touch()  # whoever had it before may have removed it
        try:
            yield part
        finally:
            if part.is_file() and (not part.stat().st_size or path.is_file()):
                part.unlink()
                _tag(part).unlink(missing_ok=True)


def _tag(part: Path) -> Path:
    """File that remembers which version of the file the server has sent."""
    return part.with_name(part.name + ".tag")


def _fetch(remote: Remote, part: Path, progress: bool) -> None:
    """Fetch what is missing of a file; a line that breaks is tried again as long as something comes."""
    without = 0
    while True:
        before = part.stat().st_size
        try:
            return _go_on(remote, part, progress)
        except (StoppedError, TimeoutError, ConnectionError, http.client.IncompleteRead) as error:
            without = without + 1 if part.stat().st_size <= before else 0
            if without >= TRIES:
                raise StoppedError(
                    f"only {part.stat().st_size:,} bytes arrived ({error}); the same call goes on"
                ) from error


def _go_on(remote: Remote, part: Path, progress: bool) -> None:
    have = part.stat().st_size
    tag = _tag(part).read_text(encoding="utf-8") if _tag(part).is_file() else ""
    headers = {"User-Agent": "submasking"}
    if have and tag:  # without a tag nobody knows whether the rest belongs to the same file
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    with _answer(urllib.request.Request(remote.address, headers=headers), part) as answer:
        if answer.headers.get_content_type() == "text/html" and not remote.name.endswith(".html"):
            raise OSError("the server sent a web page in its place")
        have = have if answer.status == http.client.PARTIAL_CONTENT else 0
        rest = int(answer.headers.get("Content-Length") or 0)
        _require_room(part, rest)
        _tag(part).write_text(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "", encoding="utf-8")
        with part.open("r+b") as file, _bar(have + rest, remote.name, progress, have) as bar:
            file.truncate(have)
            file.seek(have)
            got = _copy(answer, file, bar)
            file.flush()
            os.fsync(file.fileno())
    if got < rest:
        raise StoppedError(f"the line broke after {have + got:,} of {have + rest:,} bytes")


def _answer(request: urllib.request.Request, part: Path) -> http.client.HTTPResponse:
    try:
        return urllib.request.urlopen(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        _tag(part).unlink(missing_ok=True)  # nothing follows what is here, so it may be another file: from the start
        raise StoppedError("the server has no such part") from error


def _copy(answer: http.client.HTTPResponse, file: IO[bytes], bar: tqdm) -> int:
    got = 0
    while piece := answer.read(PIECE):
        file.write(piece)
        bar.update(len(piece))
        got += len(piece)
    return got


def _require_room(part: Path, rest: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if rest + ROOM > free:
        raise OSError(f"{words(rest)} are still to come and the disk has {words(free)} free")


def _bar(total: int, label: str, progress: bool, initial: int = 0) -> tqdm:
    shown = progress and sys.stderr.isatty()
    return tqdm(total=total or None, initial=initial, desc=label, unit="B", unit_scale=True, disable=not shown)
