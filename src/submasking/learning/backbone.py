"""A pretrained network that is ready for use, wherever it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

Values = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Backbone:
    """A pretrained network and what is known of it.

    Attributes:
        trunk: normalised images [n, 3, h, w] -> features [n, width].
        width: length of the features.
        preset: selection of `submasking.masking.selection` that fits the architecture.
        mean, std: per RGB channel, what `normalise` takes off and divides by.
        size: side of the images in pixels.
        name: the paper's name, or that of the architecture.
        architecture: what `submasking.worlds.libraries.build` is told to build it.
        options: what else its constructor is told.
        weights: id of the weights: hash of the pretraining recipe, or name of the weights file.
        fingerprint: SHA-256 of all tensors of the trunk; "" where nobody has asked for it.
        stand_in: what it stands in for the paper's model, a sentence; "" where it is the model itself.
        text: class names -> embeddings in the space of the features, for a CLIP.
        logit_scale: logarithm of the factor of CLIP's cosine similarities.
        head: what FS and FFT classify with: "linear", or "text" for CLIP's embeddings of the class names. The
            small CLIPs know the names of Latin letters only ("text" stays near chance on the tasks), so theirs
            is linear.
    """

    trunk: nn.Module
    width: int
    preset: str
    mean: Values
    std: Values
    size: int
    name: str = ""
    architecture: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    fingerprint: str = ""
    stand_in: str = ""
    text: Callable[[Sequence[str]], Tensor] | None = None
    logit_scale: float = 0.0
    head: str = "linear"

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What the network expects of an image, as a mask file keeps it."""
        return {"size": self.size, "mean": self.mean, "std": self.std}

    def normalise(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """Images in [0, 1] -> what the trunk was trained with."""
        mean, std = (images.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (images - mean) / std

    @torch.inference_mode(False)
    @torch.no_grad()
    def text_head(self, classes: Sequence[str]) -> Float[Tensor, "classes width"] | None:
        """Embedding of each class name by the text tower; None where the model has none."""
        return None if self.text is None else self.text(classes)
