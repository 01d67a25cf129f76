"""From scores to a mask, from a mask to the effective weight, and back to the gradient of the mask.

Draft, section 3.1, equations 1, 2 and 5; the rescaling is that of arXiv 2409.07577, section 3.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

Criterion: TypeAlias = Callable[[Tensor], Tensor]
RESCALES = ("none", "variance")
_MANY, _SAMPLE = 65_536, 16_384
_EXACT = 2**24  # up to there float32 counts
_OF_NUMPY = (torch.bool, torch.float32, torch.float64)


@dataclass(frozen=True)
class Threshold:
    """A weight is on while its score is above ``mu`` (draft, equation 2); a score equal to ``mu`` is off.

    Args:
        mu: the threshold, any finite number.
    """

    mu: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.mu, Real) or not math.isfinite(self.mu):
            raise ValueError(f"the threshold mu must be a finite number; got {self.mu!r}; the paper uses 0")

    def __call__(self, scores: Float[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
        """Return the mask of these scores."""
        return torch.as_tensor(plain(scores) > self.mu)

    def above(self, scores: Float[Tensor, "*shape"]) -> tuple[float, Any]:
        """Return mu, the number that the scores of all that is on are above; there are no others."""
        return self.mu, ()


@dataclass(frozen=True)
class TopK:
    """The weights with the largest scores of each tensor are on.

    Exactly ``round(density * n)`` of the ``n`` maskable weights of a tensor stay on, at least one. Among equal
    scores those that come first in row-major order win. Scores of plus infinity mark weights outside a partial
    mask: they are always on and do not count.

    Args:
        density: share of the maskable weights that stay on, in (0, 1].
    """

    density: float

    def __post_init__(self) -> None:
        if not isinstance(self.density, Real) or not 0.0 < self.density <= 1.0:
            raise ValueError(f"density must be in (0, 1]; got {self.density!r}; 0.5 keeps half of the weights")

    def kept(self, maskable: int) -> int:
        """Return how many of this many maskable weights, at least 0, stay on."""
        return min(max(round(self.density * maskable), 1), maskable)

    def __call__(self, scores: Float[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
        """Return the mask of these scores, by selection in linear time: nothing is sorted."""
        cut, surplus = self._cut(scores)
        if cut is None:
            return torch.ones_like(scores, dtype=torch.bool)
        array = plain(scores) >= plain(cut)
        mask = torch.as_tensor(array)
        if surplus and isinstance(array, np.ndarray):
            array[_last(scores, cut, surplus)] = False
        elif surplus:
            ties = (scores == cut).flatten()
            first = ties.cumsum(0) <= ties.count_nonzero() - surplus
            mask &= (~ties | first).view(scores.shape)
        return mask

    def above(self, scores: Float[Tensor, "*shape"]) -> tuple[float, Any] | None:
        """Return a number that the scores of all that is on are above, and the places of others that are.

        None for scores that are not on a CPU, from where the number would have to be fetched, and for the few cases in
        which there is no such number.
        """
        if isinstance(plain(scores), Tensor):
            return None
        cut, surplus = self._cut(scores)
        if cut is None or not cut > -math.inf:
            return None
        below = float(cut.nextafter(cut.new_tensor(-math.inf)))
        if abs(below) < torch.finfo(scores.dtype).tiny:  # which a processor may take for nought
            return None
        return below, _last(scores, cut, surplus) if surplus else ()

    def spread(self, scores: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        """Return `alpha` of the mask of these scores, without the mask."""
        total, fixed = self._counts(scores)
        return _spread(fixed + self.kept(total - fixed), total)

    def _counts(self, scores: Tensor) -> tuple[int, int]:
        """Return how many scores there are, and how many of them are outside a partial mask."""
        array = plain(scores)
        few = isinstance(array, np.ndarray) and array.size and array.max() < math.inf  # faster than a comparison
        return scores.numel(), 0 if few else counted(array == math.inf)

    def _cut(self, scores: Tensor) -> tuple[Tensor | None, int]:
        """Return the smallest score that is still on, None for all; and how many scores that equal it are off."""
        total, fixed = self._counts(scores)
        kept = fixed + self.kept(total - fixed)
        if kept == total:
            return None, 0
        cut, below = kth_smallest(scores.flatten(), total - kept + 1)
        return cut, total - below - kept


def _last(scores: Tensor, cut: Tensor, count: int) -> Any:
    """Return the places, as NumPy has them, of the last of the scores that equal the cut, in row-major order."""
    ties = np.flatnonzero(plain(scores) == plain(cut))
    return np.unravel_index(ties[len(ties) - count :], scores.shape)


def plain(values: Tensor) -> Any:
    """Return the same numbers as an array of NumPy where they are an ordinary tensor on a CPU, else the tensor.

    NumPy compares, counts and multiplies by a mask three to twenty times faster than PyTorch does on a CPU.
    """
    ordinary = type(values) in (Tensor, nn.Parameter) and values.device.type == "cpu" and values.dtype in _OF_NUMPY
    return values.detach().numpy() if ordinary and not torch.compiler.is_compiling() else values


def counted(mask: Any) -> int:
    """Return how many are true, of an array or a tensor."""
    return int(mask.count_nonzero()) if isinstance(mask, Tensor) else int(np.count_nonzero(mask))


def kth_smallest(values: Float[Tensor, " n"], rank: int) -> tuple[Float[Tensor, ""], int]:
    """Return the value of this rank, from 1, and how many are smaller, in linear time.

    A sample brackets it, so that only the few values inside the bracket need to be selected from; where the bracket
    turns out to miss, all are.
    """
    count = values.numel()
    if count >= _MANY:
        every = plain(values)
        sample = every[:: count // _SAMPLE]
        middle, margin = rank / count * len(sample), 2 * math.sqrt(len(sample))
        first, last = int(middle - margin), int(middle + margin)
        ends = [place for place in (first, last) if 0 <= place < len(sample)]
        sample = sample.sort().values if isinstance(sample, Tensor) else np.partition(sample, ends)
        low = sample[first] if first >= 0 else -math.inf
        high = sample[last] if last < len(sample) else math.inf
        under = every < low
        below = counted(under)
        within = under ^ (every <= high)
        inside = every[within] if isinstance(within, Tensor) else every[np.flatnonzero(within)]  # faster than a mask
        if below < rank <= below + len(inside):
            place = rank - below - 1
            if isinstance(inside, Tensor):
                found = torch.kthvalue(inside, place + 1).values
            else:
                found = torch.tensor(np.partition(inside, place)[place], dtype=values.dtype)
            return found, below + counted(inside < plain(found))
    found = torch.kthvalue(values, rank).values
    return found, counted(plain(values) < plain(found))


def alpha(mask: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the square root of the share of weights that are on: the factor by which masking shrinks the spread.

    A tensor that is wholly off counts as having one weight on, so that nothing divides by zero.

    Args:
        mask: true where the weight is on; of one tensor.

    Returns:
        A float32 scalar in (0, 1].
    """
    if isinstance(array := plain(mask), np.ndarray):
        return _spread(counted(array), mask.numel())
    few = mask.numel() < _EXACT  # many times faster than counting
    return _spread(mask.sum(dtype=torch.float32) if few else mask.count_nonzero(), mask.numel())


