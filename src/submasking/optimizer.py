"""The optimizer of the scores: SGD with momentum and the masking itself in one pass (draft, equation 3)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from submasking.criteria import effective, mask_gradient

if TYPE_CHECKING:
    from submasking.masks import Masking


class MaskSGD(torch.optim.Optimizer):
    """Turns the gradients of the masked weights into new scores, and the scores into new weights.

    With momentum ``v`` and the mask gradient ``d`` (`submasking.criteria.mask_gradient`) a step is
    ``v = momentum * v + d``, ``S = S - lr * v``, ``weight = theta * mask(S)``: what `torch.optim.SGD` over the scores
    does, and the same masks (see `Masking.attach`). It holds the model's own masked parameters, so clipping,
    ``GradScaler`` and learning-rate schedules work as ever.

    Args:
        masking: handle of a masked model.
        lr: step size, not negative.
        momentum: in [0, 1).

    Raises:
        ValueError: if lr or momentum is out of range.
    """

    def __init__(self, masking: "Masking", lr: float = 50.0, momentum: float = 0.9) -> None:
        if not lr >= 0.0:
            raise ValueError(f"lr must not be negative; got {lr}; the paper uses 50 for ResNets and 10 for ViTs")
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"momentum must be in [0, 1); got {momentum}; the paper uses 0.9")
        self.masking = masking
        super().__init__(
            [masking.parameter(target.name) for target in masking.targets], {"lr": lr, "momentum": momentum}
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "masking": self.masking}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Update scores and weights from the gradients that backward left.

        Args:
            closure: re-evaluates the model and returns the loss; optional.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        (group,) = self.param_groups
        for target, held in zip(self.masking.targets, group["params"], strict=True):
            parameter = self.masking.parameter(target.name)
            if parameter.grad is not None:
                frozen, scores = self.masking._tensors(target.name)
                velocity = self.state[held].setdefault("momentum_buffer", torch.zeros_like(scores))
                self._update(parameter, frozen, scores, velocity, group)
        return loss

    def _update(
        self, parameter: Tensor, frozen: Tensor, scores: Tensor, velocity: Tensor, group: dict[str, Any]
    ) -> None:
        criterion, rescale = self.masking.criterion, self.masking.rescale
        gradient = mask_gradient(parameter.grad, frozen, criterion(scores), rescale)
        velocity.mul_(group["momentum"]).add_(gradient)
        scores.add_(velocity, alpha=-group["lr"])
        parameter.copy_(effective(frozen, criterion(scores), rescale))
