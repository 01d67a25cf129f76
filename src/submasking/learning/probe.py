"""The linear probe: logistic regression on features that nobody changes."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from submasking.records.profiles import DECAY

TOLERANCE = 1e-3  # of the gradient at the minimum, where each coordinate has about a unit of curvature


class Fitted(NamedTuple):
    """A probe at the minimum of its objective: logits of features x are `weight @ x + bias`, of x as it comes.

    Attributes:
        weight: of each class.
        bias: likewise.
        converged: whether no part of the gradient is above `TOLERANCE`.
    """

    weight: Float64[Tensor, "k d"]
    bias: Float64[Tensor, " k"]
    converged: bool


def linear_probe(
    train: Float[Tensor, "m d"],
    train_labels: Int[Tensor, " m"],
    test: Float[Tensor, "n d"],
    *,
    decay: float = DECAY,
    max_iterations: int = 1000,
    exact: bool = False,
) -> tuple[Int[Tensor, " n"], bool]:
    """Class of each test image by multinomial logistic regression on frozen features, and whether its solver converged.

    Minimises mean cross-entropy + (decay / m) / 2 * |W|^2, that is scikit-learn's C = 1 / decay. Features are
    scaled by one number, the inverse of their mean length, so that decay means the same for every backbone.

    The usual solver, scikit-learn's L-BFGS in the features' own precision, stops where a step gains little: with a
    small decay and many classes that is well before the minimum, and where depends on rounding. If `exact`, `fitted`
    goes on to the minimum. Of two classes scikit-learn holds one vector, `fitted` two, which halves their decay.
    """
    if exact:
        seen, numbers = train_labels.unique(return_inverse=True)
        found = fitted(train, numbers, len(seen), decay=decay, max_iterations=max_iterations)
        return seen[(test.double() @ found.weight.T + found.bias).argmax(1)], found.converged
    # scikit-learn takes seconds to import, and most who adapt a network probe nothing
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    scale = _scale(train)
    model = LogisticRegression(C=1 / decay, max_iter=max_iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # few labels: nearly as many classes as images is no mistake here
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit((train * scale).numpy(), train_labels.numpy())
    predicted = torch.from_numpy(model.predict((test * scale).numpy()))
    return predicted, bool(model.n_iter_.max() < max_iterations)


def fitted(
    train: Float[Tensor, "m d"],
    labels: Int[Tensor, " m"],
    classes: int,
    *,
    decay: float = DECAY,
    max_iterations: int = 1000,
) -> Fitted:
    """The probe of `linear_probe` at the minimum of its objective, in double precision.

    L-BFGS, in coordinates in which the objective is nearly round: features are centred, which the bias takes up,
    turned to the axes of their spread, and each axis is measured by the root of its curvature, (s^2 / k + decay) for a
    singular value s and k classes. In the features' own coordinates curvatures differ by a factor of a million, and
    the same minimum takes ten times as long.

    Args:
        train: features.
        labels: of these, in [0, classes), each class at least once: else its bias falls without end.
        classes: how many there are.
        decay: see `linear_probe`, > 0.
        max_iterations: of the solver.
    """
    scale, features = float(_scale(train)), train.double()
    middle = features.mean(0)
    spread, size, axes = torch.linalg.svd((features - middle) * scale, full_matrices=False)
    curvature = (size.square() / classes + decay).sqrt()
    coordinates, penalty = spread * (size / curvature), decay / curvature.square()
    level = (len(train) / classes) ** 0.5  # of the bias
    weight, bias = (
        torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in ((classes, len(size)), classes)
    )
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=max_iterations, max_eval=2 * max_iterations, tolerance_grad=TOLERANCE,
        tolerance_change=0, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def objective() -> Tensor:
        solver.zero_grad()
        logits = coordinates @ weight.T + bias / level
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum") + (penalty * weight.square()).sum() / 2
        loss.backward()
        return loss

    solver.step(objective)
    objective()
    assert weight.grad is not None
    assert bias.grad is not None
    left = max(float(weight.grad.abs().max()), float(bias.grad.abs().max()))
    with torch.no_grad():
        found = (weight / curvature) @ axes * scale
        return Fitted(found, bias / level - found @ middle, left <= TOLERANCE)


def _scale(train: Float[Tensor, "m d"]) -> Tensor:
    """What brings the features to a mean length of the root of their number."""
    return 1 / train.norm(dim=1).mean().clamp_min(1e-12) * train.shape[1] ** 0.5
