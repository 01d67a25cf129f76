"""The modes of a network, and what some keep of their weights in eval mode, as gathered biases of attention."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Have a network in eval mode for the length of a `with` block, then in the modes that each part had.

    What it keeps of its weights is made anew within, and forgotten after.
    """
    before = [(module, module.training) for module in model.modules()]
    model.train()  # where such a network forgets it
    model.eval()
    try:
        yield
    finally:
        model.train()
        for module, training in before:
            module.training = training


def forget(model: nn.Module) -> None:
    """Have a network in eval mode forget what it keeps of its weights, since these are others now."""
    if not model.training:
        with evaluated(model):
            pass
