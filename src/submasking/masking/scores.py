"""The values that scores start from (draft, section 3.1; protocol, "topk%")."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Init: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]


def generator(seed: int, name: str) -> torch.Generator:
    """Return a random source that depends on the seed and the parameter's name, not on what else is masked."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def constant(value: float = 1.0) -> Init:
    """Start every score from one value: the paper's S0.

    Args:
        value: any finite number; above the threshold, or every weight starts off.

    Raises:
        ValueError: if it is not finite.
    """
    if not math.isfinite(value):
        raise ValueError(f"the initial score must be a finite number; got {value}; the paper uses 1")
    return lambda frozen, random: torch.tensor(float(value)).expand(frozen.shape)


def normal(frozen: Float[Tensor, "*shape"], random: torch.Generator) -> Float[Tensor, "*shape"]:
    """Draw scores from the standard normal distribution.

    Args:
        frozen: the weights; their shape counts.
        random: the source of randomness.
    """
    return torch.randn(frozen.shape, generator=random)


def kaiming(frozen: Float[Tensor, "*shape"], random: torch.Generator) -> Float[Tensor, "*shape"]:
    """Draw scores uniformly from +-1 / sqrt(fan in): Kaiming's rule with slope sqrt(5), as for top-k masks.

    Args:
        frozen: the weights; their shape counts, the fan in is that of one output (the first dimension).
        random: the source of randomness.
    """
    fan_in = max(frozen[0].numel() if frozen.dim() > 1 else frozen.numel(), 1)
    return (torch.rand(frozen.shape, generator=random) * 2 - 1) / math.sqrt(fan_in)


def magnitude(frozen: Float[Tensor, "*shape"], random: torch.Generator) -> Float[Tensor, "*shape"]:
    """Start from the size of the frozen weight, relative to the mean size in its tensor.

    Args:
        frozen: the weights, finite.
        random: unused; every init takes one.

    Returns:
        Scores of mean 1, at least 0, in float32.
    """
    size = frozen.detach().to("cpu", torch.float32).abs()
    return size / size.mean().clamp_min(torch.finfo(torch.float32).tiny)


@dataclass(frozen=True, repr=False)
class _Power:
    exponent: float

    def __repr__(self) -> str:
        return f"power({self.exponent:g})"

    def __call__(self, frozen: Tensor, random: torch.Generator) -> Tensor:
        size = frozen.detach().to(torch.promote_types(frozen.dtype, torch.float32)).abs()
        scores = size.pow(self.exponent)
        if bool(scores.isposinf().any()):  # plus infinity has a meaning of its own, see below
            raise ValueError(
                f"a power of the weights must be finite in {scores.dtype}; {self!r} of {float(size.max()):g} is not;"
                " are the weights finite?"
            )
        # too small to matter: always on and not counted, like a weight outside a partial mask. Started at 0 it would be
        # off, and a pruned network's own zeros would pass for weights that the task has switched off.
        return scores.masked_fill_(scores < torch.finfo(scores.dtype).tiny, math.inf)


def power(exponent: float) -> Init:
    """Start from a power of the size of each frozen weight, not normalised.

    0 is the paper's start, 1, from which the largest weights go first; larger exponents shield larger weights. From 2,
    "squared", a mask trained by SGD keeps a weight exactly while the weight that plain SGD would make of it has its
    sign (book, appendix of proofs): the learning rate of the scores is then one of fine-tuning. Fits a threshold of 0.
    A weight whose power underflows (a zero; with 2 in float32 one below 1e-19) is left out of the mask: it stays on
    and does not count.

    Args:
        exponent: any finite number from 0.

    Raises:
        ValueError: if it is out of range; when called, if a weight's power overflows.
    """
    if not isinstance(exponent, Real) or not 0.0 <= exponent < math.inf:
        raise ValueError(f"the exponent of a start must be a finite number from 0; got {exponent!r}; 2 is 'squared'")
    return _Power(float(exponent))


INITS: dict[str, Init] = {
    "constant": constant(),
    "normal": normal,
    "kaiming": kaiming,
    "magnitude": magnitude,
    "squared": power(2),
}


def described(init: str | float | Init) -> str:
    """Return the name of an init, as a mask file keeps it: "squared", "2.5", "power(1.5)", a function's name."""
    return str(init) if isinstance(init, (str, int, float)) else str(getattr(init, "__qualname__", init))


def require_above(threshold: float, init: Any) -> None:
    """Raise ``ValueError`` for a start that does not fit this threshold.

    Args:
        threshold: mu, see `submasking.masking.criteria.Threshold`.
        init: see `initial`.
    """
    start = 1.0 if init == "constant" else init
    if isinstance(start, (int, float)) and start <= threshold:
        raise ValueError(
            f"a constant initial score must lie above the threshold, else every weight is off; got S0 = {start} and"
            f" mu = {threshold}; S0 = mu + 1 is the paper's distance"
        )
    if threshold and isinstance(INITS.get(init) if isinstance(init, str) else init, _Power):
        raise ValueError(
            f"a start from a power of the weights must have the threshold 0; got {init!r} and mu = {threshold};"
            " use Threshold(): only the distance to the threshold counts"
        )


def initial(init: str | float | Init, frozen: Float[Tensor, "*shape"], seed: int, name: str) -> Float[Tensor, "*shape"]:
    """Return the first scores of one tensor, in float32 (float64 for a float64 tensor) and in its memory format.

    Args:
        init: "constant", "normal", "kaiming", "magnitude", "squared", a number (S0), or a callable
            (frozen, generator) -> scores.
        frozen: the weights the scores are for.
        seed: seed of the random ones.
        name: name of the parameter; each has its own random stream.

    Raises:
        ValueError: for an unknown init, or one that gives another shape or NaN.
    """
    if not callable(init) and not isinstance(init, (int, float)) and init not in tuple(INITS):
        raise ValueError(f"init must be one of {', '.join(INITS)}, a number or a callable; got {init!r}")
    make = INITS[init] if isinstance(init, str) else constant(init) if isinstance(init, (int, float)) else init
    values = make(frozen, generator(seed, name))
    if values.shape != frozen.shape or (values.numel() and bool(values.amin().isnan())):  # of any NaN, amin is NaN
        raise ValueError(
            f"initial scores must be numbers, one for each weight; for {name!r} of shape {tuple(frozen.shape)} {init!r}"
            f" gave shape {tuple(values.shape)}, {int(values.isnan().sum())} of them NaN; are the weights finite?"
        )
    scores = torch.empty_like(frozen, dtype=torch.promote_types(frozen.dtype, torch.float32))
    return scores.copy_(values)
