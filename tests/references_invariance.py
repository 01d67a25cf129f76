"""A small masked network in any exact kind of number, written out by hand: what the invariance theorems speak of."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from submasking.experiments.invariance.rules import root


@dataclass(frozen=True)
class Network:
    """head . relu(W2 relu(W1 x)) with squared error; W1 and W2 are frozen and masked, the head is trained by SGD.

    An instance is the gradient of a run: it maps the masks so far to dL/dM at the last of them, and finds the head
    of that step from the masks alone, as lemma "lem-history" says it can.
    """

    first: np.ndarray  # (h, p)
    second: np.ndarray  # (q, h)
    head: np.ndarray  # (q,)
    batches: tuple[tuple[np.ndarray, np.ndarray], ...]  # per step: images (n, p), targets (n,)
    head_lr: Fraction
    rescale: bool

    @property
    def size(self):
        return self.first.size + self.second.size

    def __call__(self, masks):
        head = self.head
        for mask, batch in zip(masks, self.batches, strict=False):
            gradient, head_gradient = self.gradients(mask, head, batch)
            head = head - self.head_lr * head_gradient
        return gradient

    def gradients(self, mask, head, batch):
        images, targets = batch
        parts = np.split(mask.astype(int), [self.first.size])
        (w1, a1), (w2, a2) = (self.effective(*pair) for pair in zip((self.first, self.second), parts, strict=True))
        hidden = images @ w1.T  # (n, h)
        positive = np.where(hidden > 0, hidden, 0)
        features = positive @ w2.T  # (n, q)
        kept = np.where(features > 0, features, 0)
        error = kept @ head - targets  # (n,)
        back = np.where(features > 0, np.outer(error, head), 0)  # (n, q)
        g2 = back.T @ positive  # (q, h)
        g1 = np.where(hidden > 0, back @ w2, 0).T @ images  # (h, p)
        through = [
            self.pass_through(*found) for found in ((g1, self.first, parts[0], a1), (g2, self.second, parts[1], a2))
        ]
        return np.concatenate(through), error @ kept

    def effective(self, frozen, mask):
        kept = frozen * mask.reshape(frozen.shape)
        alpha = root(Fraction(max(int(mask.sum()), 1), mask.size)) if self.rescale else Fraction(1)
        return kept / alpha, alpha

    def pass_through(self, gradient, frozen, mask, alpha):
        product = (gradient * frozen).ravel()
        if not self.rescale:
            return product
        return product / alpha - (product * mask).sum() / (2 * mask.size * alpha**3)
