"""Heads: features -> class logits."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class CosineHead(nn.Module):
    """CLIP's classifier: exp(logit_scale) * cosine of image features and fixed text embeddings of the classes.

    It has nothing to train and nothing to store: the class names give the embeddings back.

    Args:
        embeddings: one text embedding per class, of any length.
        logit_scale: the exponent's argument as CLIP learnt it.
    """

    def __init__(self, embeddings: Float[Tensor, "classes d"], logit_scale: float) -> None:
        super().__init__()
        self.embeddings: Tensor
        self.register_buffer("embeddings", nn.functional.normalize(embeddings, dim=1))
        self.scale = float(torch.tensor(logit_scale).exp())

    def forward(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n classes"]:
        return self.scale * nn.functional.normalize(features, dim=1) @ self.embeddings.T


def linear_head(width: int, classes: int, *, seed: int) -> nn.Linear:
    """A new linear head, initialised from `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(width, classes)
