"""The optimizer of the scores: SGD with momentum and the masking itself, after backward (draft, equation 3)."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from submasking.masking import strays
from submasking.masking.criteria import Criterion, Threshold, mask_gradient, spread, write_effective
from submasking.masking.state import MaskState, writes

_VELOCITY = "momentum_buffer"
_LARGEST = torch.finfo(torch.float32).max
_NOT_DONE = ("weight_decay", "dampening", "nesterov", "maximize")  # which torch.optim.SGD does on demand
_TOO_FAST = 5.0  # far above any rate of fine-tuning, below those that suit the constant start


class MaskSGD(torch.optim.Optimizer):
    """Turns the gradients of the masked weights into new scores, and the scores into new weights.

    With momentum ``v`` and the mask gradient ``d`` (`submasking.masking.criteria.mask_gradient`) a step is
    ``v = momentum * v + d``, ``S = S - lr * v``, ``weight = theta * mask(S)``: what `torch.optim.SGD` over the scores
    does, and the same masks (see `Masking.attach`). It holds the model's own masked parameters, so clipping,
    ``GradScaler`` and learning-rate schedules work as ever.

    Args:
        masking: handle of a masked model.
        lr: step size, not negative.
        momentum: in [0, 1).
        compiled: fuse the update of a tensor into one pass with `torch.compile`. It moves fewer bytes, but costs some
            seconds at the first step and some 80 MiB of memory of the host. On two cores it saves a training step
            little, with ``rescale="variance"`` a good part of the update. Where no compiler works it warns once and
            goes on without; `TopK` always does without.

    Warns:
        UserWarning: for a learning rate of 5 or more with ``init="squared"``, whose rates are those of fine-tuning.

    Raises:
        ValueError: if lr or momentum is out of range; at a step, if a gradient is not finite, a parameter was replaced
            or pruned since, or the model was baked; nothing is changed then.
    """

    def __init__(self, masking: MaskState, lr: float = 50.0, momentum: float = 0.9, *, compiled: bool = False) -> None:
        if isinstance(lr, str) or not 0.0 <= lr <= _LARGEST:
            raise ValueError(f"lr must be finite, not negative; got {lr!r}; the paper uses 50 for ResNets, 10 for ViTs")
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"momentum must be in [0, 1); got {momentum}; the paper uses 0.9")
        if masking.init == "squared" and lr >= _TOO_FAST:
            warnings.warn(
                f"from init='squared' a learning rate is one of fine-tuning; got lr={lr:g}; try 0.01, or find_lr",
                stacklevel=3,
            )
        self.masking = masking
        parameters = [masking.parameter(target.name) for target in masking.targets]
        self.compiled = compiled and isinstance(masking.criterion, Threshold)
        self._alphas: dict[str, tuple[tuple[int, int], Tensor | None]] = {}  # by name: when it was written, with what
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "masking": self.masking, "compiled": self.compiled, "_alphas": {}}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the group of masked parameters, and no other.

        Raises:
            ValueError: for a second group.
        """
        if self.param_groups:
            raise ValueError(
                "MaskSGD must have one group, the masked parameters; got another; give trained parameters an optimizer"
                " of their own, and masks several learning rates through masking.attach(SGD(groups))"
            )
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update scores and weights from the gradients that backward left.

        Args:
            closure: re-evaluates the model and returns the loss; optional.

        Returns:
            The loss that the closure gave, else None.

        Raises:
            ValueError: see the class.
        """
        self.masking.require_masked()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        _require_plain(self.param_groups[0])
        if torch.is_inference_mode_enabled():
            raise ValueError("a step must be taken outside torch.inference_mode; got one inside; leave the block first")
        strays.learns(self.masking)
        self.masking.watch.look(self.masking.model)
        live = self._live(self.param_groups[0]["params"])
        self.masking.watch.require_gradients(self._received(live))
        inners = [self._inner(name, parameter) for name, parameter in live]
        check_finite(live, inners)
        for name, parameter in live:
            self.masking.require_ours(name, parameter)
        for (name, parameter), inner in zip(live, inners, strict=True):
            self._take(name, parameter, inner)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave; the momentum keeps its precision, also where the weights are in bfloat16.

        Raises:
            ValueError: it is that of other masked parameters, or of another number of them, or of an optimizer that
                does something else, such as weight decay; nothing is changed then.
        """
        for group in state_dict["param_groups"]:
            _require_plain(group)
        kinds = {name for entry in state_dict["state"].values() for name in entry}
        if kinds - {_VELOCITY}:
            raise ValueError(
                f"an optimizer's state must be that of SGD with momentum; got one with {', '.join(sorted(kinds))}; load"
                " it into such an optimizer, attached to the masks"
            )
        for index, target in enumerate(self.masking.targets):
            held = state_dict["state"].get(index, {}).get(_VELOCITY)
            shape = self.masking.parameter(target.name).shape
            if held is not None and held.shape != shape:
                raise ValueError(
                    f"an optimizer's state must be of the same masked parameters; that of {target.name!r}, number"
                    f" {index}, is {tuple(held.shape)} for {tuple(shape)}; mask with the selection that it is from"
                )
        super().load_state_dict(state_dict)
        for index, parameter in enumerate(self.param_groups[0]["params"]):
            held = state_dict["state"].get(index, {}).get(_VELOCITY)
            self.state.pop(parameter, None)
            if held is not None:  # of SGD without momentum, there is none
                scores = self.masking.tensors(self.masking.targets[index].name)[1]
                self.state[parameter][_VELOCITY] = held.to(scores, copy=True)

    def _inner(self, name: str, parameter: Tensor) -> Tensor | None:
        """Return the inner product of gradient and parameter, where a step of this tensor is done with it, else None.

        The parameter is theta * M / alpha, so that this gives the sum over the mask without one. It is read on the CPU
        alone, where that waits for nothing, and in one dtype.
        """
        gradient = cast(Tensor, dense_gradient(parameter))
        tensors = (gradient, parameter, self.masking.tensors(name)[1])
        one = parameter.device.type == "cpu" and len({tensor.dtype for tensor in tensors}) == 1
        if self.masking.rescale == "none" or self.compiled or not one:
            return None
        return torch.dot(*(tensor.flatten() for tensor in _flattened(tensors[:2])))

    def _take(self, name: str, parameter: Tensor, inner: Tensor | None) -> None:
        """Do the step of one tensor, with what `_inner` has given of it."""
        (group,) = self.param_groups
        frozen, scores = self.masking.tensors(name)
        state = self.state[parameter]
        if _VELOCITY not in state:
            state[_VELOCITY] = torch.zeros_like(scores)
        tensors = (parameter, cast(Tensor, dense_gradient(parameter)), frozen, scores, state[_VELOCITY])
        settings = (group["lr"], group["momentum"], self.masking.criterion, self.masking.rescale)
        if inner is None:
            self._update(*tensors, *settings)
        else:
            when, alpha = self._alphas.get(name, (None, None))
            alpha = update(*tensors, *settings, inner, alpha if when == writes(parameter) else None)
            self._alphas[name] = (writes(parameter), alpha)
        self.masking.wrote(name, parameter)

    def _received(self, live: list[tuple[str, Tensor]]) -> int:
        """Return how many masked parameters had a gradient for this step."""
        return len(live)

    def _live(self, held: list[Tensor]) -> list[tuple[str, Tensor]]:
        """Return name and parameter of those that have a gradient."""
        pairs = [(target.name, self.masking.parameter(target.name)) for target in self.masking.targets]
        for (name, parameter), known in zip(pairs, held, strict=True):
            if parameter is not known:
                raise ValueError(
                    f"an optimizer must hold the model's own parameters; {name!r} was replaced since;"
                    " call masking.optimizer again after load_state_dict(assign=True)"
                )
        return [(name, parameter) for name, parameter in pairs if parameter.grad is not None]

    def _update(self, *arguments: Any) -> None:
        if not self.compiled:
            update(*arguments)
            return
        *tensors, lr, momentum, criterion, rescale = arguments
        try:
            _compiled()(*_flattened(tensors), torch.as_tensor(lr), momentum, criterion, rescale)
        except Exception as error:  # whatever a missing or broken compiler raises; nothing has been written yet
            self.compiled = False
            reason = str(error).partition("\n")[0]
            warnings.warn(f"masks are updated without a compiler, which gave: {reason}", stacklevel=5)
            update(*arguments)
            return
        torch.autograd.graph.increment_version(tensors[0])  # written through a view that autograd does not know


