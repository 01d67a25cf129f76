"""How strongly a linear probe is held back, chosen on validation images; and the probe as a head to train on from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from submasking.learning.evaluate import accuracy
from submasking.learning.probe import fitted, linear_probe

DECAYS = (1.0, 10.0, 100.0)  # scikit-learn's C = 1, 0.1, 0.01
STEP, FURTHER = 10.0, 4  # the search goes on beyond an end that is best, so many times at most


@dataclass(frozen=True)
class Choice:
    """A decay of `submasking.learning.probe.linear_probe` and what it was chosen from.

    Attributes:
        decay: the best; of equals the largest, which holds the probe back most.
        tried: accuracy on the validation images by decay, a share in [0, 1].
        inside: whether worse ones lie on both sides: else the search ended before it found the best.
        converged: whether the solver did, for the best.
    """

    decay: float
    tried: dict[float, float]
    inside: bool
    converged: bool


def best_decay(
    train: Float[Tensor, "m d"],
    train_labels: Int[Tensor, " m"],
    validation: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    *,
    decays: tuple[float, ...] = DECAYS,
    max_iterations: int = 1000,
) -> Choice:
    """Choose the decay of a linear probe by its accuracy on validation images.

    Args:
        train: features that the probe is fitted to, such as those of several views of each image.
        train_labels: of these.
        validation: features of other images; never those of a test.
        labels: of these.
        decays: what is tried first, each > 0; then on, tenfold, beyond an end that is best.
        max_iterations: of the solver.

    Raises:
        ValueError: there is no decay, one that is not positive, or no validation image.
    """
    if not decays or not min(decays) > 0:
        raise ValueError(f"decays must be positive, at least one, got {decays}; the usual ones are {DECAYS}")
    if not len(labels):
        raise ValueError("a decay is chosen on validation images, got none; set some training images apart")
    tried: dict[float, float] = {}
    done: dict[float, bool] = {}
    waiting, further = sorted(set(decays)), FURTHER
    while waiting:
        for decay in waiting:
            classes, done[decay] = linear_probe(
                train, train_labels, validation, decay=decay, max_iterations=max_iterations
            )
            tried[decay] = accuracy(classes, labels)
        best = max(tried, key=lambda decay: (tried[decay], decay))
        beyond = {max(tried): best * STEP, min(tried): best / STEP}.get(best)
        waiting = [beyond] if beyond is not None and further else []
        further -= 1
    return Choice(best, tried, min(tried) < best < max(tried), done[best])


def probe_head(
    train: Float[Tensor, "m d"],
    labels: Int[Tensor, " m"],
    classes: int,
    *,
    decay: float,
    max_iterations: int = 1000,
) -> nn.Linear:
    """The linear probe as a head: it gives the logits of features as they come, unscaled.

    It is that of `submasking.learning.probe.fitted`, in the precision of the features.

    Args:
        train: features.
        labels: of these, each class at least once.
        classes: how many there are.
        decay: see `linear_probe`, > 0.
        max_iterations: of the solver.

    Raises:
        ValueError: a decay that is not positive, or a class without an image.
    """
    if not decay > 0:
        raise ValueError(f"decay must be positive, got {decay}; the usual ones are {DECAYS}")
    if missing := set(range(classes)) - set(labels.tolist()):
        raise ValueError(f"each of {classes} classes must have an image, {min(missing)} has none; take more images")
    found = fitted(train, labels, classes, decay=decay, max_iterations=max_iterations)
    head = nn.Linear(train.shape[1], classes, dtype=train.dtype)
    with torch.no_grad():
        head.weight.copy_(found.weight)
        head.bias.copy_(found.bias)
    return head
