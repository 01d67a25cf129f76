"""The linear probe: logistic regression on features that nobody changes."""

from __future__ import annotations

import warnings

import torch
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor


def linear_probe(
    train: Float[Tensor, "m d"],
    train_labels: Int[Tensor, " m"],
    test: Float[Tensor, "n d"],
    *,
    decay: float = 0.01,
    max_iterations: int = 1000,
    exact: bool = False,
) -> tuple[Int[Tensor, " n"], bool]:
    """Class of each test image by multinomial logistic regression on frozen features, and whether its solver converged.

    Minimises mean cross-entropy + (decay / m) / 2 * |W|^2, that is scikit-learn's C = 1 / decay. Features are
    scaled by one number, the inverse of their mean length, so that decay means the same for every backbone.

    The usual solver, L-BFGS in the features' own precision, stops where a step gains little: with a small decay and
    many classes that is well before the minimum, and where depends on rounding. If `exact`, Newton's method with
    conjugate gradients in double precision goes on to the minimum.
    """
    scale = 1 / train.norm(dim=1).mean().clamp_min(1e-12) * train.shape[1] ** 0.5
    solver = {"solver": "newton-cg", "tol": 1e-6} if exact else {}
    model = LogisticRegression(C=1 / decay, max_iter=max_iterations, **solver)
    train, test = (each.double() if exact else each for each in (train * scale, test * scale))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # few labels: nearly as many classes as images is no mistake here
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit(train.numpy(), train_labels.numpy())
    predicted = torch.from_numpy(model.predict(test.numpy()))
    return predicted, bool(model.n_iter_.max() < max_iterations)
