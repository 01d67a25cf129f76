"""What somebody says of a network of their own beside its name, as one text: `pad_type=same, bn_eps=0.001, mean=0.5`.

A run asks for this before anything is built, so nothing here needs torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

VALUES = ("mean", "std")  # per channel, of images in [0, 1]; all else goes to the constructor

PYTHON = {"True": True, "False": False, "None": None}
SWITCHES = ("yes", "no", "on", "off")
LEAST, MOST = 1e-3, 1.0  # of a standard deviation; that of a network that sees 0 to 255 is about 1 / 255


def require_channels(name: str, numbers: Sequence[float]) -> None:
    """Refuse a mean or a standard deviation that is none of images in [0, 1], such as one of 0 to 255.

    Raises:
        ValueError: see above.
    """
    least = LEAST if name == "std" else 0.0
    if not all(least <= one <= MOST for one in numbers):
        got = " ".join(f"{one:g}" for one in numbers)
        raise ValueError(
            f"{name} must be of images in [0, 1], and so lie in [{least:g}, {MOST:g}], got {got}; divide by 255 what is"
            " of images in [0, 255]"
        )


def value(text: str) -> Any:
    """Text as JSON reads it (a number, true, false, null) or Python (True, False, None), else as it is.

    Raises:
        ValueError: no, yes, on or off, which as texts would all be true.
    """
    if text in PYTHON:
        return PYTHON[text]
    if text.lower() in SWITCHES:
        raise ValueError(f"what is on or off must be true or false, got {text!r}; say which")
    try:
        return json.loads(text)
    except ValueError:
        return text


def of(options: str) -> dict[str, Any]:
    """What a text says of a network, by the names that a recipe has for it.

    Args:
        options: NAME=VALUE, split by commas: options of timm's or torchvision's constructor, and `mean` and `std` of
            images in [0, 1], a number for all channels or three split by slashes.

    Returns:
        "create_model" with the options, "mean" and "std"; each only where something is said of it.

    Raises:
        ValueError: the text is written otherwise, or says something twice.
    """
    given: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in options.split(","))):
        name, equals, text = (word.strip() for word in part.partition("="))
        if not (name and equals and text):
            raise ValueError(f"options must be NAME=VALUE, split by commas; got {part!r}; such as pad_type=same")
        if name in given:
            raise ValueError(f"options must say each thing once; got {name!r} twice; leave one out")
        given[name] = text
    channels = {name: _channels(name, given.pop(name)) for name in VALUES if name in given}
    built = {name: value(text) for name, text in given.items()}
    return ({"create_model": built} if built else {}) | channels


def _channels(name: str, text: str) -> tuple[float, ...]:
    each = [value(part) for part in text.split("/")]
    numbers = [float(one) for one in each if isinstance(one, int | float) and not isinstance(one, bool)]
    least = 0.0 if name == "std" else -math.inf
    if len(numbers) != len(each) or len(each) not in (1, 3) or not all(least < one < math.inf for one in numbers):
        raise ValueError(
            f"{name} must be a finite number{' above 0' if name == 'std' else ''}, or three split by slashes; got"
            f" {text!r}; such as {name}=0.5"
        )
    require_channels(name, numbers)
    return tuple(numbers) if len(numbers) == 3 else (numbers[0],) * 3
