"""Evaluation: features, weighted nearest neighbours, and the share of images that are given their class."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from submasking.learning.batches import as_float
from submasking.learning.images import ImageSet

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


def accuracy(classes: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> float:
    """Share of images that are given their label, in [0, 1].

    Raises:
        ValueError: there is no image, or not one class for each label.
    """
    if classes.shape != labels.shape or not len(labels):
        raise ValueError(
            f"there must be a class for each label and one at least, got {len(classes)} and {len(labels)}; pass those"
            " of the same images"
        )
    return int((classes == labels).sum()) / len(labels)


def top1(logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> float:
    """Share of images whose highest logit is their label's."""
    return accuracy(logits.argmax(1), labels)


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
        raise ValueError(f"k must be at least 1, got {k}; 20 is usual")
    if len(bank) != len(bank_labels):
        raise ValueError(
            f"bank and bank_labels must have one length, got {len(bank)} and {len(bank_labels)}; pass those of the same"
            " images"
        )
    cosine = nn.functional.normalize(queries, dim=1) @ nn.functional.normalize(bank, dim=1).T  # (n, m)
    similarity, index = cosine.topk(min(k, len(bank)), dim=1)  # (n, k)
    votes = torch.zeros(len(queries), int(bank_labels.max()) + 1)
    votes.scatter_add_(1, bank_labels[index], (similarity / temperature).exp())
    return votes.argmax(1)


def label_subset(
    labels: Int[Tensor, " n"], percent: float, *, seed: int = 42, by_class: bool = True
) -> Int[Tensor, " k"]:
    """Indices of the labelled images: int(n * percent / 100), each class in its share of them, to one image.

    A class that would get less than one image may get none. A smaller subset lies within a larger one of its seed.
    Without `by_class` all images alike are drawn from, so that a class may get more or less, as in the paper's code.

    Raises:
        ValueError: percent outside (0, 100], or so small that no image is left.
    """
    n = len(labels)
    if not 0 < percent <= 100:
        raise ValueError(f"percent of labels must lie in (0, 100], got {percent}; 100 takes all")
    count = int(n * percent / 100)
    if count == 0:
        raise ValueError(f"{percent} % of {n} images is less than one image; raise the percentage")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(n, generator=generator)
    if not by_class:
        return order[:count]
    shuffled = labels[order]
    place = torch.zeros(n, dtype=torch.float64)  # of an image in the row of its class, in (0, 1)
    for chosen in shuffled.unique():
        members = (shuffled == chosen).nonzero().flatten()
        begin = torch.rand((), generator=generator, dtype=torch.float64)
        place[members] = (torch.arange(len(members)) + begin) / len(members)
    return order[place.argsort(stable=True)[:count]]


def differing(first: dict[str, Bool[Tensor, "..."]], second: dict[str, Bool[Tensor, "..."]]) -> float:
    """Share of mask bits in which two sets of masks over the same tensors differ."""
    if first.keys() != second.keys():
        odd = sorted(first.keys() ^ second.keys())
        raise ValueError(
            f"masks must cover the same tensors; {odd[0]!r} and {len(odd) - 1} more are in one only; compare masks of"
            " one selection"
        )
    different = sum(int((first[name] != second[name]).sum()) for name in first)
    return different / sum(mask.numel() for mask in first.values())