def spread(scores: Float[Tensor, "*shape"], criterion: Criterion) -> Float[Tensor, ""]:
    """Return `alpha` of the mask of these scores."""
    return criterion.spread(scores) if isinstance(criterion, TopK) else alpha(criterion(scores))


def _spread(on: int | Tensor, total: int) -> Tensor:
    if not isinstance(on, Tensor):
        on = torch.tensor(on, dtype=torch.float32 if total < _EXACT else torch.int64)
    return (on.clamp_min(1) / total).sqrt()


def effective(
    frozen: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], rescale: str = "none"
) -> Float[Tensor, "*shape"]:
    """Return the weight the network computes with: ``frozen * mask``, over alpha if ``rescale`` is "variance".

    Args:
        frozen: the untouched weights theta of one tensor.
        mask: true where the weight is on.
        rescale: "none" or "variance".

    Returns:
        A new tensor of the dtype and memory format of ``frozen``.
    """
    return _effective(frozen, mask, rescale)


def _effective(frozen: Tensor, mask: Tensor, rescale: str, room: Tensor | None = None) -> Tensor:
    """What `effective` returns, written into `room` where NumPy does it: a new tensor takes as long as the product."""
    numbers, chosen = plain(frozen), plain(mask)
    if isinstance(numbers, Tensor) or isinstance(chosen, Tensor) or frozen.requires_grad:
        kept = frozen * mask  # faster than a choice
    else:
        kept = torch.empty_like(frozen) if room is None else room
        with np.errstate(invalid="ignore"):  # infinity times nought, of which PyTorch says nothing either
            np.multiply(numbers, chosen, out=plain(kept))
    kept = kept.add_(0.0)  # -0 becomes 0
    return kept if rescale == "none" else kept.div_(alpha(mask))


