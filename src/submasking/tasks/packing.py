"""What a task sets beside its mask, norm buffers, trained parameters and head, coded bit for bit."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from submasking.tasks import floats, unpacking
from submasking.tasks.unpacking import CODED, DEFLATED, GROUP, SIZES, Listed, groups

WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by the bytes of a number


def listed(tensors: Mapping[str, Tensor]) -> Listed:
    """Return name, type and sizes of each tensor, by name.

    Raises:
        ValueError: if a mask file has no such type.
    """
    odd = [name for name, value in tensors.items() if _type(value) not in SIZES]
    if odd:
        raise ValueError(f"numbers of a task must be of the types {', '.join(SIZES)}; {odd[0]!r} is not")
    return [[name, _type(value), *value.shape] for name, value in sorted(tensors.items())]


def packed(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the values of tensors: of one type and last name together, since they are of a kind."""
    data = b""
    for kind, group in groups(listed(tensors)):
        values = torch.cat([tensors[name].detach().cpu().reshape(-1) for name, *_ in group])
        data += _packed(values.view(WORDS[values.element_size()]).numpy(), kind)
    return data


def unpacked(described: Sequence[Sequence[Any]], data: bytes) -> dict[str, Tensor]:
    """Return what `packed` was given; arguments and errors are those of `submasking.tasks.unpacking.unpacked`."""
    return {name: value.tensor() for name, value in unpacking.unpacked(described, data).items()}


def _type(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _packed(words: NDArray[Any], kind: str) -> bytes:
    little = words.view(f"u{words.itemsize}").astype(f"<u{words.itemsize}")
    coded = floats.encode(little.astype(np.int64), floats.KINDS[kind]) if kind in floats.KINDS else None
    if coded is not None and len(coded) < little.nbytes:
        return GROUP.pack(CODED, len(coded)) + coded
    deflated = zlib.compress(little.tobytes(), 9)
    return GROUP.pack(DEFLATED, len(deflated)) + deflated
