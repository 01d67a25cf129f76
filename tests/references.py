"""Literal, slow implementations that the library is tested against: equations as printed, nothing clever."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from submasking.masking.criteria import Threshold, TopK


def literal_mask(scores: Tensor, criterion: Threshold | TopK) -> Tensor:
    """Draft, equation 2, weight by weight; or the first k of a full, stable sort."""
    if isinstance(criterion, Threshold):
        flags = [score > criterion.mu for score in scores.flatten().tolist()]
        return torch.tensor(flags, dtype=torch.bool).view(scores.shape)
    values = scores.flatten().tolist()
    fixed = sum(value == float("inf") for value in values)
    maskable = len(values) - fixed
    kept = min(max(round(criterion.density * maskable), 1), maskable) + fixed
    order = sorted(range(len(values)), key=lambda index: (-values[index], index))
    mask = torch.zeros(len(values), dtype=torch.bool)
    mask[order[:kept]] = True
    return mask.view(scores.shape)


class PassThrough(torch.autograd.Function):
    """Draft, equation 5: the gradient of the mask is that of the score."""

    @staticmethod
    def forward(ctx, scores: Tensor, find: Callable[[Tensor], Tensor]) -> Tensor:
        return find(scores).to(scores.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def literal_weight(frozen: Tensor, mask: Tensor, rescale: str) -> Tensor:
    """theta * M, over sqrt(mean(M)); autograd differentiates it. M holds floats here."""
    if rescale == "none":
        return frozen * mask
    share = mask.mean() if mask.any() else torch.tensor(1 / mask.numel())
    return frozen * mask / share.sqrt()


class MaskedInForward(nn.Module):
    """A parametrization that computes the masked weight at every forward."""

    def __init__(self, frozen: Tensor, find: Callable[[Tensor], Tensor], rescale: str) -> None:
        super().__init__()
        self.register_buffer("frozen", frozen.detach().clone())
        self.find, self.rescale = find, rescale

    def forward(self, scores: Tensor) -> Tensor:
        return literal_weight(self.frozen, PassThrough.apply(scores, self.find), self.rescale)


def mask_in_forward(
    model: nn.Module, names: Iterable[str], find: Callable[[Tensor], Tensor], rescale: str = "none", start: float = 1.0
) -> dict[str, nn.Parameter]:
    """Mask as the papers' codes do, a score parameter and a masked weight made in each forward; return the scores."""
    names = list(names)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    scores = {}
    for name in names:
        path, _, attribute = name.rpartition(".")
        owner = model.get_submodule(path)
        frozen = getattr(owner, attribute).detach().clone()
        masked = MaskedInForward(frozen, find, rescale)
        nn.utils.parametrize.register_parametrization(owner, attribute, masked, unsafe=True)
        score = owner.parametrizations[attribute].original
        score.requires_grad_(True)
        score.data.fill_(start)
        scores[name] = score
    return scores
