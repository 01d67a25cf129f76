"""The backbone that a mask file names, built by the library that has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from submasking.learning.backbone import Backbone, Values
from submasking.tasks.stored import Stored
from submasking.worlds import libraries

INSTEAD = "pass the weights that the task belongs to with --weights"  # the file has chosen the model


def backbone_of(task: Stored, weights: Path | None) -> Backbone:
    """The backbone that a mask file names, with its weights and without a classifier, which `complete` puts on.

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
        options=of_trunk(task.backbone["options"]),
        size=wanted.get("size"),
        mean=_three(wanted.get("mean")),
        std=_three(wanted.get("std")),
        head="auto" if task.head_kind == "cosine" else "linear",  # a linear one asks for no text tower
        instead=INSTEAD,
    )


def of_trunk(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a model's constructor but for the one of its classifier."""
    return {name: value for name, value in options.items() if name != libraries.OUTPUTS}


def complete(trunk: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Put the classifier that a task has trained inside its model into the place that is left for it.

    Args:
        trunk: a backbone without a classifier, changed in place.
        state: what the task sets, by name.

    Returns:
        Whether the task has one.

    Raises:
        ValueError: it sets something else that the backbone lacks; nothing is changed then.
    """
    there, modules = trunk.state_dict(), dict(trunk.named_modules())
    missing = [name for name in state if name not in there]
    classifiers = {}
    for name in missing:
        path, _, _ = name.rpartition(".")
        weight, bias = state.get(f"{path}.weight"), state.get(f"{path}.bias")
        own = name in (f"{path}.weight", f"{path}.bias") and isinstance(modules.get(path), nn.Identity)
        if not own or weight is None or weight.dim() != 2 or (bias is not None and bias.shape != weight.shape[:1]):
            raise ValueError(
                f"what a task sets beside its masks must be of its backbone, or a linear classifier in its usual place;"
                f" {name!r} is neither; lay the task on from Python, with TaskFile.apply"
            )
        classifiers[path] = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    for path, classifier in classifiers.items():
        trunk.set_submodule(path, classifier)
    return bool(classifiers)


def _three(values: Any) -> Values | None:
    if values is None:
        return None
    if not isinstance(values, list | tuple) or len(values) != 3 or not all(isinstance(v, int | float) for v in values):
        raise ValueError(
            f"mean and std must be three numbers each, the mask file has {values!r}; lay it on from Python, with"
            " TaskFile.apply, or save it anew with such a preprocessing="
        )
    return float(values[0]), float(values[1]), float(values[2])
