"""Tensors with a few words about them, as safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from submasking.files import atomic, contents


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all."""
    held = {name: tensor.contiguous() for name, tensor in tensors.items()}
    atomic.write(path, to_bytes(held, dict(metadata)))  # not save_file, whose errors do not say that a disk is full


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; ValueError names the file where it cannot be read."""
    contents.require_safetensors(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in list(file.keys())}, file.metadata() or {}
    except Exception as error:  # the reader's own kinds of errors, and torch's, where the header is damaged
        raise contents.damaged(path, error) from error
