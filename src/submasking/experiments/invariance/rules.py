"""Every update rule once, for any kind of number: float, `Fraction`, sympy expression, tensor, array of objects.

Each is the rule of torch.optim of the same name. A step takes the score S, the gradient g, the optimizer's state and
the schedule's multiplier of this step, and returns the new score and the new state; it changes neither argument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import singledispatch
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

Number: TypeAlias = Any
State: TypeAlias = dict[str, Number]


class Rule(Protocol):
    """What an update rule offers; `lr` and `weight_decay` are the hyper-parameters that a change of scale moves."""

    @property
    def lr(self) -> Number: ...
    @property
    def weight_decay(self) -> Number: ...
    def step(self, score: Number, gradient: Number, state: State, multiplier: Number = 1) -> tuple[Number, State]:
        """Return score and state after one step; the state before the first step is empty."""
        ...


@singledispatch
def root(value: Number) -> Number:
    """Square root.

    That of a `Fraction` is rounded down to a multiple of 2**-64, so that it stays a fraction. No theorem needs more
    of it than that equal arguments have equal roots.
    """
    return value ** Fraction(1, 2)


@root.register
def _(value: Fraction) -> Fraction:
    return Fraction(math.isqrt((value.numerator << 128) // value.denominator), 1 << 64)


@root.register
def _(value: torch.Tensor) -> torch.Tensor:
    return value.sqrt()


@root.register
def _(value: np.ndarray) -> np.ndarray:
    return np.frompyfunc(root, 1, 1)(value)


def clipped(gradient: Number, max_norm: Number, eps: Number) -> Number:
    """Shorten a gradient, an array or a tensor, to at most this norm (`torch.nn.utils.clip_grad_norm_`)."""
    factor = max_norm / (root((gradient * gradient).sum()) + eps)
    # min(1, factor), written so that sympy follows it too
    return gradient * ((1 + factor - abs(1 - factor)) / 2)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent.

    Attributes:
        lr: peak learning rate, positive.
        momentum: in [0, 1).
        dampening: of the gradient's share in the velocity; not applied in the first step, as in torch.
        nesterov: look ahead; torch asks for momentum > 0 and dampening = 0.
        weight_decay: lambda of draft, equation 11: the gradient g becomes g + weight_decay * S.
        constant_decay: g becomes g + constant_decay, whatever the score (`ConstantWD_SGD` in the authors' code).
        max_norm: the gradient, before any decay, is clipped to this norm; None clips nothing.
        clip_eps: added to the norm when clipping.
    """

    lr: Number
    momentum: Number = 0
    dampening: Number = 0
    nesterov: bool = False
    weight_decay: Number = 0
    constant_decay: Number = 0
    max_norm: Number | None = None
    clip_eps: Number = 1e-6

    def step(self, score: Number, gradient: Number, state: State, multiplier: Number = 1) -> tuple[Number, State]:
        if self.max_norm is not None:
            gradient = clipped(gradient, self.max_norm, self.clip_eps)
        update = gradient + self.weight_decay * score + self.constant_decay
        if self.momentum == 0:
            return score - self.lr * multiplier * update, {}
        velocity = update
        if state:
            velocity = self.momentum * state["velocity"] + (1 - self.dampening) * update
        update = update + self.momentum * velocity if self.nesterov else velocity
        return score - self.lr * multiplier * update, {"velocity": velocity}


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980); its weight decay is coupled: part of the gradient."""

    lr: Number
    beta1: Number = 0.9
    beta2: Number = 0.999
    eps: Number = 1e-8
    weight_decay: Number = 0

    def step(self, score: Number, gradient: Number, state: State, multiplier: Number = 1) -> tuple[Number, State]:
        direction, state = self.direction(gradient + self.weight_decay * score, state)
        return score - self.lr * multiplier * direction, state

    def direction(self, gradient: Number, state: State) -> tuple[Number, State]:
        """Return the normalised, bias-corrected momentum and the new state."""
        step = state.get("step", 0) + 1
        first = self.beta1 * state.get("first", 0) + (1 - self.beta1) * gradient
        second = self.beta2 * state.get("second", 0) + (1 - self.beta2) * gradient * gradient
        spread = root(second / (1 - self.beta2**step)) + self.eps
        return first / (1 - self.beta1**step) / spread, {"step": step, "first": first, "second": second}


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101), as in torch: lr times decay."""

    def step(self, score: Number, gradient: Number, state: State, multiplier: Number = 1) -> tuple[Number, State]:
        direction, state = self.direction(gradient, state)
        lr = self.lr * multiplier
        return score * (1 - lr * self.weight_decay) - lr * direction, state


@dataclass(frozen=True)
class RMSprop:
    """RMSprop (Tieleman and Hinton 2012); `smoothing` is torch's `alpha`."""

    lr: Number
    smoothing: Number = 0.99
    eps: Number = 1e-8
    momentum: Number = 0
    centered: bool = False
    weight_decay: Number = 0

    def step(self, score: Number, gradient: Number, state: State, multiplier: Number = 1) -> tuple[Number, State]:
        gradient = gradient + self.weight_decay * score
        square = self.smoothing * state.get("square", 0) + (1 - self.smoothing) * gradient * gradient
        mean = self.smoothing * state.get("mean", 0) + (1 - self.smoothing) * gradient
        variance = square - mean * mean if self.centered else square
        velocity = self.momentum * state.get("velocity", 0) + gradient / (root(variance) + self.eps)
        return score - self.lr * multiplier * velocity, {"square": square, "mean": mean, "velocity": velocity}


@dataclass(frozen=True)
class Adagrad:
    """Adagrad (Duchi et al. 2011)."""

    lr: Number
    lr_decay: Number = 0
    eps: Number = 1e-10
    weight_decay: Number = 0

    def step(self, score: Number, gradient: Number, state: State, multiplier: Number = 1) -> tuple[Number, State]:
        step = state.get("step", 0) + 1
        gradient = gradient + self.weight_decay * score
        total = state.get("total", 0) + gradient * gradient
        lr = self.lr * multiplier / (1 + (step - 1) * self.lr_decay)
        return score - lr * gradient / (root(total) + self.eps), {"step": step, "total": total}
