"""What a file or a folder is, by its content; asking again is cheap while sizes and times stay as they were."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from submasking.files import atomic

# Files written so shortly before they were looked at may change again without a sign of it: their clock ticks slowly.
SETTLED_NS = 2 * 10**9
Seen = dict[str, list[int | str]]  # by path below the folder: size, times and inode, and the hash of the content


def of_folder(folder: Path, parts: tuple[str, ...], memory: Path | None = None) -> str:
    """SHA-256 of the names and contents of the files in some parts of a folder, wherever the folder lies.

    A file whose size, times and inode are as they were is not read again. Hidden files and folders do not count.

    Args:
        folder: holds the parts.
        parts: names of folders in it; those that are not there hold nothing.
        memory: file that remembers what was seen, one for each folder; None reads all and remembers nothing.

    Raises:
        OSError: a file cannot be read.
    """
    before, now = _remembered(memory) if memory else {}, time.time_ns()
    seen: Seen = {}
    for part in parts:
        for path in _files(folder / part):
            name = path.relative_to(folder).as_posix()
            seen[name] = _state(path, before.get(name), now)
    if memory and seen != before:
        atomic.write(memory, json.dumps(seen, indent=0, sort_keys=True))
    digest = hashlib.sha256()
    for name, state in sorted(seen.items()):
        digest.update(f"{name}\0{state[-1]}\n".encode(errors="surrogateescape"))  # a name may be no text
    return digest.hexdigest()


def of_file(path: Path) -> str:
    """SHA-256 of a file's content.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def short(content: object, letters: int = 8) -> str:
    """Letters, eight or another number, that tell apart things that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:letters]


def _state(path: Path, before: object, now: int) -> list[int | str]:
    try:
        found = path.stat()
    except FileNotFoundError:  # a link that leads nowhere: whoever reads pictures says so
        return [0, "nowhere"]
    # the time of the last change of the inode cannot be set back, as that of the content can
    state: list[int | str] = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
    settled = max(found.st_mtime_ns, found.st_ctime_ns) + SETTLED_NS < now
    if isinstance(before, list) and before[:-1] == state:
        return before
    return [*(state if settled else [-1, *state[1:]]), of_file(path)]  # no file has size -1: it is read again


def _files(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Files below a folder by name, hidden ones left out; links are followed, but not into a folder that we are in."""
    here = os.path.realpath(folder)
    if here in above or not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files(entry, above | {here})
        else:
            yield entry


def _remembered(memory: Path) -> Seen:
    try:
        return dict(json.loads(memory.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # nothing is lost: the files are read again
        return {}
