"""One picture at the size that the networks see, in the two ways of the paper's code.

Training squeezes the whole picture into a square (bicubic); what is judged, and the bank of the nearest neighbours, is
scaled by its short side and cut out of the middle (bilinear, torchvision's default). As in the loaders that the paper
used, transparency is dropped and EXIF turns nothing: unlike the pictures of one's own (`submasking.worlds.pictures`).
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torchvision.transforms import v2

from submasking.worlds.pictures import MAX_PIXELS, formats

RENDERINGS = ("whole", "centre")
USUAL = {"train": "whole", "test": "centre"}


def decoded(content: bytes) -> Image.Image:
    """A picture in RGB.

    Raises:
        ValueError: it is damaged, cut off, or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of broken metadata, and of large pictures, where our limit counts
            with Image.open(io.BytesIO(content), formats=formats()) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise ValueError(f"it has {picture.width:,} x {picture.height:,} pixels")
                return picture.convert("RGB")
    except Exception as error:  # decoders raise nearly anything when they meet damage
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def rendered(picture: Image.Image, rendering: str, size: int) -> UInt8[np.ndarray, "3 size size"]:
    """An RGB picture as bytes, size x size pixels.

    Args:
        picture: of any size.
        rendering: "whole" or "centre".
        size: side in pixels.

    Raises:
        ValueError: for another rendering.
    """
    if rendering not in RENDERINGS:
        raise ValueError(f"rendering must be one of {', '.join(RENDERINGS)}; got {rendering!r}")
    if rendering == "whole":
        shown = picture.resize((size, size), Image.Resampling.BICUBIC)
    else:
        shown = v2.Compose([v2.Resize(size), v2.CenterCrop(size)])(picture)
    return np.asarray(shown).transpose(2, 0, 1)
