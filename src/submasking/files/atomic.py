"""The one way in which this project writes a file: a reader, a crash or a full disk never meets half of it."""

from __future__ import annotations

import errno
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # of an OSError after which no other file can be written either
FOLDER = "must be a file to write, but is a folder"
NO_FILE = "must be a file to write, but is a device or a pipe, which a file would replace"
NO_HOME = "must be a path as it is; a home folder is written ~ for a shell alone; write it out, as Path.expanduser does"
ABANDONED = 3600.0  # seconds after which nobody writes to a file any more: none takes minutes
_PART = re.compile(r"\..+\.[0-9a-f]{8}\.part")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new empty file beside `path`, to be written by name; it takes the place of `path` when the block ends.

    When the block raises, `path` stays as it was. Missing folders are made. The file gets the rights that the umask
    leaves. A link stays a link: what it leads to is replaced.

    Args:
        path: the file to be.

    Raises:
        OSError: the folder cannot be made or written to, or what is there is no file: a folder, or as /dev/null; or
            the path begins with ~, and no folder here is called so.
    """
    _require_no_home(path)
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"{FOLDER}; name a file in it", str(path))
    if _is_device(path):  # which would be replaced by a file, for every program of the machine
        raise OSError(errno.EINVAL, NO_FILE, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.part")  # a name has at most 255 bytes
    made = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)  # not mkstemp: its files are for one user only
    os.close(made)
    try:
        yield part
        with part.open("rb+") as file:  # else a power cut may leave the new name on an empty file
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(part)):
            error.filename = str(path)  # the name that whoever reads it knows
        raise


def sweep(folder: Path) -> None:
    """Remove what writers that were killed have left below a folder."""
    for part in folder.rglob(".*.part"):
        with suppress(FileNotFoundError):  # a writer who is at work has put it in its place meanwhile
            if _PART.fullmatch(part.name) and part.stat().st_mtime < time.time() - ABANDONED:
                part.unlink()


def require_writable(path: Path) -> None:
    """Make the folder of a file to be written, and try whether it takes files: before the work, not after.

    Raises:
        ValueError: the path is a folder, or nothing can be written there.
    """
    try:
        _require_no_home(path)
        if path.is_dir():
            raise ValueError(f"{path} {FOLDER}; name a file in it")
        if _is_device(path):
            raise ValueError(f"{path} {NO_FILE}; name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(f"{path} must be a file that can be written ({error}); choose another place") from error


def _require_no_home(path: Path) -> None:
    if path.parts[:1] and path.parts[0].startswith("~") and len(path.parts) > 1 and not Path(path.parts[0]).exists():
        raise OSError(errno.EINVAL, NO_HOME, str(path))


def _is_device(path: Path) -> bool:
    """Whether there is something that is neither a file nor a folder: a device, a pipe, a socket."""
    return path.exists() and not (path.is_file() or path.is_dir())


def write(path: Path, content: str | bytes) -> None:
    """Write text (as UTF-8) or bytes through `replacing`."""
    with replacing(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
