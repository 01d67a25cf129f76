"""Ink on paper: a drawing of a character, slightly turned, sheared, scaled and moved, dark on plain light paper.

The ground is plain on purpose: with random textures SwAV clusters the ground and ignores the character.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

CANVAS = 64  # side of a drawing in pixels
ALIKE = 0.02  # mean difference of ink, as a share of black, below which two drawings are the same
SHIFT = 1  # pixels by which the boxes of their ink may differ


def on_paper(
    drawings: UInt8[Tensor, "n canvas canvas"], size: int, random: np.random.Generator
) -> UInt8[Tensor, "n 3 size size"]:
    """Images of drawings whose ink is 255: placement, colours, noise."""
    pieces = [_some(part, size, random) for part in drawings.split(2048)]
    return torch.cat(pieces) if pieces else torch.empty(0, 3, size, size, dtype=torch.uint8)


def _some(drawings: Tensor, size: int, random: np.random.Generator) -> Tensor:
    count = len(drawings)
    uniform = uniforms(random, count)
    turn, shear = uniform(-0.14, 0.14), uniform(-0.12, 0.12)
    zoom, stretch = uniform(0.85, 1.12), uniform(0.93, 1.07)
    cosine, sine = turn.cos() / zoom, turn.sin() / zoom
    across = (cosine * stretch, shear - sine, uniform(-0.12, 0.12))
    down = (sine, cosine / stretch, uniform(-0.12, 0.12))
    grid = torch.stack([_linear(each, 2 * size) for each in (across, down)], -1)
    ink = functional.grid_sample(drawings[:, None].float() / 255, grid, align_corners=False)
    ink = functional.avg_pool2d(ink, 2)
    paper_colour = (uniform(0.72, 1.0)[:, None] + uniforms(random, count, 3)(-0.08, 0.08))[..., None, None]
    ink_colour = (uniform(0.0, 0.3)[:, None] + uniforms(random, count, 3)(-0.12, 0.12))[..., None, None]
    noise = torch.from_numpy(random.normal(0, 0.03, (count, 3, size, size)).astype(np.float32))
    pixels = paper_colour * (1 - ink) + ink_colour * ink + noise
    return (pixels.clamp(0, 1) * 255).round().byte()


def _linear(factors: tuple[Tensor, Tensor, Tensor], side: int) -> Tensor:
    """One coordinate a x + b y + c of `torch.nn.functional.affine_grid`, float32 [n, side, side].

    Written out, since affine_grid is a matrix product, whose last digit depends on the processor; some pixels did then.
    """
    a, b, c = (factor[:, None, None] for factor in factors)
    ends = torch.linspace(-1, 1, side) * (side - 1) / side  # the middles of the pixels
    return a * ends + b * ends[:, None] + c


def uniforms(random: np.random.Generator, *shape: int) -> Callable[[float, float], Tensor]:
    """A function of low and high that draws float32 of this shape."""
    return lambda low, high: torch.from_numpy(random.uniform(low, high, shape).astype(np.float32))


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two drawings, uint8 [canvas, canvas], show the same ink, wherever on the canvas it lies."""
    first, second = _cut(one), _cut(other)
    shape = np.maximum(first.shape, second.shape)
    if (shape - np.minimum(first.shape, second.shape) > SHIFT).any():
        return False
    padded = [np.pad(each, [(0, int(more)) for more in shape - each.shape]) for each in (first, second)]
    return float(np.abs(padded[0].astype(int) - padded[1].astype(int)).mean()) < ALIKE * 255


def _cut(drawing: np.ndarray) -> np.ndarray:
    inked = np.argwhere(drawing > 0)
    if not len(inked):
        return drawing
    (top, left), (bottom, right) = inked.min(0), inked.max(0) + 1
    return drawing[top:bottom, left:right]
