"""Image sets as safetensors files, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from submasking.data.images import ImageSet


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file so that a reader never meets half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, metadata=dict(metadata))
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; ValueError names the file where it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in list(file.keys())}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} must be a readable safetensors file ({error}); check or delete it") from error


def cached(path: Path, make: Callable[[], ImageSet]) -> ImageSet:
    """The image set stored at `path`; where there is none (or a damaged one) `make` it and store it."""
    if path.exists():
        try:
            tensors, metadata = read(path)
            classes = tuple(json.loads(metadata["classes"]))
            return ImageSet(tensors["images"], tensors["labels"], classes, metadata["name"])
        except (ValueError, KeyError):
            path.unlink()
    made = make()
    described = {"classes": json.dumps(made.classes), "name": made.name}
    save(path, {"images": made.images, "labels": made.labels}, described)
    return made
