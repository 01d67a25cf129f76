"""A record as the site offers it: in the same words, but with the class of each test image written out.

In a record these classes are packed, which no other compression sees through. Written out, the runs of a page are
much alike, and xz keeps them in half of the bytes; a reader needs no program of this project to read them.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from submasking.files import archive
from submasking.records.predictions import LABELS, unpack

LARGE = 30_000  # bytes: a larger record of a study or a benchmark is offered compressed
_NUMBERS = re.compile(r"\[\s+\d+(?:,\s+\d+)*\s+\]")


def readable(record: bytes) -> bytes:
    """A record's file with its packed classes written out, one list a line."""
    text = json.dumps(json.loads(record, object_hook=_written_out), indent=1, ensure_ascii=False)
    return (_NUMBERS.sub(lambda found: f"[{', '.join(re.findall(r'[0-9]+', found[0]))}]", text) + "\n").encode()


def _written_out(part: dict[str, Any]) -> dict[str, Any]:
    given = part.get("predictions")  # of a run by metric, of a study by run
    if isinstance(given, str):
        part["predictions"] = unpack(given)
    elif isinstance(given, dict):
        part["predictions"] = {name: unpack(packed) for name, packed in given.items()}
    for name in ("test", "judged"):  # what a run and what a study was judged on
        held = part.get(name)
        if isinstance(held, dict) and LABELS in held:
            part[name] = held | {LABELS: unpack(held[LABELS])}
    return part


def together(files: Iterable[Path]) -> bytes:
    """Records as one compressed archive, the same bytes for the same records."""
    return lzma.compress(archive.joined(archive.Entry(file.name, readable(file.read_bytes())) for file in files))


def name(section: str, file: Path) -> str:
    """Name of a record's file beside its page."""
    return f"{section}.json" + (".xz" if file.stat().st_size > LARGE else "")


def content(file: Path) -> bytes:
    """What that file holds, the same bytes for the same record; a small record is offered as it is."""
    whole = file.read_bytes()
    return lzma.compress(readable(whole)) if len(whole) > LARGE else whole
