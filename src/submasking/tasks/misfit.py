"""Why a task does not fit weights that may well be the right ones: wrapped, cast, with a classifier more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from submasking.files.naming import CLASSIFIERS
from submasking.files.raw import Raw
from submasking.tasks.fingerprint import fingerprint

if TYPE_CHECKING:
    from torch import Tensor


class Task(Protocol):
    """What is asked of a task, see `submasking.tasks.stored.Stored`."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...
    @property
    def trained(self) -> tuple[str, ...]: ...
    @property
    def backbone(self) -> Mapping[str, Any]: ...
    def fits(self, state: Mapping[str, Tensor | Raw]) -> bool: ...


def why(task: Task, state: Mapping[str, Tensor | Raw]) -> str:
    """What is different and what to do, as far as it can be told; else to load the task's weights.

    Args:
        task: a task that was refused.
        state: tensors of the backbone by name.
    """
    return (
        _wrapped(task, state)
        or _reshaped(task, state)
        or _cast(task, state)
        or _more(task, state)
        or _rounded(task, state)
        or _seen(task, state)
        or "load those weights"
    )


def _wrapped(task: Task, state: Mapping[str, Tensor | Raw]) -> str:
    known = next(iter(task.shapes))
    if known in state:
        return ""
    longer = [name.removesuffix(known) for name in state if name.endswith("." + known)]
    if longer:
        return (
            f"the names of this model begin with {longer[0]!r}, as of a wrapper: lay the task on the model inside, and"
            " wrap it after"
        )
    shorter = [known.removesuffix(name) for name in state if known.endswith("." + name)]
    if shorter:
        return (
            f"the names in the task begin with {shorter[0]!r}: it was saved from a wrapper; lay it on such a wrapper,"
            " or mask the model inside and save that"
        )
    return f"it masks {known!r}, which this model has not: that is another architecture"


def _reshaped(task: Task, state: Mapping[str, Tensor | Raw]) -> str:
    for name, shape in task.shapes.items():
        if name not in state or tuple(state[name].shape) != shape:
            there = tuple(state[name].shape) if name in state else "missing"
            return f"{name!r} is {shape} in the task and {there} here: that is another architecture"
    return ""


def _cast(task: Task, state: Mapping[str, Tensor | Raw]) -> str:
    values = [state[name] for name in task.shapes]
    kinds = sorted({v.kind if isinstance(v, Raw) else str(v.dtype).removeprefix("torch.") for v in values})
    if kinds == ["float32"]:
        return ""
    return (
        f"these weights are {', '.join(kinds)}: if they were cast since, lay the task on them as they were loaded, and"
        " cast after"
    )


def _rounded(task: Task, state: Mapping[str, Tensor | Raw]) -> str:
    """Whether the task was saved over the same weights in another type, or after they had been in a narrower one."""
    tensors = {name: value for name, value in state.items() if not isinstance(value, Raw)}
    if len(tensors) < len(state):
        return ""
    for kind in ("float64", "float16", "bfloat16"):
        cast = {name: _cast_to(kind, value) for name, value in tensors.items()}
        if task.fits(cast):
            how = f"model.to(torch.{kind})"
        elif task.fits({name: value.to(tensors[name].dtype) for name, value in cast.items()}):
            how = f"model.to(torch.{kind}).to(torch.float32)"
        else:
            continue
        return (
            f"the weights are the right ones, but those of the task were {kind} before it was saved, as by a cast after"
            f" masking; lay it on weights that were, too: {how}"
        )
    return ""


def _cast_to(kind: str, value: Tensor) -> Tensor:
    import torch

    return value.to(getattr(torch, kind)) if value.is_floating_point() else value


def _more(task: Task, state: Mapping[str, Tensor | Raw]) -> str:
    classifier = [name for name in state if name.startswith(CLASSIFIERS)]
    rest = {name: value for name, value in state.items() if name not in classifier}
    if classifier and task.fits(rest):
        return f"the weights are the right ones, but the model has {classifier[0]!r} too; build it without a classifier"
    return ""


def _seen(task: Task, state: Mapping[str, Tensor | Raw]) -> str:
    parameters = {
        name: value
        for name, value in state.items()
        if name not in task.trained and not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    }
    if task.backbone.get("parameters") and fingerprint(parameters) == task.backbone["parameters"]:
        return (
            "the weights are the right ones, but the statistics of norms are others: this model, or the one that was"
            " masked, has seen data in train mode; load the weights anew here, or there before it is masked"
        )
    return ""
