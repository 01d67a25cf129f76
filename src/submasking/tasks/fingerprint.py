"""The identity of frozen weights: what a mask file asks of the backbone that it is laid on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256, in hexadecimal, of the names, types, shapes and bytes of tensors, in the order of their names.

    For each tensor the text ``name dtype shape`` and a line feed is hashed, ``conv1.weight torch.float32 (64, 3, 7,
    7)``, then its values in row-major order, little-endian, whatever its memory format or device.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return digest.hexdigest()
