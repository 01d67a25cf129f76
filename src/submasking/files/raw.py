"""Tensors as a safetensors file holds them: type, shape and bytes, read without torch.

So a command that only looks at files answers before torch would have been imported.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import deserialize

from submasking.files import contents

if TYPE_CHECKING:
    from torch import Tensor

# the format's name of a type -> torch's
KINDS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip

Data = bytes | bytearray | memoryview
_FLOATS = {"float16": "<f2", "float32": "<f4", "float64": "<f8"}


class Raw(NamedTuple):
    """A tensor: torch's name of its type without `torch.`, its shape, its values in row-major order, little-endian."""

    kind: str
    shape: tuple[int, ...]
    data: Data

    def floats(self) -> NDArray[np.float32]:
        """The values as float32, rounded to it.

        Raises:
            ValueError: they are no floating-point numbers of 16 bits or more.
        """
        if self.kind == "bfloat16":
            high = np.frombuffer(self.data, "<u2").astype(np.uint32)
            return (high << 16).view(np.float32).reshape(self.shape)
        if self.kind not in _FLOATS:
            raise ValueError(f"weights must be floats of 16 bits or more, got {self.kind}; take those not quantised")
        return np.frombuffer(self.data, _FLOATS[self.kind]).astype(np.float32, copy=False).reshape(self.shape)

    def tensor(self) -> Tensor:
        """As a tensor of its own memory."""
        import torch

        if not self.data:
            return torch.empty(self.shape, dtype=getattr(torch, self.kind))
        return torch.frombuffer(bytearray(self.data), dtype=getattr(torch, self.kind)).reshape(self.shape)


def of(tensor: Tensor) -> Raw:
    """A tensor of any device and memory format."""
    import torch

    flat = tensor.detach().cpu().contiguous().flatten()
    data = flat.view(torch.uint8).numpy().data if flat.numel() else b""
    return Raw(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), data)


def parsed(content: bytes) -> tuple[dict[str, Raw], dict[str, str]]:
    """Tensors and metadata of a safetensors file's bytes.

    Raises:
        safetensors.SafetensorError: they are damaged, or of another kind.
    """
    read = {str(name): _raw(value) for name, value in deserialize(content)}
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return read, dict(header.get("__metadata__") or {})


def read(path: Path) -> dict[str, Raw]:
    """All tensors of a safetensors file by name.

    Raises:
        ValueError: it is none, or cannot be read.
    """
    contents.require_safetensors(path)
    try:
        return parsed(path.read_bytes())[0]
    except Exception as error:  # the reader's own kinds of errors
        raise contents.damaged(path, error) from error


def _raw(value: dict[str, Any]) -> Raw:
    return Raw(KINDS.get(value["dtype"], value["dtype"]), tuple(value["shape"]), value["data"])
