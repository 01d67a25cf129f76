"""In what order the modules of a network run, and what each of them takes and gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(eq=False)
class Call:
    """One call of a module.

    Attributes:
        name: of the module.
        module: what was called.
        given: its only argument; None where that is not one tensor.
        made: what it returned; None where that is not one tensor.
        inside: the calls that it made itself, in order.
    """

    name: str
    module: nn.Module
    given: Tensor | None
    made: Tensor | None = None
    inside: list[Call] = field(default_factory=list)

    def walk(self) -> Iterator[Call]:
        """The call itself and all within it."""
        yield self
        for call in self.inside:
            yield from call.walk()

    def path(self, name: str) -> list[Call]:
        """The calls from this one down to the first of the module called `name`; empty where it is not called."""
        if self.name == name:
            return [self]
        for call in self.inside:
            if found := call.path(name):
                return [self, *found]
        return []


@torch.no_grad()
def record(network: nn.Module, images: Tensor) -> Call:
    """Run a network and tell what was called; its hooks are as before afterwards."""
    whole = Call("", network, images)
    open_calls = [whole]
    names = {id(module): name for name, module in network.named_modules()}

    def enter(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        alone = len(given) == 1 and not named and isinstance(given[0], Tensor)
        call = Call(names[id(module)], module, given[0] if alone else None)
        open_calls[-1].inside.append(call)
        open_calls.append(call)

    def leave(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        open_calls.pop().made = made if isinstance(made, Tensor) else None

    hooks = []
    for module in network.modules():
        if module is not network:
            hooks += [module.register_forward_pre_hook(enter, with_kwargs=True), module.register_forward_hook(leave)]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return whole