def update(
    parameter: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    frozen: Float[Tensor, "*shape"],
    scores: Float[Tensor, "*shape"],
    velocity: Float[Tensor, "*shape"],
    lr: float | Tensor,
    momentum: float,
    criterion: Criterion,
    rescale: str,
    inner: Float[Tensor, ""] | None = None,
    alpha: Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""] | None:
    """Do one step for one tensor: writes velocity, scores and parameter in place.

    Where weights are rescaled and the ``inner`` product of gradient and parameter is known, it saves a pass; so does
    ``alpha``, what the parameter was divided by, which is returned for the next step, or None where it is not known.
    """
    velocity.mul_(momentum)
    if rescale == "none":
        velocity.addcmul_(gradient, frozen)
    elif inner is not None:
        alpha = spread(scores, criterion) if alpha is None else alpha
        through = inner / (2 * parameter.numel() * alpha**2)
        velocity.addcmul_(gradient, frozen, value=1 / float(alpha)).sub_(through)
    else:
        velocity.add_(mask_gradient(gradient, frozen, criterion(scores), rescale))
    if isinstance(lr, Tensor):  # a number would be compiled in, anew for every step of a schedule
        scores.sub_(velocity * lr)
    else:
        scores.add_(velocity, alpha=-lr)
    return write_effective(parameter, frozen, scores, criterion, rescale)


