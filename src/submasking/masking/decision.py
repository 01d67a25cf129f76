"""What is said about one parameter, and what says it: a selection."""

import re
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import Tensor, nn

ACTIONS = ("mask", "train", "freeze")


class Decision(NamedTuple):
    """What happens to one parameter.

    Args:
        action: "mask", "train" or "freeze".
        group: the heading under which the parameter is reported, such as "layer1".
        part: for a partial mask, a callable (name, frozen weights) -> a bool tensor of their shape, true where they
            may be switched off. Only the scores remember it (the other weights get plus infinity): no index is stored.
    """

    action: str
    group: str = ""
    part: Callable[[str, Tensor], Tensor] | None = None


Select: TypeAlias = Callable[[str, nn.Parameter], Decision | str]


class OfModel:
    """A selection that has to see the whole network before it can answer; `submasking.mask` shows it one.

    Args:
        make: a model -> the selection for this model.
    """

    def __init__(self, make: Callable[[nn.Module], Select]) -> None:
        self.make = make

    def __call__(self, name: str, parameter: nn.Parameter) -> Decision:
        """Refuse: one parameter does not say what the network is.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"select='auto' must see the whole network; it was asked about {name!r} alone; use"
            " submasking.masking.selection.resolve('auto', model)"
        )


def group_of(name: str) -> str:
    """Return the block a parameter name belongs to: its first part, or up to the first number.

    ``layer1.0.conv1.weight`` gives ``layer1``, ``blocks.3.attn.qkv.weight`` gives ``blocks.3``.

    Args:
        name: of a parameter, with dots.
    """
    found = re.match(r"((?:[a-zA-Z_]+\.)*?(?:blocks|resblocks|layers|stages|features)\.\d+)(?:\.|$)", name)
    return found.group(1) if found else name.split(".")[0]
