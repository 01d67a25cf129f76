"""A set of labelled images in memory: what every source of data hands out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor


@dataclass(frozen=True)
class ImageSet:
    """Images with their labels.

    Attributes:
        images: uint8 [n, 3, height, width], RGB in [0, 255].
        labels: int64 [n] in [0, number of classes).
        classes: name of each class, which is also its caption.
        name: data set and split, for messages.
        content: hash of pixels, labels and order where the source knows it; "" where it would have to be computed.
    """

    images: UInt8[Tensor, "n 3 h w"]
    labels: Int64[Tensor, " n"]
    classes: tuple[str, ...]
    name: str
    content: str = ""

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            raise ValueError(
                f"images must be uint8 [n, 3, height, width], got {self.images.dtype} "
                f"{tuple(self.images.shape)}; convert to RGB bytes first"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels must be int64, one per image ({len(self.images)}), got {self.labels.dtype} "
                f"{tuple(self.labels.shape)}; number the classes from 0"
            )
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise ValueError(
                f"labels must lie in [0, {len(self.classes)}), got {int(self.labels.min())} to "
                f"{int(self.labels.max())}; name every class"
            )

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Tensor | Sequence[int]) -> ImageSet:
        """The images at `indices` (int64, or a bool mask of length n), in that order, all classes kept.

        All in their order are the set itself: what is mapped into memory may be larger than it.
        """
        chosen = torch.as_tensor(indices)
        if chosen.dtype == torch.int64 and torch.equal(chosen, torch.arange(len(self))):
            return self
        content = self.content and hashlib.sha256(f"{self.content} {chosen.tolist()}".encode()).hexdigest()
        return ImageSet(self.images[chosen], self.labels[chosen], self.classes, self.name, content)

    def fingerprint(self) -> str:
        """Sixteen letters that tell these images, in this order and size, from all others."""
        if self.content:
            return self.content[:16]
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().data)
        return digest.hexdigest()[:16]
