"""The backbone that a mask file names, built by the library that has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from submasking.learning.backbone import Backbone, Values
from submasking.tasks.stored import Stored
from submasking.worlds import libraries


def backbone_of(task: Stored, weights: Path | None) -> Backbone:
    """The backbone that a mask file names, with its weights.

    Raises:
        ValueError: the file names none, or it cannot be built.
    """
    if not task.backbone["architecture"]:
        raise ValueError(
            "a mask file must name its architecture, got ''; lay it on from Python, with TaskFile.apply, or save it"
            " anew with architecture="
        )
    wanted = task.preprocessing
    return libraries.build(
        task.backbone["architecture"],
        weights,
        options=task.backbone["options"],
        size=wanted.get("size"),
        mean=_three(wanted.get("mean")),
        std=_three(wanted.get("std")),
        head="auto" if task.head_kind == "cosine" else "linear",  # a linear one asks for no text tower
    )


def _three(values: Any) -> Values | None:
    if values is None:
        return None
    if not isinstance(values, list | tuple) or len(values) != 3 or not all(isinstance(v, int | float) for v in values):
        raise ValueError(
            f"mean and std must be three numbers each, the mask file has {values!r}; lay it on from Python, with"
            " TaskFile.apply, or save it anew with such a preprocessing="
        )
    return float(values[0]), float(values[1]), float(values[2])