def write_effective(
    parameter: Float[Tensor, "*shape"],
    frozen: Float[Tensor, "*shape"],
    scores: Float[Tensor, "*shape"],
    criterion: Criterion,
    rescale: str,
) -> Float[Tensor, ""] | None:
    """Write the effective weight of these scores into the parameter, as `effective` has it.

    Returns:
        What the parameter was divided by; None where it was not, or where that is not known without looking.
    """
    found = None
    if isinstance(criterion, (Threshold, TopK)) and frozen.dtype == scores.dtype == parameter.dtype:
        found = criterion.above(scores)
    if found is not None:
        cut, others = found
        # under a name from elsewhere: frozen where scores > cut, else 0, in one vectorised pass
        torch.ops.aten.threshold_backward.grad_input(frozen, scores, cut, grad_input=parameter)
        if others:
            plain(parameter)[others] = 0.0
        if rescale == "none":
            return None
        parameter.div_(by := spread(scores, criterion))
        return by
    in_place = frozen.dtype == parameter.dtype and isinstance(plain(parameter), np.ndarray)
    kept = _effective(frozen, criterion(scores), rescale, parameter if in_place else None)
    if kept is not parameter:
        parameter.copy_(kept)
    return None


def mask_gradient(
    gradient: Float[Tensor, "*shape"],
    frozen: Float[Tensor, "*shape"],
    mask: Bool[Tensor, "*shape"],
    rescale: str = "none",
) -> Float[Tensor, "*shape"]:
    r"""Return dL/dM, which passes through to the scores unchanged (draft, equation 5).

    With :math:`g` the gradient of the effective weight this is :math:`g_i \theta_i`; with rescaling, where the
    gradient also flows through :math:`\alpha`, it is
    :math:`g_i \theta_i / \alpha - \sum_j g_j \theta_j M_j / (2 N \alpha^3)`.

    Args:
        gradient: g, what backward left for the effective weight.
        frozen: the untouched weights theta.
        mask: true where the weight was on.
        rescale: "none" or "variance".

    Returns:
        dL/dM in float32, or in float64 when the gradient is.
    """
    wide = torch.promote_types(gradient.dtype, torch.float32)
    product = gradient.to(wide) * frozen.to(wide)
    if rescale == "none":
        return product
    spread = alpha(mask)
    through = (product * mask.to(wide)).sum()
    return product.div_(spread).sub_(through / (2 * mask.numel() * spread**3))


def check_rescale(rescale: str) -> None:
    """Raise ``ValueError`` unless this names a way to rescale."""
    if rescale not in RESCALES:
        raise ValueError(f"rescale must be one of {', '.join(RESCALES)}; got {rescale!r}; the draft uses 'none'")