def _require_plain(group: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for settings of a group that are not done, as a schedule or a loaded state has left them."""
    if not 0.0 <= (lr := float(group["lr"])) <= _LARGEST:
        raise ValueError(f"lr must be finite, not negative; got {lr}; look at the schedule that has set it")
    if not 0.0 <= (momentum := float(group.get("momentum", -1.0))) < 1.0:
        raise ValueError(f"momentum must be in [0, 1); got {momentum}; look at the schedule that has set it")
    more = [f"{name}={group[name]!r}" for name in _NOT_DONE if group.get(name)]
    if more:
        raise ValueError(
            f"masks are updated by SGD with momentum and nothing else; got {', '.join(more)}; attach an optimizer that"
            " does this, such as masking.attach(SGD(masking.scores().values(), lr=50, weight_decay=1e-4))"
        )


def dense_gradient(parameter: Tensor) -> Tensor | None:
    """Return the gradient of a parameter; that of a sparse embedding as a dense tensor."""
    gradient = parameter.grad
    return gradient.to_dense() if gradient is not None and gradient.is_sparse else gradient


def check_finite(named: Sequence[tuple[str, Tensor]], known: Sequence[Tensor | None] = ()) -> None:
    """Raise ``ValueError`` if the gradient of one of these parameters holds NaN or infinity.

    Args:
        named: name and parameter; one without a gradient is passed over.
        known: of each a number that is finite only if its gradient is; None, as at the end, where there is none.
    """
    sums = {
        name: parameter.grad.sum(dtype=torch.float32) if number is None else number
        for (name, parameter), number in zip_longest(named, known)
        if parameter.grad is not None
    }
    finite = [number.isfinite() for number in sums.values()]
    # one answer to read, for which a GPU is waited for once
    if not finite or bool(torch.stack([one.to(finite[0].device) for one in finite]).all()):
        return
    name = next(name for name, one in zip(sums, finite, strict=True) if not one)
    raise ValueError(
        f"gradients must be finite; that of {name!r} holds NaN or infinity; look at the loss and at lr,"
        " or let a GradScaler skip such steps"
    )


def _flattened(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Show tensors of one memory layout as vectors, so that one compiled function serves every shape."""
    tensors = list(tensors)
    layouts = {tensor.stride() for tensor in tensors}
    if len(layouts) > 1 or not torch.ops.aten.is_non_overlapping_and_dense(tensors[0]):
        return tensors
    # not views, whose bases the compiled function would be specialised for
    return [t.new_empty(0).set_(t.untyped_storage(), t.storage_offset(), (t.numel(),), (1,)) for t in tensors]


@cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(update, dynamic=True)
