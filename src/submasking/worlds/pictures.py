"""One picture, whatever its file format, as bytes: the same rendering where a network trains and where it predicts.

The picture stands as its EXIF orientation says. Grey of more than eight bits is scaled by the range of its format,
never by what the picture holds. What is transparent lies on white. Of an animation the first frame counts. Colour
profiles are not applied.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image
from torch import Tensor
from torchvision.transforms.v2 import functional

MAX_PIXELS = 120_000_000  # the largest cameras of phones have 108 million; a bomb would fill the memory
NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}  # Pillow names these, but leaves them to other programs
# by EXIF orientation. Not ImageOps.exif_transpose: it writes the whole EXIF anew, and fails where any of it is broken
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
Say = Callable[[str], object]


def formats() -> list[str]:
    """Kinds of files that are decoded here. Pillow would give some of the others to a program: EPS to Ghostscript."""
    Image.init()
    return [kind for kind in Image.ID if kind not in NOT_DECODED]


def suffixes() -> frozenset[str]:
    """Endings of names, as ".jpg", in lower case, of the files that the installed decoder reads."""
    known = Image.registered_extensions().items()
    return frozenset(ending for ending, kind in known if kind in Image.OPEN and kind not in NOT_DECODED)


def decoded(path: Path, size: int, *, say: Say = lambda _: None) -> UInt8[Tensor, "3 size size"]:
    """A picture resized as a whole to size x size (bicubic).

    Args:
        path: the file; its name does not matter.
        size: side in pixels.
        say: told in a sentence what is odd about the picture, though no fault.

    Raises:
        ValueError: it is no picture, damaged, too large, or of numbers whose range nobody knows; names the file.
    """
    pixels = functional.pil_to_tensor(rendered(path, say=say))
    return functional.resize(pixels, [size, size], interpolation=functional.InterpolationMode.BICUBIC, antialias=True)


def rendered(path: Path, *, say: Say = lambda _: None) -> Image.Image:
    """A picture in RGB, eight bits a channel; arguments and errors as of `decoded`."""
    if not path.is_file():  # a pipe would be waited for
        why = (
            "it is no file"
            if path.exists()
            else "the link leads nowhere"
            if path.is_symlink()
            else "there is no such file"
        )
        raise ValueError(f"{path} must be a readable picture ({why}); correct the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, where our limit counts, and of broken metadata
            # not by its path: Pillow would map it into memory, and scramble a TIFF that lies on its side
            with path.open("rb") as file, Image.open(file, formats=formats()) as picture:
                return _read(picture, lambda odd: say(f"{path}, {odd}"))
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} must have at most {MAX_PIXELS:,} pixels ({error}); scale it down") from error
    except Exception as error:  # decoders raise nearly anything when they meet damage
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} must be a readable picture ({said}); repair it, or move it elsewhere") from error


def _read(picture: Image.Image, say: Say) -> Image.Image:
    if picture.width * picture.height > MAX_PIXELS:
        raise Image.DecompressionBombError(f"it has {picture.width:,} x {picture.height:,}")
    picture.load()
    flat = _on_white(_eight_bits(picture, say) if picture.mode.startswith(("I", "F")) else picture)
    try:
        turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # EXIF that cannot be read turns nothing
        turn = None
    return flat if turn is None else flat.transpose(turn)


def _on_white(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    clear = picture.info.get("transparency")
    if isinstance(clear, tuple) and max(clear) > 255:  # a colour of 16 bits, of which the decoder kept the upper 8
        picture.info["transparency"] = tuple(value >> 8 for value in clear)
    rgba = picture.convert("LA" if picture.mode == "La" else "RGBA").convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _eight_bits(picture: Image.Image, say: Say) -> Image.Image:
    """Grey of 16 or 32 bits, or of floats in 0..1, in 8; rounded to the nearest."""
    values, white = np.asarray(picture), _white(picture)
    low, high = values.min().item(), values.max().item()
    if not (low >= 0 and high <= white):  # false for what is not a number, too
        raise ValueError(f"grey of mode {picture.mode} must lie in 0..{white}, its numbers in {low:g}..{high:g}")
    if picture.mode != "F" and 0 < high < white / 16:
        say(f"of {white.bit_length()} bits but with no number above {high}, comes out almost black; write it brighter")
    scaled = values.astype(np.float32) * (255 / white)
    if getattr(picture, "tag_v2", {}).get(PHOTOMETRIC, 1) == 0:  # of a TIFF whose 0 is white; Pillow turns only 8 bits
        scaled = 255 - scaled
    grey = Image.fromarray(np.rint(scaled).astype(np.uint8))
    if isinstance(clear := picture.info.get("transparency"), int):
        grey.putalpha(Image.fromarray((values != clear).astype(np.uint8) * 255))
    return grey


def _white(picture: Image.Image) -> int:
    """The number that stands for white: 1 for floats, else the largest of the file's bits, of which 16 are usual."""
    tags = getattr(picture, "tag_v2", {})
    bits, signed = tags.get(BITS, (16,))[0], tags.get(SAMPLE_FORMAT, (1,))[0] == 2
    if picture.mode == "F":
        return 1
    return 2 ** (min(bits, 16) - signed * (bits == 16)) - 1
