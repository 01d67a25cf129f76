"""Batches of an image set: shuffled, augmented, and the same again after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from submasking.learning.images import ImageSet


class Batches:
    """Shuffled batches of an image set held in memory, augmented as a whole batch.

    Args:
        images: the set.
        batch_size: images per batch; the last batch may be smaller (no image is dropped), but is no single image
            where it can be helped: batch norm cannot train on one.
        transform: batch of images in [0, 1] and a generator -> what the step sees.
        seed: decides the order and the augmentation.
        memory_format: layout of the batch.
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        transform: Callable[[Float[Tensor, "n c h w"], torch.Generator], Any],
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}; 64 is usual")
        if len(images) == 0:
            raise ValueError(f"an image set must hold an image to train on; {images.name!r} holds none; add some")
        self.images, self.batch_size, self.transform, self.device = images, batch_size, transform, device
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self._lengths())

    def __iter__(self) -> Iterator[tuple[Any, Int[Tensor, " n"]]]:
        order = torch.randperm(len(self.images), generator=self.generator)
        for chosen in order.split(self._lengths()):
            batch = as_float(self.images.images[chosen].to(self.device))
            yield self.transform(batch, self.generator), self.images.labels[chosen].to(self.device)

    def _lengths(self) -> list[int]:
        """Images in each batch; a single last one joins the batch before it."""
        whole, rest = divmod(len(self.images), self.batch_size)
        if rest == 1 and whole and self.batch_size > 1:
            return [self.batch_size] * (whole - 1) + [self.batch_size + 1]
        return [self.batch_size] * whole + [rest] * (rest > 0)

    def state_dict(self) -> dict[str, Any]:
        """State of the generator, so that a resumed run sees the batches that it would have seen."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo of `state_dict`."""
        self.generator.set_state(state["generator"])


def as_float(images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Pixels in 0..255 to floats in [0, 1], channels last (the faster layout on CPU and GPU)."""
    return images.to(torch.float32).div_(255).contiguous(memory_format=torch.channels_last)
