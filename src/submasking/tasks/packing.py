"""The norm buffers and trained parameters of a task, all values of one type in one tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

PREFIX = "state."
TYPES = {"float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"}


def type_name(value: Tensor) -> str:
    """Return how a type is called in a mask file, such as float32."""
    return str(value.dtype).removeprefix("torch.")


def shape(numbers: Sequence[Any]) -> tuple[int, ...]:
    """Return the shape that a mask file tells.

    Raises:
        ValueError: if a size is negative.
    """
    sizes = tuple(int(number) for number in numbers)
    if any(size < 0 for size in sizes):
        raise ValueError(f"a shape must not be negative, got {sizes}")
    return sizes


def packed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return all values of one type in one vector: a file of a hundred small tensors is mostly their names."""
    parts: dict[str, list[Tensor]] = {}
    for _, value in sorted(state.items()):
        parts.setdefault(PREFIX + type_name(value), []).append(value.detach().cpu().reshape(-1))
    return {kind: torch.cat(values) for kind, values in parts.items()}


def unpacked(listed: Sequence[Sequence[Any]], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what `packed` was given.

    Args:
        listed: name, type and sizes of each tensor.
        tensors: the vectors.

    Raises:
        ValueError: if a vector is too short.
        KeyError: if one is missing, or of an unknown type.
    """
    state, used = {}, dict.fromkeys(TYPES, 0)
    for name, kind, *numbers in listed:
        sizes = shape(numbers)
        size = math.prod(sizes)
        vector = tensors[PREFIX + kind]
        if used[kind] + size > vector.numel():
            raise ValueError(f"the state holds {vector.numel()} values of type {kind}, {name!r} needs more")
        state[str(name)] = vector[used[kind] : used[kind] + size].reshape(sizes)
        used[kind] += size
    return state
