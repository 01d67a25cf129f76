"""What helps against what the system refuses, for the line in which a program tells it."""

from __future__ import annotations

import errno

_NO_ROOM, _NO_RIGHT = "; make room there, or name another place", "; name a place that you may write to and read"
REMEDIES = {
    errno.ENOSPC: _NO_ROOM, errno.EDQUOT: _NO_ROOM, errno.EROFS: _NO_RIGHT, errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT, errno.ENOTDIR: "; a part of the path is a file: name another",
    errno.EMFILE: "; raise the number of open files (ulimit -n)",
}  # fmt: skip


def line(error: Exception) -> str:
    """An error in one line, with the remedy where the system raised it and one is known."""
    return f"{error}{REMEDIES.get(error.errno or 0, '') if isinstance(error, OSError) else ''}"
