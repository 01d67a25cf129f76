"""The identity of frozen weights: what a mask file asks of the backbone that it is laid on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from submasking.files import raw
from submasking.files.raw import Raw

if TYPE_CHECKING:
    from torch import Tensor


def fingerprint(tensors: Mapping[str, Tensor | Raw]) -> str:
    """SHA-256, in hexadecimal, of the names, types, shapes and bytes of tensors, in the order of their names.

    For each tensor the text ``name dtype shape`` and a line feed is hashed, ``conv1.weight torch.float32 (64, 3, 7,
    7)``, then its values in row-major order, little-endian, whatever its memory format or device.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        value = tensor if isinstance(tensor, Raw) else raw.of(tensor)
        digest.update(f"{name} torch.{value.kind} {value.shape}\n".encode())
        digest.update(value.data)
    return digest.hexdigest()
