"""The untouched backbone beside the model that tasks are laid on: it follows wherever the model goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from submasking.masking.checks import IN_USE, check_apart, check_filled, require_module, strangers
from submasking.masking.masks import is_masked
from submasking.masking.state import writes
from submasking.masking.structure import aliases

LARGE, SAMPLE = 65_536, 4_096  # numbers of a tensor that is not compared whole, and about how many of it are


# of each model the state of its parameters when a bank wrote there last; several banks may lie over one
_WRITTEN: WeakKeyDictionary[nn.Module, dict[str, tuple[int, int]]] = WeakKeyDictionary()


class Ground:
    """A copy of a backbone's tensors, and the model's own as they are at the moment.

    The copy itself never changes. Where the model was cast, moved or laid out anew, tasks are laid on a copy of the
    copy that was too, so that a cast and its undoing lose nothing.

    Args:
        model: the plain backbone.

    Raises:
        ValueError: it is no module, is masked, or a task of another bank is in it; or that is so of a part of it; or
            it holds what is no tensor, or a parameter without numbers and memory of its own.
    """

    def __init__(self, model: nn.Module) -> None:
        require_module(model)
        if any(is_masked(module) for module in model.modules()):
            raise ValueError("a bank is made over the plain backbone; this model is masked; unbake it, or bake a copy")
        if used := [module.__dict__[IN_USE] for module in model.modules() if IN_USE in module.__dict__]:
            raise ValueError(
                f"a bank is made over the plain backbone; the task {used[0]!r} of another bank is in it; release that"
                " bank first, and of a copy make a new one after that"
            )
        if odd := strangers(model):
            raise ValueError(
                f"all that a bank's model holds must be tensors; {odd[0]!r} is none, as in quantised layers; make the"
                " bank over a model without such layers"
            )
        for name, parameter in model.named_parameters():
            check_filled(name, parameter)
        check_apart(model)
        self.model = model
        self.pristine = {name: value.clone() for name, value in model.state_dict().items()}
        self.others = aliases(model)
        self.fitted = dict(self.pristine)
        self._swapped: dict[str, nn.Parameter] = {}  # what stood where a task has a parameter of another shape
        if model not in _WRITTEN:
            self.wrote()

    def follow(self, expected: Callable[[str], Tensor], written: Container[str]) -> dict[str, Tensor]:
        """Look where the model is now, and lay the copy out as it is.

        Args:
            expected: name -> what the bank has written there last.
            written: names of what a switch writes anew. An edit of these is noticed by torch's count of writes, which
                those through ``.data`` pass by; what no switch would repair is compared, of large tensors a sample.

        Returns:
            The model's tensors by name, which share its memory.

        Raises:
            ValueError: a tensor is gone or has another shape, or its numbers are neither the backbone's nor the task's.
        """
        now = self.tensors()
        fitted = self._laid_anew(now)
        parameters = dict(self.model.named_parameters())  # in their order: the first that differs is named
        stayed = {name: now[name] for name in parameters if name in now and name not in fitted}
        self._require_unchanged(stayed, expected, written)
        frozen = [name for name in fitted if name in parameters and name not in written]
        for name in frozen:
            if not _same(now[name], self.fitted[name].to(now[name])) and not _same(now[name], fitted[name]):
                raise self._changed(name)
        for name in frozen:  # what an earlier cast has rounded, and no switch writes
            now[name].copy_(fitted[name])
        if fitted:
            self.fitted |= fitted
            self.wrote()
        return now

    def restore(self) -> None:
        """Give the model its own numbers back, as exactly as its types can hold them.

        Raises:
            ValueError: see `tensors`.
        """
        now = self.tensors()
        for name, value in self.pristine.items():
            self.put(name, value, now[name])
        self.fitted |= self._laid_anew(self.tensors())
        self.wrote()

    def _laid_anew(self, now: dict[str, Tensor]) -> dict[str, Tensor]:
        """The copy's tensors of another type, place or layout than at the last look, as the model's are now."""
        anew = {}
        for name, value in self.pristine.items():
            if name in self._swapped:  # another shape stands there; only where it is and its type say something
                if _layout(now[name])[:2] != _layout(self.fitted[name])[:2]:
                    anew[name] = value.to(now[name].device, now[name].dtype)
            elif now[name].shape == value.shape and _layout(now[name]) != _layout(self.fitted[name]):
                same = _layout(now[name]) == _layout(value)
                anew[name] = value if same else torch.empty_like(now[name]).copy_(value)
        return anew

    def tensors(self) -> dict[str, Tensor]:
        """Return the model's tensors by name, which share its memory.

        Raises:
            ValueError: the model was masked, a tensor is gone or has another shape.
        """
        if any(is_masked(module) for module in self.model.modules()):
            raise ValueError(
                "a bank's model must stay plain; somebody has masked it since; unbake it, and mask a copy instead"
            )
        now = self.model.state_dict()
        for name, value in self.pristine.items():
            free = self._swapped.keys() | self.others.keys()
            if name not in now or (now[name].shape != value.shape and name not in free):
                there = f"has shape {tuple(now[name].shape)} now" if name in now else "is gone"
                helps = (
                    f"give the model one of shape {tuple(value.shape)} again, and call release()"
                    if self._in_use
                    else "undo that, or make a new Bank over it"
                )
                raise ValueError(f"a bank's model must keep its tensors; {name!r} {there}; {helps}")
        return now

    @property
    def _in_use(self) -> bool:
        """Whether a task is in the model, over which no new bank is made then."""
        return IN_USE in self.model.__dict__

    def note(self, task: str | None) -> None:
        """Say in each part of the model, so in whatever is copied or taken of it, which task's weights are in it."""
        for module in self.model.modules():
            if task is None:
                module.__dict__.pop(IN_USE, None)
            else:
                module.__dict__[IN_USE] = task

    @property
    def swapped(self) -> bool:
        """Whether a task has put a parameter of another shape in place of the model's."""
        return bool(self._swapped)

    def buffers(self) -> set[str]:
        """Return the names of the copy's tensors that are no parameters of the model, such as norm statistics."""
        return self.pristine.keys() - {name for name, _ in self.model.named_parameters(remove_duplicate=False)}

    def wrote(self) -> None:
        """Remember the state of the model's parameters: what differs at the next look no bank has written."""
        _WRITTEN[self.model] = {name: writes(parameter) for name, parameter in self.model.named_parameters()}

    def put(self, name: str, value: Tensor, there: Tensor) -> None:
        """Set one tensor; a parameter of another shape, such as a classifier's, takes the place of the model's."""
        if there.shape == value.shape and name not in self._swapped:
            there.copy_(value)
            return
        path, _, attribute = name.rpartition(".")
        owner = self.model.get_submodule(path)
        current = owner.get_parameter(attribute)
        known = self._swapped.setdefault(name, current)
        if known.shape == value.shape:  # what was done to the one in its place meanwhile is done to it
            del self._swapped[name]
            if (known.device, known.dtype) != (there.device, there.dtype):
                known.data = known.data.to(there.device, there.dtype)
            known.data.copy_(value)
            known.requires_grad_(current.requires_grad)
            owner._parameters[attribute] = known
            return
        fresh = value.to(there.device, there.dtype).clone()
        owner._parameters[attribute] = nn.Parameter(fresh, requires_grad=current.requires_grad)

    def _require_unchanged(
        self, now: dict[str, Tensor], expected: Callable[[str], Tensor], written: Container[str]
    ) -> None:
        for name, there in now.items():
            if name not in self.pristine:
                continue
            touched = _WRITTEN.get(self.model, {}).get(name) != writes(there)
            if name in self._swapped:
                if touched and not torch.equal(there, expected(name)):
                    raise self._changed(name)
                continue
            if not touched and (name in written or _alike(there, self.fitted[name])):
                continue
            if not torch.equal(there, self.fitted[name]) and not torch.equal(there, expected(name)):
                raise self._changed(name)

    def _changed(self, name: str) -> ValueError:
        others = (
            "; keep a copy of its state_dict() before, if these weights are wanted"
            if self._in_use
            else ", or make a new Bank over these weights"
        )
        return ValueError(
            f"a bank's model must keep its weights; {name!r} was loaded, trained or edited since; release() gives the"
            f" backbone back that the tasks belong to{others}"
        )


def _alike(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors of one shape hold the same numbers, of large ones some that are spread over all of it."""
    step = math.ceil((first.numel() / SAMPLE) ** (1 / max(first.dim(), 1))) if first.numel() > LARGE else 1
    some = (slice(None, None, step),) * first.dim()
    return _same(first[some], second[some])


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors of one shape hold the same numbers, or none at the same places."""
    return torch.equal(first, second) or bool(((first == second) | (first != first) & (second != second)).all())


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tensor.device, tensor.stride()
