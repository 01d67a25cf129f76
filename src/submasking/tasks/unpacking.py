"""What a task sets beside its mask, read back from bytes, without torch."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from submasking.files.raw import Raw
from submasking.tasks import floats

SIZES = {
    "float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1,
    "bool": 1,
}  # fmt: skip
DEEPEST = 1 << 11  # most bytes that zlib makes of one, with room
DEFLATED, CODED = 0, 1
GROUP = struct.Struct("<BI")

Listed = list[list[Any]]  # name, type and sizes of each tensor


def unpacked(described: Sequence[Sequence[Any]], data: bytes) -> dict[str, Raw]:
    """Return what `submasking.tasks.packing.packed` was given.

    Args:
        described: what `submasking.tasks.packing.listed` returned.
        data: the values.

    Raises:
        ValueError: if these are not the values of such tensors.
        KeyError: if a type is unknown.
    """
    read = {}
    for kind, group in groups(described):
        shapes = [shape(numbers) for _, _, *numbers in group]
        sizes = [math.prod(sizes) for sizes in shapes]
        if len(data) < GROUP.size:
            raise ValueError(f"the values of {group[0][0]!r} are missing")
        mode, length = GROUP.unpack_from(data)
        content, data = data[GROUP.size : GROUP.size + length], data[GROUP.size + length :]
        values, size, start = _values(mode, content, sum(sizes), kind), SIZES[kind], 0
        for (name, *_), count, wanted in zip(group, sizes, shapes, strict=True):
            read[str(name)] = Raw(kind, wanted, values[start : start + count * size])
            start += count * size
    if data:
        raise ValueError(f"{len(data)} bytes of values belong to no tensor")
    return {str(name): read[str(name)] for name, *_ in described}


def from_vectors(described: Sequence[Sequence[Any]], tensors: Mapping[str, Raw]) -> dict[str, Raw]:
    """Return the tensors of a file of format 1, which holds all values of a type as `state.TYPE`.

    Raises:
        ValueError: if a vector is too short, or of another type.
        KeyError: if one is missing, or of an unknown type.
    """
    state, used = {}, dict.fromkeys(SIZES, 0)
    for name, kind, *numbers in described:
        sizes = shape(numbers)
        size, vector = math.prod(sizes) * SIZES[kind], tensors[f"state.{kind}"]
        if vector.kind != kind:
            raise ValueError(f"the state of type {kind} is of type {vector.kind}")
        if used[kind] + size > len(vector.data):
            raise ValueError(f"the state holds {len(vector.data)} bytes of type {kind}, {name!r} needs more")
        state[str(name)] = Raw(kind, sizes, vector.data[used[kind] : used[kind] + size])
        used[kind] += size
    return state


def shape(numbers: Sequence[Any]) -> tuple[int, ...]:
    """Return the shape that a mask file tells.

    Raises:
        ValueError: if a size is negative.
    """
    sizes = tuple(int(number) for number in numbers)
    if any(size < 0 for size in sizes):
        raise ValueError(f"a shape must not be negative, got {sizes}")
    return sizes


def groups(described: Sequence[Sequence[Any]]) -> Iterator[tuple[str, Listed]]:
    """Tensors of one type and last part of the name, such as running_mean: the type, and what is listed of them."""
    found: dict[tuple[str, str], Listed] = {}
    for name, kind, *numbers in described:
        found.setdefault((str(name).rpartition(".")[2], str(kind)), []).append([name, kind, *numbers])
    for (_, kind), group in sorted(found.items()):
        yield kind, group


def _values(mode: int, content: bytes, count: int, kind: str) -> bytes:
    size = SIZES[kind]
    if mode == CODED and kind in floats.KINDS:
        return floats.decode(content, count, floats.KINDS[kind]).astype(f"<u{size}").tobytes()
    if mode == DEFLATED:
        return _inflated(content, count * size)
    raise ValueError(f"values of type {kind} are not coded in a way {mode}")


def _inflated(content: bytes, size: int) -> bytes:
    """So many bytes that were deflated."""
    if size > DEEPEST * len(content):
        raise ValueError(f"{len(content)} bytes cannot hold {size}")
    inflater = zlib.decompressobj()
    try:
        found = inflater.decompress(content, size + 1)
    except zlib.error as error:
        raise ValueError(f"values cannot be inflated ({error})") from None
    if len(found) != size or not inflater.eof or inflater.unused_data:
        raise ValueError(f"{size} bytes of values must be there, {len(found)} are")
    return found
