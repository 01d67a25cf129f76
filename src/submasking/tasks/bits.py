"""Masks at one bit per weight in memory, and weights masked straight from those bits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

Packed = NDArray[np.uint8]
CHUNK = 1 << 16  # weights at once: what is unpacked of a mask stays in the cache
_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Plan:
    """Where each tensor's bits lie: tensors by name, each from a new byte, bits in the order of its memory.

    Args:
        tensors: the weights, dense in memory (any memory format), of a type of 2, 4 or 8 bytes.

    Raises:
        ValueError: a tensor has gaps in memory or another type.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.shapes, self.orders, self.starts, self.size = {}, {}, {}, 0
        for name, tensor in sorted(tensors.items()):
            self.orders[name] = _order(name, tensor)
            self.shapes[name] = tuple(tensor.shape)
            self.starts[name] = self.size
            self.size += -(-tensor.numel() // 8)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.shapes == other.shapes

    __hash__ = None  # type: ignore[assignment]

    def pack(self, masks: Mapping[str, Bool[Tensor, "*shape"]]) -> Packed:
        """Bits of masks, 1 where the weight is on."""
        packed = np.empty(self.size, np.uint8)
        for name, start in self.starts.items():
            bits = masks[name].cpu().permute(self.orders[name]).contiguous().numpy().reshape(-1)
            packed[start : start + -(-bits.size // 8)] = np.packbits(bits)
        return packed

    def unpack(self, packed: Packed) -> dict[str, Bool[Tensor, "*shape"]]:
        """Undo `pack`."""
        return {name: torch.from_numpy(self._bits(name, packed)) for name in self.shapes}

    def count(self, packed: Packed) -> int:
        """Number of weights that are on."""
        return int(np.bitwise_count(packed).sum())

    def write(self, name: str, packed: Packed, frozen: Tensor, target: Tensor) -> None:
        """Write one tensor's masked weights, theta * M, to `target`; both lie in memory as the plan has seen them."""
        if target.device.type != "cpu":
            on = torch.from_numpy(self._bits(name, packed)).to(target.device)
            target.copy_(torch.where(on, frozen, torch.zeros((), dtype=frozen.dtype, device=frozen.device)))
            return
        source, output = (self._words(name, tensor) for tensor in (frozen, target))
        start, wide = self.starts[name], np.empty(min(CHUNK, source.size), source.dtype)
        for first in range(0, source.size, CHUNK):
            part = slice(first, min(first + CHUNK, source.size))
            bits = wide[: part.stop - first]
            bits[:] = np.unpackbits(packed[start + first // 8 :], count=bits.size)
            np.multiply(source[part], bits, out=output[part])  # a pattern of bits times 0 or 1, so -0 and NaN go too

    def _bits(self, name: str, packed: Packed) -> NDArray[np.bool_]:
        shape, order = self.shapes[name], self.orders[name]
        count = int(np.prod(shape, dtype=np.int64))
        bits = np.unpackbits(packed[self.starts[name] :], count=count).view(np.bool_)
        return bits.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))

    def _words(self, name: str, tensor: Tensor) -> NDArray[np.signedinteger]:
        flat = tensor.detach().permute(self.orders[name]).view(-1)
        return flat.view(_WORDS[flat.element_size()]).numpy()


def _order(name: str, tensor: Tensor) -> tuple[int, ...]:
    """Dimensions by falling stride."""
    strides = tensor.stride()
    order = tuple(sorted(range(tensor.dim()), key=lambda axis: (-strides[axis], axis)))
    if not tensor.permute(order).is_contiguous() or tensor.element_size() not in _WORDS:
        raise ValueError(f"weights must be dense and of 2, 4 or 8 bytes each; {name!r} is not; clone() the model")
    return order
