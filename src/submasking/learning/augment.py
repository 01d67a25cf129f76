"""Batched augmentation on tensors: the colour changes of the supervised runs and the crops of SwAV.

Deterministic given the generator, which draws on the CPU wherever the images are. The character tasks take no flips
(an arrow turned round is another class) and no solarisation (dark ink on light paper becomes dark on dark).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional

Images = Float[Tensor, "n 3 h w"]
# Luma and two colour differences (YIQ): saturation and hue are a scaling and a turn of the last two.
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_RGB = torch.linalg.inv(_YIQ)


@dataclass(frozen=True)
class Style:
    """How often and how much images are changed.

    Attributes:
        jitter: strength of brightness, contrast, saturation and hue changes, in [0, 1).
        jittered, grey, solarised, flipped: probability of each change, in [0, 1].
        shift: largest movement, as a share of the side.
        turn: largest rotation of a crop, in radians.
    """

    jitter: float = 0.4
    jittered: float = 0.8
    grey: float = 0.2
    solarised: float = 0.0
    flipped: float = 0.0
    shift: float = 0.0
    turn: float = 0.0


GLYPHS = Style()
PHOTOS = Style(solarised=0.2, flipped=0.5)
GLYPH_VIEWS = Style(turn=0.15)
PHOTO_VIEWS = Style(solarised=0.2, flipped=0.5)


def supervised(images: Images, generator: Generator, style: Style = GLYPHS) -> Images:
    """Change colours, and flip or move where the style says so.

    Args:
        images: RGB in [0, 1].
        generator: source of all randomness.
        style: what is done how often.

    Returns:
        Images of the same shape, in [0, 1].
    """
    if style.shift:
        images = _crop(images, generator, images.shape[-1], (1.0, 1.0), style)
    elif style.flipped:  # nothing to interpolate
        mirrored = _happens(len(images), generator, style.flipped)[:, None, None, None].to(images.device)
        images = torch.where(mirrored, images.flip(-1), images)
    return colours(images, generator, style)


def views(
    images: Images,
    generator: Generator,
    sizes: Sequence[int] = (20, 20, 14, 14),
    scales: Sequence[tuple[float, float]] | None = None,
    style: Style = GLYPH_VIEWS,
) -> list[Float[Tensor, "n 3 size size"]]:
    """Independent random crops of each image, re-coloured: the views that SwAV compares.

    Args:
        images: RGB in [0, 1].
        generator: source of all randomness.
        sizes: side of each view in pixels.
        scales: smallest and largest share of the image's area for each view; by default (0.5, 1) for
            the largest size and (0.4, 0.9) for smaller ones: a small part of a character is no character.
        style: what is done how often.

    Returns:
        One batch of views for each size, in [0, 1].

    Raises:
        ValueError: where a size is not positive or the scales do not match the sizes.
    """
    if not sizes or min(sizes) < 1:
        raise ValueError(f"sizes must be positive pixels, at least one, got {tuple(sizes)}; (224,) is usual")
    if scales is None:
        scales = [(0.5, 1.0) if size == max(sizes) else (0.4, 0.9) for size in sizes]
    if len(scales) != len(sizes):
        raise ValueError(
            f"scales must match sizes one to one, got {len(scales)} for {len(sizes)}; give each size a pair"
        )
    cropped = (_crop(images, generator, size, scale, style) for size, scale in zip(sizes, scales, strict=True))
    return [colours(crop, generator, style) for crop in cropped]


def colours(images: Images, generator: Generator, style: Style = GLYPHS) -> Images:
    """Brightness, contrast, saturation, hue, grey and solarisation, each image on its own; in [0, 1]."""
    count = len(images)
    jittered = _happens(count, generator, style.jittered)
    factors = 1 + style.jitter * jittered * _uniform((3, count), generator, -1, 1)
    brightness, contrast, saturation = factors
    angle = 2 * math.pi * style.jitter * jittered * _uniform((count,), generator, -1, 1)
    saturation = saturation * ~_happens(count, generator, style.grey)
    matrix = _colour_matrix(saturation, angle) * (brightness * contrast)[:, None, None]
    brightness, contrast, matrix = (each.to(images.device) for each in (brightness, contrast, matrix))
    luma = torch.einsum("c,nchw->n", _YIQ[0].to(images.device), images) / (images.shape[-1] * images.shape[-2])
    offset = (1 - contrast) * brightness * luma
    changed = torch.baddbmm(offset[:, None, None], matrix, images.flatten(2)).view_as(images).clamp_(0, 1)
    solarised = _happens(count, generator, style.solarised)[:, None, None, None].to(images.device)
    return torch.where(solarised & (changed >= 0.5), 1 - changed, changed) if style.solarised else changed


def _colour_matrix(saturation: Tensor, angle: Tensor) -> Tensor:
    """RGB to RGB [n, 3, 3]: the colour plane of YIQ turned by `angle` and scaled by `saturation`."""
    inner = torch.zeros(len(angle), 3, 3)
    inner[:, 0, 0] = 1
    inner[:, 1, 1] = inner[:, 2, 2] = saturation * angle.cos()
    inner[:, 2, 1] = saturation * angle.sin()
    inner[:, 1, 2] = -inner[:, 2, 1]
    return _RGB @ inner @ _YIQ


def _crop(images: Images, generator: Generator, size: int, scale: tuple[float, float], style: Style) -> Images:
    """Random part of each image with the given share of its area, resized to `size`, flipped, turned."""
    count = len(images)
    side = _uniform((count,), generator, *scale).sqrt()
    room = 1 - side + 2 * style.shift  # affine coordinates run from -1 to 1
    right, down = _uniform((2, count), generator, -1, 1) * room
    mirror = 1 - 2 * _happens(count, generator, style.flipped).float()
    angle = style.turn * _uniform((count,), generator, -1, 1)
    cosine, sine = side * angle.cos(), side * angle.sin()
    rows = torch.stack([cosine * mirror, -sine, right, sine * mirror, cosine, down], 1).view(count, 2, 3)
    grid = functional.affine_grid(rows.to(images.device), [count, 3, size, size], align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _uniform(shape: tuple[int, ...], generator: Generator, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _happens(count: int, generator: Generator, probability: float) -> Tensor:
    return torch.rand(count, generator=generator) < probability
