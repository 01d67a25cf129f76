"""The class that a run gave to each test image, packed into a record: with it two runs can be compared by image."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

LARGEST = 2**16  # classes; ImageNet-21k has a third of them
MOST = 2**26  # bytes unpacked, two for each image: a few letters of a record could else fill the memory
IMAGES, LABELS = "images", "labels"  # what a record keeps of its test set


def pack(classes: Iterable[int]) -> str:
    """Numbers of classes, in [0, 65536), as text: first all low bytes, then all high ones, zlib, base64.

    Raises:
        ValueError: a number lies outside that range.
    """
    numbers = list(classes)
    if wrong := [number for number in numbers if not 0 <= number < LARGEST]:
        raise ValueError(f"a class must be a whole number in [0, {LARGEST}), got {wrong[0]}")
    planes = bytes(number & 255 for number in numbers) + bytes(number >> 8 for number in numbers)
    return base64.b64encode(zlib.compress(planes, 9)).decode("ascii")


def unpack(text: str) -> list[int]:
    """What `pack` was given.

    Raises:
        ValueError: the text is not what `pack` makes.
    """
    try:
        inflater = zlib.decompressobj()
        planes = inflater.decompress(base64.b64decode(text, validate=True), MOST)
        if not inflater.eof:
            raise ValueError(f"it is cut off, or longer than {MOST} bytes")
    except (binascii.Error, zlib.error, ValueError, TypeError) as error:
        raise ValueError(f"packed classes must be zlib in base64 ({error}); run the experiment again") from error
    count, odd = divmod(len(planes), 2)
    if odd:
        raise ValueError(f"packed classes must hold two bytes each, got {len(planes)}; run the experiment again")
    return [low + 256 * high for low, high in zip(planes[:count], planes[count:], strict=True)]


def right(predicted: str, labels: str) -> list[bool]:
    """By test image, whether the class that it was given is its label; both packed.

    Raises:
        ValueError: there are not as many of one as of the other, or none.
    """
    return list(_right(predicted, labels))


@lru_cache(maxsize=2**14)  # a report asks for the same run in each comparison that it is in
def _right(predicted: str, labels: str) -> tuple[bool, ...]:
    given, true = unpack(predicted), unpack(labels)
    if len(given) != len(true) or not true:
        raise ValueError(
            f"there must be a prediction for each of the {len(true)} test images, got {len(given)}; run both again"
        )
    return tuple(one == other for one, other in zip(given, true, strict=True))


def validate(predictions: Mapping[str, str], test: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    """ValueError where predictions do not belong to the test set or do not give the accuracy that is recorded.

    Args:
        predictions: by metric, packed.
        test: "images", the hash of the test images in their order, and "labels", packed; empty without predictions.
        metrics: of the record.
    """
    if not predictions and not test:
        return
    if set(test) != {IMAGES, LABELS} or not test[IMAGES]:
        raise ValueError(f"test must hold {IMAGES} (their hash) and {LABELS} (packed), got {sorted(test)}")
    for name, packed in predictions.items():
        outcomes = right(packed, test[LABELS])
        share = sum(outcomes) / len(outcomes)
        if name not in metrics or abs(metrics[name] - share) > 1e-6:
            raise ValueError(f"metric {name} must be what its predictions give, {share}, got {metrics.get(name)}")
