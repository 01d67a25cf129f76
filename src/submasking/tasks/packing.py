"""What a task sets beside its mask, norm buffers, trained parameters and head, coded bit for bit."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from submasking.tasks import floats

WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by the bytes of a number
NAMES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
TYPES = {name: getattr(torch, name) for name in NAMES}
DEEPEST = 1 << 11  # most bytes that zlib makes of one, with room
DEFLATED, CODED = 0, 1
_GROUP = struct.Struct("<BI")

Listed = list[list[Any]]  # name, type and sizes of each tensor


def listed(tensors: Mapping[str, Tensor]) -> Listed:
    """Return name, type and sizes of each tensor, by name.

    Raises:
        ValueError: if a mask file has no such type.
    """
    odd = [name for name, value in tensors.items() if _type(value) not in TYPES]
    if odd:
        raise ValueError(f"numbers of a task must be of the types {', '.join(TYPES)}; {odd[0]!r} is not")
    return [[name, _type(value), *value.shape] for name, value in sorted(tensors.items())]


def packed(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the values of tensors: of one type and last name together, since they are of a kind."""
    data = b""
    for kind, group in _groups(listed(tensors)):
        values = torch.cat([tensors[name].detach().cpu().reshape(-1) for name, *_ in group])
        data += _packed(values.view(WORDS[values.element_size()]).numpy(), kind)
    return data


def unpacked(described: Sequence[Sequence[Any]], data: bytes) -> dict[str, Tensor]:
    """Return what `packed` was given.

    Args:
        described: what `listed` returned.
        data: the values.

    Raises:
        ValueError: if these are not the values of such tensors.
        KeyError: if a type is unknown.
    """
    read = {}
    for kind, group in _groups(described):
        shapes = [shape(numbers) for _, _, *numbers in group]
        sizes = [math.prod(sizes) for sizes in shapes]
        if len(data) < _GROUP.size:
            raise ValueError(f"the values of {group[0][0]!r} are missing")
        mode, length = _GROUP.unpack_from(data)
        content, data = data[_GROUP.size : _GROUP.size + length], data[_GROUP.size + length :]
        parts = _unpacked(mode, content, sum(sizes), kind).split(sizes)
        for (name, *_), part, wanted in zip(group, parts, shapes, strict=True):
            read[str(name)] = part.reshape(wanted)
    if data:
        raise ValueError(f"{len(data)} bytes of values belong to no tensor")
    return {str(name): read[str(name)] for name, *_ in described}


def shape(numbers: Sequence[Any]) -> tuple[int, ...]:
    """Return the shape that a mask file tells.

    Raises:
        ValueError: if a size is negative.
    """
    sizes = tuple(int(number) for number in numbers)
    if any(size < 0 for size in sizes):
        raise ValueError(f"a shape must not be negative, got {sizes}")
    return sizes


def from_vectors(described: Sequence[Sequence[Any]], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a file of format 1, which holds all values of a type as `state.TYPE`.

    Raises:
        ValueError: if a vector is too short.
        KeyError: if one is missing, or of an unknown type.
    """
    state, used = {}, dict.fromkeys(TYPES, 0)
    for name, kind, *numbers in described:
        sizes = shape(numbers)
        size = math.prod(sizes)
        vector = tensors[f"state.{kind}"]
        if used[kind] + size > vector.numel():
            raise ValueError(f"the state holds {vector.numel()} values of type {kind}, {name!r} needs more")
        state[str(name)] = vector[used[kind] : used[kind] + size].reshape(sizes)
        used[kind] += size
    return state


def _type(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _groups(described: Sequence[Sequence[Any]]) -> Iterator[tuple[str, Listed]]:
    """Tensors of one type and last part of the name, such as running_mean: the type, and what is listed of them."""
    groups: dict[tuple[str, str], Listed] = {}
    for name, kind, *numbers in described:
        groups.setdefault((str(name).rpartition(".")[2], str(kind)), []).append([name, kind, *numbers])
    for (_, kind), group in sorted(groups.items()):
        yield kind, group


def _packed(words: NDArray[Any], kind: str) -> bytes:
    little = words.view(f"u{words.itemsize}").astype(f"<u{words.itemsize}")
    coded = floats.encode(little.astype(np.int64), floats.KINDS[kind]) if kind in floats.KINDS else None
    if coded is not None and len(coded) < little.nbytes:
        return _GROUP.pack(CODED, len(coded)) + coded
    deflated = zlib.compress(little.tobytes(), 9)
    return _GROUP.pack(DEFLATED, len(deflated)) + deflated


def _unpacked(mode: int, content: bytes, count: int, kind: str) -> Tensor:
    size = TYPES[kind].itemsize
    if mode == CODED and kind in floats.KINDS:
        words = floats.decode(content, count, floats.KINDS[kind]).astype(f"u{size}")
    elif mode == DEFLATED:
        words = np.frombuffer(_inflated(content, count * size), f"<u{size}").astype(f"u{size}")
    else:
        raise ValueError(f"values of type {kind} are not coded in a way {mode}")
    return torch.from_numpy(words.view(f"i{size}")).view(TYPES[kind])


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
