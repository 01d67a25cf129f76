"""The container of a mask file: safetensors with a description and a checksum over everything, written atomically.

Nothing read from a file is executed. What is damaged, foreign or of another version is a `MaskFileError`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save as to_bytes

from submasking.files import atomic, contents, raw
from submasking.files.raw import Data, Raw
from submasking.tasks.fingerprint import fingerprint

FORMAT = 2
READABLE = (1, 2)
KEY = contents.MASK_FILE
DESCRIPTION, CHECKSUM = "description", "checksum"
HEADER_LIMIT = 16 * 2**20  # bytes; the few tensors of a mask file need under a thousand
DESCRIPTION_LIMIT = 64 * 2**20  # bytes of JSON: names and shapes of even the largest networks take far less


class MaskFileError(ValueError):
    """A mask file that is damaged, foreign, of another version, or made for another backbone."""


class Content(NamedTuple):
    """What a file holds: description, other tensors, checksum in hexadecimal, number of the format."""

    description: dict[str, Any]
    tensors: dict[str, Raw]
    checksum: str
    version: int


def write(path: Path, description: Mapping[str, Any], parts: Mapping[str, Data]) -> str:
    """Write a file whole or not at all.

    Args:
        path: where; missing folders are made.
        description: what becomes the JSON text.
        parts: by name; "description" and "checksum" are taken.

    Returns:
        The checksum in hexadecimal.
    """
    text = json.dumps(description, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    held = {**parts, DESCRIPTION: zlib.compress(text.encode(), 9)}
    checksum = fingerprint(as_tensors(held))
    held[CHECKSUM] = bytes.fromhex(checksum)
    arrays = {name: np.frombuffer(part, np.uint8) for name, part in held.items()}
    atomic.write(path, to_bytes(arrays, {KEY: str(FORMAT)}))
    return checksum


def read(path: Path) -> Content:
    """What is in a file.

    Raises:
        MaskFileError: it is missing, damaged, no mask file, or of a format that this version does not know.
    """
    version, tensors = _opened(path)
    if version not in map(str, READABLE):
        raise MaskFileError(
            f"{path} must have format {' or '.join(map(str, READABLE))}, it has {version!r}; a newer submasking may"
            " read it: update the package"
        )
    stored = tensors.pop(CHECKSUM, None)
    if stored is None or stored.kind != "uint8" or stored.shape != (32,):
        raise MaskFileError(f"{path} has no checksum: it is damaged; copy or train it again")
    checksum = fingerprint(tensors)
    if bytes(stored.data).hex() != checksum:
        raise MaskFileError(f"{path} is damaged: its content does not fit its checksum; copy or train it again")
    try:
        return Content(_description(tensors.pop(DESCRIPTION)), tensors, checksum, int(version))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, zlib.error) as error:
        raise MaskFileError(f"{path} has no readable description ({error}); copy or train it again") from error


def as_tensors(parts: Mapping[str, Data]) -> dict[str, Raw]:
    """Parts as the tensors of bytes that a file holds them as."""
    return {name: Raw("uint8", (len(part),), part) for name, part in parts.items()}


def _description(stored: Raw) -> dict[str, Any]:
    inflater = zlib.decompressobj()
    text = inflater.decompress(bytes(stored.data), DESCRIPTION_LIMIT)
    if not inflater.eof:
        raise ValueError(f"it is cut off, or longer than {DESCRIPTION_LIMIT} bytes")
    return dict(json.loads(text))


def _opened(path: Path) -> tuple[str, dict[str, Raw]]:
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
        if not 0 < size <= min(HEADER_LIMIT, path.stat().st_size - 8):
            raise MaskFileError(
                f"{path} is not a mask file, or cut off: it declares a header of {size} bytes; copy it again, or pass"
                " what maskfile.save has written"
            )
        tensors, metadata = raw.parsed(path.read_bytes())
    except OSError as error:
        raise MaskFileError(f"{path} cannot be read ({error.strerror or error}); check the path") from error
    except (SafetensorError, RuntimeError, TypeError, KeyError, OverflowError) as error:
        raise MaskFileError(f"{path} is not a mask file, or damaged ({error}); copy or train it again") from error
    if KEY not in metadata:
        raise MaskFileError(
            f"{path} is a safetensors file, but not a mask file of submasking; pass what maskfile.save has written"
        )
    return metadata[KEY], tensors
