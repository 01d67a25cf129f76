"""How far a set of images is from another, as a network sees both: Fréchet's distance of their features.

Heusel et al. 2017 (arXiv 1706.08500) take it between Gaussians that have the means and covariances of the features.
Here it is told in units of the first set's own spread, so that a network with large features is not far from all.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray


def frechet(source: Float[np.ndarray, "n d"], other: Float[np.ndarray, "m d"]) -> float:
    """Squared Fréchet distance of two sets of features over the variance of the first; 0 for the same set.

    Raises:
        ValueError: fewer than two images in a set, features of other widths, or a source whose features are all alike.
    """
    if min(len(source), len(other)) < 2 or source.shape[1] != other.shape[1]:
        raise ValueError(
            f"features must be of two images at least and of one width, got {source.shape} and {other.shape}; measure"
            " both sets with one network"
        )
    spread = np.cov(source.astype(float), rowvar=False), np.cov(other.astype(float), rowvar=False)
    total = float(np.trace(spread[0]))
    if total <= 0:
        raise ValueError("the source's features must differ between images, they have no variance; take other images")
    root = _root(spread[0])
    common = _root(root @ spread[1] @ root)
    means = float(((source.mean(0, dtype=float) - other.mean(0, dtype=float)) ** 2).sum())
    return max(means + float(np.trace(spread[0] + spread[1] - 2 * common)), 0.0) / total


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square root of a symmetric matrix without negative eigenvalues, but for rounding."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
