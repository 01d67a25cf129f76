"""Numbers beside the masks, rounded in the model itself: what is saved then is still the model, and smaller."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

import torch
from jaxtyping import Float
from torch import Tensor, nn

from submasking.masking.handle import Masking
from submasking.masking.whole import require_handle, require_whole
from submasking.tasks.taskfile import own_state

MOST = 20  # bits: float32 has 24, and more than it has cannot be asked for
BUFFERS = 4  # bits more for buffers: they are few, and what they move is moved in every layer after them


@dataclass(frozen=True)
class Rounding:
    """How far `round_off` has moved numbers at most.

    Attributes:
        bits: with how many it has rounded.
        weight: any weight of the head.
        bias: any bias of the head.
        trained: any parameter of the model that is trained beside the masks.
        buffers: any norm buffer, relative to itself.
    """

    bits: int
    weight: float
    bias: float
    trained: float
    buffers: float

    def bound(self, features: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """How far the head's rounding moves the logits of features at most: ``|features|_1 * weight + bias``.

        It is the exact bound of a linear head; what norm buffers move, they move in the features.
        """
        return features.abs().sum(1) * self.weight + self.bias


@torch.no_grad()
def round_off(
    masking: Masking, head: nn.Module | None = None, *, bits: int = 10, keep: Callable[[], Tensor] | None = None
) -> Rounding:
    """Round what a task holds beside its masks, in place, so that its file is smaller.

    Parameters, of the head and those that are trained beside the masks, become multiples of a power of two: each
    tensor's root mean square, rounded down to one, over 2 ** bits. Buffers that follow the task, such as norm
    statistics, keep bits + 4 binary digits each. Nothing else of the model is touched.

    Args:
        masking: the handle of the masked model.
        head: the classifier on the features that is saved with it; a `CosineHead` has nothing to round.
        bits: from 1 to 20.
        keep: gives what rounding must not change, such as the classes of some images: ``lambda:
            head(model(images)).argmax(1)``. Where it would, more bits are taken, as few as will do.

    Returns:
        How far numbers have moved; measure the model again where it matters.

    Raises:
        ValueError: bits is out of range, the model is not what its masks say (`submasking.masking.whole`), or no number
            of bits keeps what must be kept; nothing is changed then.
    """
    if isinstance(bits, bool) or not isinstance(bits, Integral) or not 1 <= (bits := int(bits)) <= MOST:
        raise ValueError(f"bits must be a whole number from 1 to {MOST}; got {bits!r}; 10 suits most tasks")
    require_handle(masking)
    require_whole(masking)
    if keep is None:
        return _rounded(masking, head, bits)
    held = [*own_state(masking).values(), *(() if head is None else head.parameters())]
    before, wanted = [value.clone() for value in held], keep()
    if not isinstance(wanted, Tensor):
        raise ValueError(f"keep must give a tensor; got {type(wanted).__name__}; such as head(model(images)).argmax(1)")
    for more in range(bits, MOST + 1):
        kept = False
        try:
            done = _rounded(masking, head, more)
            kept = torch.equal(keep(), wanted)
        finally:  # also where keep was interrupted
            if not kept:
                for value, old in zip(held, before, strict=True):
                    value.copy_(old)
        if kept:
            return done
    raise ValueError(
        f"rounding must not change what keep gives; with {MOST} bits it still does; let it give classes, not logits,"
        " and in eval mode"
    )


def _rounded(masking: Masking, head: nn.Module | None, bits: int) -> Rounding:
    parameters, trained, buffers = dict(masking.model.named_parameters()), [0.0], [0.0]
    for name, value in own_state(masking).items():
        if name in parameters:
            trained.append(to_multiples(value, bits))
        elif value.is_floating_point():
            buffers.append(to_digits(value, bits + BUFFERS))
    held = {} if head is None else dict(head.named_parameters())
    of_head = {name: to_multiples(value, bits) for name, value in held.items()}
    return Rounding(bits, of_head.get("weight", 0.0), of_head.get("bias", 0.0), max(trained), max(buffers))


def to_multiples(value: Tensor, bits: int) -> float:
    """Round to multiples of a power of two; how far any number has moved."""
    exact = value.detach().cpu().double()
    size = float(exact.square().mean().sqrt()) if exact.numel() else 0.0
    if size == 0 or not math.isfinite(size):
        return 0.0
    step = math.ldexp(1.0, math.frexp(size)[1] - 1 - bits)
    value.copy_((exact / step).round() * step + 0.0)  # no -0
    return float((value.detach().cpu().double() - exact).abs().max())


def to_digits(value: Tensor, digits: int) -> float:
    """Round to so many binary digits; how far any number has moved, relative to itself."""
    exact = value.detach().cpu().double()
    mantissa, exponent = torch.frexp(exact)
    rounded = torch.ldexp(torch.ldexp(mantissa, torch.tensor(digits)).round(), exponent - digits)
    value.copy_(torch.where(rounded.to(value.dtype).isfinite(), rounded, exact))
    moved = ((value.detach().cpu().double() - exact) / exact).abs().nan_to_num(0.0)  # 0 / 0, and what is not finite
    return float(moved.max()) if moved.numel() else 0.0
