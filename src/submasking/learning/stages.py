"""A network in two parts: its first stages, which stay frozen, and the rest, which learns.

What frozen stages make of an image never changes, so it can be computed once. They are the modules that run, one after
the other, before the module that is the first to learn, such as ``layer3`` or ``blocks.3``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from submasking.learning.calls import Call, record

# The kernels of a convolution differ with the number of images, and with them the last bits of what comes out. Frozen
# stages always see this many, filled up where there are fewer: so an image gives the same bits in any batch.
TOGETHER = 32
SHOWN = 12  # names in an error


class Split:
    """A network as its frozen first stages and the rest.

    Args:
        trunk: images -> features; its frozen stages are put into eval mode.
        start: name of the module that is the first to learn.
        size: side of the images in pixels with which the network is tried.

    Attributes:
        frozen: names of the parameters of the frozen stages.
        shape: of the activations of one image between the two parts.

    Raises:
        ValueError: there is no such module, or the network cannot be split there: something besides the activations,
            such as a shortcut, leads past the cut, or what is frozen and what learns share a parameter.
    """

    def __init__(self, trunk: nn.Module, start: str, size: int) -> None:
        self.trunk = trunk
        with _in_eval(trunk):
            images = self._noise(size)
            whole = record(trunk, images)
            self.stages = [call.module for call in _before(whole, start)]
            activations = self._tried(images)
        if activations is None:
            raise _refused(start, trunk, whole)
        self.shape = tuple(activations.shape[1:])
        self.frozen = frozenset(name for name, parameter in trunk.named_parameters() if id(parameter) in self._held())
        self.hold()

    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n width"]:
        return self.late(self.early(images))

    def hold(self) -> None:
        """Put the frozen stages into eval mode: to be called after each ``train()`` of the network."""
        for stage in self.stages:
            stage.eval()

    @torch.no_grad()
    def early(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n ..."]:
        """What the frozen stages make of images; of one image the same whatever comes with it."""
        made = []
        for part in images.split(TOGETHER):
            fill = part.new_zeros(TOGETHER - len(part), *part.shape[1:])
            made.append(self._chain(_laid_out(torch.cat([part, fill])))[: len(part)])
        return torch.cat(made)

    def late(self, activations: Float[Tensor, "n ..."]) -> Float[Tensor, "n width"]:
        """What the rest of the network makes of the activations of the frozen stages."""
        with _passing_on(self.stages):
            return self.trunk(_laid_out(activations))

    def _chain(self, images: Tensor) -> Tensor:
        for stage in self.stages:
            images = stage(images)
        return images

    def _held(self) -> set[int]:
        return {id(parameter) for stage in self.stages for parameter in stage.parameters()}

    @torch.no_grad()
    def _tried(self, images: Tensor) -> Tensor | None:
        """The activations, if the two parts one after the other are the network bit for bit."""
        frozen = {id(module) for stage in self.stages for module in stage.modules()}
        learning = [module for module in self.trunk.modules() if id(module) not in frozen]
        shared = self._held() & {id(p) for module in learning for p in module.parameters(recurse=False)}
        if shared or not self._held():
            return None
        try:
            activations = self._chain(images)
            same = torch.equal(self.late(activations.clone()), self.trunk(images))
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):  # what was passed over was needed
            return None
        return activations if same else None

    def _noise(self, size: int) -> Tensor:
        weights = next(self.trunk.parameters())
        noise = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
        return _laid_out(noise.to(weights.device, weights.dtype))


def _before(whole: Call, start: str) -> list[Call]:
    """The calls that run one after the other from the image to a module; empty where there is no such chain."""
    path = whole.path(start)
    times = Counter(id(call.module) for call in whole.walk())
    chain: list[Call] = []
    for outer, inner in pairwise(path):
        state = outer.given
        for call in outer.inside[: outer.inside.index(inner)]:
            if state is None or call.given is not state or times[id(call.module)] > 1:
                return []
            state = call.made
            chain.append(call)
        if state is None or inner.given is not state:
            return []
    return chain


def _places(call: Call, size: int) -> Iterator[str]:
    """Names of modules where a network of `size` parameters may be split: its stages, and those of the largest one."""

    def count(inner: Call) -> int:
        return sum(parameter.numel() for parameter in inner.module.parameters())

    lists = [inner for inner in call.inside if isinstance(inner.module, nn.Sequential)]
    largest, state = max(lists, key=count, default=None), call.given
    for inner in call.inside:
        if state is None or inner.given is not state:
            return
        state = inner.made
        if count(inner):
            yield inner.name
        if inner is largest or (not call.name and count(inner) > size / 2):  # a list of stages, or a wrapper
            yield from _places(inner, size)


def _refused(start: str, trunk: nn.Module, whole: Call) -> ValueError:
    size = sum(parameter.numel() for parameter in trunk.parameters())
    found = [name for name in _places(whole, size) if _before(whole, name)]
    known = ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
    return ValueError(
        f"from_stage must name a module that takes nothing but the output of those before it, got {start!r}; "
        + (f"this network may be split at {known}" if found else "this network cannot be split, so train all of it")
    )


def _laid_out(images: Tensor) -> Tensor:
    """Images or activations channels last, as the networks are; what has no height and width as it is."""
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images.contiguous()


@contextmanager
def _passing_on(modules: list[nn.Module]) -> Iterator[None]:
    """Let modules hand on what they are given."""
    held = [module.__dict__.get("forward") for module in modules]
    for module in modules:
        module.__dict__["forward"] = _same
    try:
        yield
    finally:
        for module, forward in zip(modules, held, strict=True):
            if forward is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = forward


def _same(activations: Tensor) -> Tensor:
    return activations


@contextmanager
def _in_eval(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode and every module back into its own."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
