"""Image sets that took a while to make, kept as safetensors files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from submasking.files import store
from submasking.learning.images import ImageSet


def cached(path: Path, make: Callable[[], ImageSet]) -> ImageSet:
    """The image set stored at `path`; where there is none (or a damaged one) `make` it and store it."""
    if path.exists():
        try:
            tensors, metadata = store.read(path)
            classes = tuple(json.loads(metadata["classes"]))
            return ImageSet(tensors["images"], tensors["labels"], classes, metadata["name"])
        except (ValueError, KeyError):
            path.unlink()
    made = make()
    described = {"classes": json.dumps(made.classes), "name": made.name}
    store.save(path, {"images": made.images, "labels": made.labels}, described)
    return made
