"""Watch masks while they are learned: sparsity, flips per step, the scores' distribution; find a learning rate.

Reading takes a pass over the scores at one step of ``every``; the steps between cost nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from submasking.masking.criteria import Threshold, mask_gradient
from submasking.masking.handle import Masking
from submasking.masking.in_backward import MaskSGDInBackward
from submasking.masking.optimizer import check_finite, dense_gradient

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_SAMPLE = 4096


@dataclass(frozen=True)
class Reading:
    """What was seen at one step.

    Args:
        step: number of the optimizer's step, from 0.
        sparsity: share of all maskable weights that are off after the step, in [0, 1].
        flip_rate: share of them that this step switched on or off, in [0, 1].
        sparsities: the share that is off, by parameter name.
        quantiles: by parameter name, the scores' quantiles at `QUANTILES`, from an even sample of at most about 8,000.
    """

    step: int
    sparsity: float
    flip_rate: float
    sparsities: dict[str, float]
    quantiles: dict[str, tuple[float, ...]]


class Monitor:
    """Reads masks at every so many steps of an optimizer, `MaskSGD` or an attached one.

    While a step is read, the masks before it are held: one byte per weight; for `MaskSGDInBackward` during its forward
    and backward too.

    Args:
        masking: handle of a masked model.
        optimizer: whose steps are counted; attach it to the masking first.
        every: steps between two readings, at least 1; the first step is read. A reading costs up to 0.45 of a
            short step (ResNet-50 at 32 px, batch 16, two cores), so 50 keeps watching below 1 % of training.
        writer: a TensorBoard ``SummaryWriter``, or anything with its ``add_scalar`` and ``add_histogram``; optional.

    Raises:
        ValueError: if ``every`` is out of range, or the optimizer is not one of these masks; at a step that is read, if
            any gradient is not finite.
    """

    def __init__(
        self, masking: Masking, optimizer: torch.optim.Optimizer, *, every: int = 50, writer: Any = None
    ) -> None:
        if every != int(every) or every < 1:
            raise ValueError(
                f"every must be a whole number of steps, at least 1; got {every}; 50 keeps the cost below 1 % of a step"
            )
        learns = [*masking.scores().values(), *(masking.parameter(target.name) for target in masking.targets)]
        stepped = {id(tensor) for group in optimizer.param_groups for tensor in group["params"]}
        if not any(id(tensor) in stepped for tensor in learns):
            raise ValueError(
                f"a monitor must read the steps of an optimizer of the masks; this {type(optimizer).__name__} holds"
                " neither masked weights nor scores; pass the first of masking.optimizers(...), or an attached one"
            )
        self.masking, self.every, self.writer = masking, every, writer
        self.readings: list[Reading] = []
        self.step = 0
        self._before: dict[str, Tensor] | None = None
        self._in_backward = isinstance(optimizer, MaskSGDInBackward)
        if self._in_backward:
            self._prepare()
        self._hooks = (
            optimizer.register_step_pre_hook(self._prepare),
            optimizer.register_step_post_hook(self._read),
        )

    def postfix(self) -> dict[str, str]:
        """Return the last reading for a progress bar: ``bar.set_postfix(monitor.postfix())``.

        Returns:
            Sparsity and flip rate as text, both shares in [0, 1]; empty before the first reading.
        """
        if not self.readings:
            return {}
        return {"sparsity": f"{self.readings[-1].sparsity:.4f}", "flips": f"{self.readings[-1].flip_rate:.1e}"}

    def close(self) -> None:
        """Stop reading."""
        for hook in self._hooks:
            hook.remove()

    def _prepare(self, *unused: Any) -> None:
        if self.step % self.every == 0 and self._before is None:
            check_finite([(name, self.masking.parameter(name)) for name in self.masking.scores()])
            self._before = self.masking.masks()

    def _read(self, *unused: Any) -> None:
        if self._before is not None:
            flips = off = maskable = 0
            sparsities, quantiles = {}, {}
            for name, scores in self.masking.scores().items():
                mask = self.masking.criterion(scores)
                flips += int((mask != self._before[name]).sum())
                here = scores.numel() - int(torch.isposinf(scores).sum())
                sparsities[name] = (scores.numel() - int(mask.sum())) / max(here, 1)
                off, maskable = off + scores.numel() - int(mask.sum()), maskable + here
                quantiles[name] = tuple(_quantiles(scores))
            total = max(maskable, 1)
            self.readings.append(Reading(self.step, off / total, flips / total, sparsities, quantiles))
            self._before = None
            self._write(self.readings[-1])
        self.step += 1
        if self._in_backward:  # the next step begins before its hook is called
            self._prepare()

    def _write(self, reading: Reading) -> None:
        if self.writer is None:
            return
        self.writer.add_scalar("masks/sparsity", reading.sparsity, reading.step)
        self.writer.add_scalar("masks/flip_rate", reading.flip_rate, reading.step)
        for name, scores in self.masking.scores().items():
            self.writer.add_scalar(f"sparsity/{name}", reading.sparsities[name], reading.step)
            if reading.quantiles[name]:
                self.writer.add_histogram(f"scores/{name}", _sample(scores), reading.step)


def find_lr(
    masking: Masking,
    backward: Callable[[], Any],
    *,
    flip_rate: float = 1e-3,
    steps: int = 10,
    momentum: float = 0.9,
    also: nn.Module | None = None,
) -> float:
    """Find the learning rate at which this share of the weights flips per step, from the masks as they are now.

    The masks rest while ``steps`` gradients are gathered with momentum. At learning rate 1 the scores would have
    moved by D, so weight i flips once the rate passes (S_i - mu) / D_i; the answer is the rate that ``flip_rate *
    steps`` of the weights have passed. Scores, weights, norm statistics and gradients are as before afterwards. The
    weights that would have flipped do not answer back, so it is an estimate, the better the smaller ``flip_rate *
    steps``.

    Args:
        masking: handle of a masked model with a `Threshold`.
        backward: computes a loss on a fresh batch and calls its ``backward()``, of the loss itself: one that a
            ``GradScaler`` has scaled has gradients, and so a rate, that are off by its factor.
        flip_rate: wanted share of the maskable weights per step, positive; ``flip_rate * steps`` is below 1.
        steps: gradients to gather, at least 1.
        momentum: that of the optimizer to come, in [0, 1).
        also: a module outside the model that ``backward`` leaves gradients in, such as a head on its features: they are
            put back, too, where else they would be a part of its first step.

    Returns:
        The learning rate.

    Raises:
        ValueError: for another criterion, an argument out of range, a gradient that is not finite, if no rate flips so
            many weights, or if an optimizer takes the gradients in backward already.
    """
    if not isinstance(masking.criterion, Threshold):
        raise ValueError(f"find_lr needs scores with a fixed threshold; got {masking.criterion}; use Threshold()")
    if not 0.0 < flip_rate * steps < 1.0 or steps < 1:
        raise ValueError(f"flip_rate * steps must be in (0, 1); got {flip_rate} * {steps}; ask for a smaller rate")
    if not 0.0 <= momentum < 1.0:
        raise ValueError(f"momentum must be in [0, 1); got {momentum}; the paper uses 0.9")
    masking.require_masked()
    parameters = [*masking.model.parameters(), *(() if also is None else also.parameters())]
    before = [(parameter, parameter.grad) for parameter in parameters]
    for parameter in parameters:  # which stay as they are, whatever is done to those of the search
        parameter.grad = None
    try:
        travelled = _travelled(masking, backward, steps, momentum)
    finally:
        for parameter, gradient in before:
            parameter.grad = gradient
    needed = []
    for name, scores in masking.scores().items():
        rate = (scores - masking.criterion.mu) / travelled[name]
        needed.append(rate[torch.isfinite(scores) & torch.isfinite(rate) & (rate > 0)].flatten())
    rates = torch.cat(needed)
    maskable = sum(int(torch.isfinite(scores).sum()) for scores in masking.scores().values())
    wanted = max(round(flip_rate * steps * maskable), 1)
    if wanted > rates.numel():
        raise ValueError(
            f"so many weights must be able to flip; wanted {wanted} within {steps} steps, only {rates.numel()} move"
            " towards the threshold; ask for a smaller rate"
        )
    return float(torch.kthvalue(rates, wanted).values)


@torch.no_grad()
def _travelled(
    masking: Masking, backward: Callable[[], Any], steps: int, momentum: float
) -> dict[str, Float[Tensor, "*shape"]]:
    """Return how far each score would have moved at learning rate 1, leaving the model as it was."""
    buffers = {name: buffer.clone() for name, buffer in masking.model.named_buffers()}
    velocities = {name: torch.zeros_like(scores) for name, scores in masking.scores().items()}
    travelled = {name: torch.zeros_like(scores) for name, scores in masking.scores().items()}
    try:
        for _ in range(steps):
            masking.model.zero_grad()
            with torch.enable_grad():
                backward()
            check_finite([(name, masking.parameter(name)) for name in velocities])
            for name, velocity in velocities.items():
                gradient = dense_gradient(masking.parameter(name))
                if gradient is not None:
                    frozen, scores = masking.tensors(name)
                    mask = masking.criterion(scores)
                    velocity.mul_(momentum).add_(mask_gradient(gradient, frozen, mask, masking.rescale))
                travelled[name].add_(velocity)
    finally:
        for name, buffer in masking.model.named_buffers():
            buffer.copy_(buffers[name])
        masking.apply()  # an optimizer in backward has moved the weights before it was noticed
    return travelled


def _sample(scores: Tensor) -> Tensor:
    """Return an even sample of the scores, those outside a partial mask left out."""
    some = scores.detach().flatten()[:: max(scores.numel() // _SAMPLE, 1)].float()
    return some[torch.isfinite(some)]


def _quantiles(scores: Tensor) -> list[float]:
    some = _sample(scores)
    return torch.quantile(some, torch.tensor(QUANTILES, device=some.device)).tolist() if some.numel() else []
