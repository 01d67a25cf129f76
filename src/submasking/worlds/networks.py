"""The small networks of the embedded world, built by the libraries of the real ones (timm, open_clip).

open_clip is imported where a CLIP is asked for, here and wherever else it is: it takes seconds, and most need none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import timm
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from open_clip.model import CLIP

from submasking.worlds.recipes import CLIP_WIDTH, CONTEXT, RESNET, TEXT, VISION, description


class Enlarged(nn.Module):
    """A network that sees its images at 32 px: open_clip's ResNet halves the side five times."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n width"]:
        return self.network(functional.interpolate(images, size=32, mode="bilinear", antialias=False))


class TextTower(nn.Module):
    """CLIP's text half: class names -> embeddings in the space of the image features."""

    def __init__(self, clip: CLIP) -> None:
        super().__init__()
        self.transformer, self.token_embedding, self.ln_final = (
            clip.transformer,
            clip.token_embedding,
            clip.ln_final,
        )
        self.positional_embedding, self.text_projection = clip.positional_embedding, clip.text_projection
        self.logit_scale = clip.logit_scale
        self.attn_mask: Tensor
        self.register_buffer("attn_mask", clip.attn_mask, persistent=False)

    def forward(self, tokens: Int[Tensor, "n context"]) -> Float[Tensor, "n width"]:
        states = self.token_embedding(tokens) + self.positional_embedding
        states = self.ln_final(self.transformer(states, attn_mask=self.attn_mask))
        ends = states[torch.arange(len(tokens)), tokens.argmax(1)]  # the end-of-text token has the highest id
        return ends @ self.text_projection


def tokenize(captions: tuple[str, ...]) -> Int[Tensor, "n context"]:
    """Token ids of captions by CLIP's own tokenizer, whose vocabulary comes with open_clip."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=CONTEXT)(list(captions))


def trunk(architecture: str, image_size: int) -> nn.Module:
    """Untrained image network of a small architecture: images -> features."""
    described = description(architecture)
    return timm.create_model(**described) if architecture in RESNET else clip(architecture, image_size)[0]


def clip(architecture: str, image_size: int) -> tuple[nn.Module, TextTower]:
    """Untrained image and text towers of a small CLIP."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    convolutional = architecture == "clip-resnet"
    vision = CLIPVisionCfg(image_size=32 if convolutional else image_size, **VISION[architecture])
    whole = CLIP(CLIP_WIDTH, vision, CLIPTextCfg(**TEXT))
    return Enlarged(whole.visual) if convolutional else whole.visual, TextTower(whole)


def width(architecture: str, image_size: int) -> int:
    """Length of the features of a small architecture."""
    network = trunk(architecture, image_size)
    return CLIP_WIDTH if architecture in VISION else int(network.num_features)  # type: ignore[arg-type]
