"""SwAV: learn without labels by swapping cluster assignments between views (Caron et al. 2020, arXiv:2006.09882)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def sinkhorn(scores: Float[Tensor, "n k"], epsilon: float = 0.05, iterations: int = 3) -> Float[Tensor, "n k"]:
    """Soft assignment of n samples to k prototypes that uses all prototypes alike (eq. 3-5 of the paper).

    Works on logarithms, so that scores of any size neither overflow nor vanish.

    Args:
        scores: similarity of each sample to each prototype.
        epsilon: entropy weight, > 0; smaller is closer to hard clusters.
        iterations: alternations of normalising prototypes and samples, >= 1.

    Returns:
        Non-negative weights; each row sums to 1, each column to about n / k (exactly so as iterations grow).

    Raises:
        ValueError: for an epsilon or a number of iterations out of range, or scores that are no matrix.
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon must be > 0, got {epsilon}; the paper uses 0.05")
    if iterations < 1:
        raise ValueError(f"iterations must be >= 1, got {iterations}; the paper uses 3")
    if scores.ndim != 2 or 0 in scores.shape:
        raise ValueError(f"scores must be a matrix [samples, prototypes], got {tuple(scores.shape)}; flatten the rest")
    logarithm = scores.detach().float() / epsilon
    for _ in range(iterations):
        logarithm = logarithm - logarithm.logsumexp(0, keepdim=True)
        logarithm = logarithm - logarithm.logsumexp(1, keepdim=True)
    return logarithm.exp()


def forward_crops(
    network: Callable[[Tensor], Tensor], crops: Sequence[Float[Tensor, "n 3 _ _"]]
) -> list[Float[Tensor, "n width"]]:
    """Features of every crop; crops of one size pass through the network together, as the batch norms expect."""
    features: list[Tensor] = []
    start = 0
    while start < len(crops):
        stop = start + 1
        while stop < len(crops) and crops[stop].shape == crops[start].shape:
            stop += 1
        features += network(torch.cat(list(crops[start:stop]))).chunk(stop - start)
        start = stop
    return features


class SwavHead(nn.Module):
    """Linear projection to the unit sphere, and the prototypes on it.

    Args:
        width: length of the trunk's features.
        dimensions: length of a projection.
        prototypes: number of clusters.
    """

    def __init__(self, width: int, dimensions: int = 128, prototypes: int = 500) -> None:
        super().__init__()
        for name, value in (("width", width), ("dimensions", dimensions), ("prototypes", prototypes)):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}; leave it out for the usual one")
        self.projection = nn.Linear(width, dimensions)
        self.prototypes = nn.Linear(dimensions, prototypes, bias=False)
        self.normalise_prototypes()

    @torch.no_grad()
    def normalise_prototypes(self) -> None:
        """Put every prototype back on the unit sphere; an optimiser step moves it off."""
        self.prototypes.weight.copy_(functional.normalize(self.prototypes.weight, dim=1))

    def forward(self, features: Float[Tensor, "n width"]) -> Float[Tensor, "n dimensions"]:
        return functional.normalize(self.projection(features), dim=1)


class SwavLoss(nn.Module):
    """Predict the clusters of each large view from every other view (eq. 2 and section 3.2).

    Only training batches enter the queue and count as steps: in eval mode the loss leaves its state alone.

    Args:
        head: projection and prototypes; trained with the trunk.
        temperature: of the predictions, > 0.
        epsilon: of the assignments, see `sinkhorn`.
        iterations: see `sinkhorn`.
        large: number of large views; these come first and give the assignments.
        queue: projections of past batches that share in the assignment; 0 for none.
        queue_from: step from which the full queue is used.
        freeze_prototypes: number of first steps in which prototypes do not move.

    Raises:
        ValueError: where a number is out of range.
    """

    def __init__(
        self,
        head: SwavHead,
        *,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        large: int = 2,
        queue: int = 512,
        queue_from: int = 0,
        freeze_prototypes: int = 0,
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be > 0, got {temperature}; the paper uses 0.1")
        for name, value, least in (
            ("large", large, 1),
            ("queue", queue, 0),
            ("queue_from", queue_from, 0),
            ("freeze_prototypes", freeze_prototypes, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be >= {least}, got {value}; leave it out for the usual one")
        self.head, self.temperature, self.epsilon, self.iterations = head, temperature, epsilon, iterations
        self.large, self.queue_from, self.freeze_prototypes = large, queue_from, freeze_prototypes
        self.queue: Tensor
        self.register_buffer("queue", torch.zeros(large, queue, head.projection.out_features))
        self.filled: Tensor
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, features: Sequence[Float[Tensor, "n width"]]) -> Float[Tensor, ""]:
        """Loss of one batch.

        Args:
            features: the trunk's features of each view, large views first, all with the same images.
        """
        self._check(features)
        if self.training:
            self.head.normalise_prototypes()
        weight = self.head.prototypes.weight
        if self.training and self.steps < self.freeze_prototypes:
            weight = weight.detach()
        projections = self.head(torch.cat(list(features))).chunk(len(features))
        scores = [projection @ weight.T for projection in projections]  # (n, prototypes) each
        targets = [self._assign(view, scores[view], weight) for view in range(self.large)]
        if self.training:
            self._remember(projections[: self.large])
        return self._swapped(scores, targets)

    def _assign(self, view: int, scores: Tensor, weight: Tensor) -> Tensor:
        """Cluster weights of one large view's images; past projections join the balancing once queued."""
        full = self.queue.shape[1] > 0 and self.filled >= self.queue.shape[1]
        if not (self.training and full and self.steps >= self.queue_from):
            return sinkhorn(scores, self.epsilon, self.iterations)
        past = self.queue[view] @ weight.detach().T
        together = torch.cat([past, scores.detach()])
        return sinkhorn(together, self.epsilon, self.iterations)[len(past) :]

    def _swapped(self, scores: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """Mean cross-entropy between each assignment and the predictions of all other views."""
        predictions = [functional.log_softmax(score / self.temperature, dim=1) for score in scores]
        losses = [
            -(target * prediction).sum(1).mean()
            for view, target in enumerate(targets)
            for other, prediction in enumerate(predictions)
            if other != view
        ]
        return torch.stack(losses).mean()

    @torch.no_grad()
    def _remember(self, projections: Sequence[Tensor]) -> None:
        """Count the step; put the newest projections at the front of the queue, drop the oldest."""
        self.steps += 1
        length = self.queue.shape[1]
        newest = torch.stack([projection.detach() for projection in projections])
        self.queue.copy_(torch.cat([newest, self.queue], dim=1)[:, :length])
        self.filled.add_(newest.shape[1]).clamp_(max=length)

    def _check(self, features: Sequence[Tensor]) -> None:
        if len(features) < max(2, self.large):
            raise ValueError(
                f"features must hold at least {max(2, self.large)} views ({self.large} of them large), got "
                f"{len(features)}; ask `augment.views` for more sizes"
            )
        shapes = {tuple(feature.shape) for feature in features}
        if len(shapes) != 1:
            raise ValueError(
                f"all views must show the same images: one shape [n, width], got {sorted(shapes)}; cut them from one"
                " batch"
            )
        if self.queue.shape[1] and len(features[0]) > self.queue.shape[1]:
            raise ValueError(
                f"the queue must hold at least one batch ({len(features[0])} images), got queue="
                f"{self.queue.shape[1]}; make it a few batches long, or 0 to do without"
            )
