"""Tensors with a few words about them, as safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from submasking.files import atomic


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all."""
    with atomic.replacing(path) as part:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, metadata=dict(metadata))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; ValueError names the file where it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in list(file.keys())}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} must be a readable safetensors file ({error}); check or delete it") from error
