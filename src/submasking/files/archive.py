"""Files as one archive: the same files give the same bytes, whenever and by whomever they are packed."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable
from typing import NamedTuple


class Entry(NamedTuple):
    """A file in an archive: its name there, what is in it, and its rights."""

    name: str
    content: bytes
    mode: int = 0o644


def packed(entries: Iterable[Entry], time: int = 0) -> bytes:
    """Pack files in the order given, without owners, all of one time.

    Args:
        entries: the files.
        time: seconds since 1970 that each file is said to have been changed.

    Returns:
        A tar archive, compressed by gzip.
    """
    whole = io.BytesIO()
    # without a name and a time of its own, which gzip would put in front
    with gzip.GzipFile(filename="", fileobj=whole, mode="wb", mtime=0) as stream:
        _write(entries, time, stream)
    return whole.getvalue()


def joined(entries: Iterable[Entry], time: int = 0) -> bytes:
    """The same archive, not compressed."""
    whole = io.BytesIO()
    _write(entries, time, whole)
    return whole.getvalue()


def _write(entries: Iterable[Entry], time: int, stream: gzip.GzipFile | io.BytesIO) -> None:
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            told = tarfile.TarInfo(entry.name)
            told.size, told.mode, told.mtime = len(entry.content), entry.mode, time
            tar.addfile(told, io.BytesIO(entry.content))
