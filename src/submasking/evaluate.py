"""Evaluation: top-1 of a head, weighted nearest neighbours, logistic regression on frozen features."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from submasking.data import ImageSet
from submasking.train import as_float

Normalise = Callable[[Float[Tensor, "n c h w"]], Float[Tensor, "n c h w"]]


@torch.inference_mode()
def features(
    trunk: nn.Module, images: ImageSet, normalise: Normalise, *, batch_size: int = 256, device: str = "cpu"
) -> Float[Tensor, "n d"]:
    """Features of unaugmented images, the network in eval mode; its training mode is put back."""
    training = trunk.training
    trunk.eval()
    batches = images.images.split(batch_size)
    result = torch.cat([trunk(normalise(as_float(batch.to(device)))).float().cpu() for batch in batches])
    trunk.train(training)
    return result.clone()


def top1(logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> float:
    """Share of images whose highest logit is their label's."""
    return (logits.argmax(1) == labels).float().mean().item()


def nearest_neighbours(
    bank: Float[Tensor, "m d"],
    bank_labels: Int[Tensor, " m"],
    queries: Float[Tensor, "n d"],
    *,
    k: int = 200,
    temperature: float = 0.1,
) -> Int[Tensor, " n"]:
    """Class of each query by its k nearest neighbours, each voting exp(cosine / temperature).

    k is lowered to the size of the bank where that is smaller. Wu et al. 2018, arXiv:1805.01978.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if len(bank) != len(bank_labels):
        raise ValueError(f"bank and bank_labels must have one length, got {len(bank)} and {len(bank_labels)}")
    cosine = nn.functional.normalize(queries, dim=1) @ nn.functional.normalize(bank, dim=1).T  # (n, m)
    similarity, index = cosine.topk(min(k, len(bank)), dim=1)  # (n, k)
    votes = torch.zeros(len(queries), int(bank_labels.max()) + 1)
    votes.scatter_add_(1, bank_labels[index], (similarity / temperature).exp())
    return votes.argmax(1)


def knn(
    bank: Float[Tensor, "m d"],
    bank_labels: Int[Tensor, " m"],
    queries: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    *,
    k: int = 200,
) -> float:
    """Accuracy of `nearest_neighbours`, a share in [0, 1]."""
    return (nearest_neighbours(bank, bank_labels, queries, k=k) == labels).float().mean().item()


def linear_probe(
    train: Float[Tensor, "m d"],
    train_labels: Int[Tensor, " m"],
    test: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    *,
    decay: float = 0.01,
    max_iterations: int = 1000,
) -> tuple[float, bool]:
    """Accuracy of multinomial logistic regression on frozen features, and whether its solver converged.

    Minimises mean cross-entropy + (decay / m) / 2 * |W|^2, that is scikit-learn's C = 1 / decay. Features are
    scaled by one number, the inverse of their mean length, so that decay means the same for every backbone.
    """
    scale = 1 / train.norm(dim=1).mean().clamp_min(1e-12) * train.shape[1] ** 0.5
    model = LogisticRegression(C=1 / decay, max_iter=max_iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # few labels: nearly as many classes as images is no mistake here
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit((train * scale).numpy(), train_labels.numpy())
    predicted = torch.from_numpy(model.predict((test * scale).numpy()))
    return (predicted == labels).float().mean().item(), bool(model.n_iter_.max() < max_iterations)


def label_subset(n: int, percent: float, *, seed: int = 42) -> Int[Tensor, " k"]:
    """Indices of the labelled images: first int(n * percent / 100) of a seeded permutation, not stratified.

    Raises:
        ValueError: percent outside (0, 100], or so small that no image is left.
    """
    if not 0 < percent <= 100:
        raise ValueError(f"percent of labels must lie in (0, 100], got {percent}")
    count = int(n * percent / 100)
    if count == 0:
        raise ValueError(f"{percent} % of {n} images is less than one image; raise the percentage")
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:count]


def differing(first: dict[str, Bool[Tensor, "..."]], second: dict[str, Bool[Tensor, "..."]]) -> float:
    """Share of mask bits in which two sets of masks over the same tensors differ."""
    if first.keys() != second.keys():
        raise ValueError(f"masks must cover the same tensors; only one has {sorted(first.keys() ^ second.keys())}")
    different = sum(int((first[name] != second[name]).sum()) for name in first)
    return different / sum(mask.numel() for mask in first.values())
