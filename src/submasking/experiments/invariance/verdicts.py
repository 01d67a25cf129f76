"""Which invariance holds for which optimizer, and the smallest counter-example where one does not.

The verdict turns out not to depend on the optimizer, only on its decays: on how they read the score, if at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np

from submasking.experiments.invariance.rules import SGD, Adagrad, Adam, AdamW, Number, RMSprop, Rule
from submasking.experiments.invariance.setup import Setup, scale, translate

BOTH = ("weight_decay", "constant_decay")
MOVED = ("translation, $\\kappa$ moved", "affine")  # where a constant decay takes up what a shift does to weight decay
# name of the column -> (setup, factor, shift) -> the setup that is claimed to have the same masks
INVARIANCES: Mapping[str, Callable[[Setup, Number, Number], Setup]] = MappingProxyType(
    {
        "translation, $\\kappa$ moved": lambda setup, factor, shift: translate(setup, shift),
        "translation, decay kept": lambda setup, factor, shift: translate(setup, shift, ()),
        "scale, decay divided": lambda setup, factor, shift: scale(setup, factor, BOTH),
        "scale, decay kept": lambda setup, factor, shift: scale(setup, factor, ()),
        "affine": lambda setup, factor, shift: translate(scale(setup, factor), shift),
    }
)


@dataclass(frozen=True)
class Row:
    """An optimizer of the table: its rule, the field that holds its decay, the theorems that cover it."""

    name: str
    rule: Rule
    decay: str = "weight_decay"
    theorems: tuple[str, ...] = ("thm-adaptive",)


_HALF, _TINY = Fraction(1, 2), Fraction(1, 2**20)
_BETAS = (Fraction(7, 8), Fraction(15, 16))
_SGD = ("thm-translation", "thm-scale", "thm-affine")
ROWS = (
    Row("SGD", SGD(1), theorems=_SGD),
    Row("SGD with momentum", SGD(1, momentum=_HALF, dampening=Fraction(1, 4)), theorems=_SGD),
    Row("SGD with Nesterov momentum", SGD(1, momentum=_HALF, nesterov=True), theorems=_SGD),
    Row("SGD with constant decay", SGD(1, momentum=_HALF), "constant_decay", ("thm-constant-decay",)),
    Row("SGD with clipping", SGD(1, momentum=_HALF, max_norm=1, clip_eps=_TINY)),
    Row("Adam", Adam(1, *_BETAS, eps=_TINY)),
    Row("AdamW", AdamW(1, *_BETAS, eps=_TINY)),
    Row("RMSprop", RMSprop(1, Fraction(3, 4), eps=_TINY)),
    Row("Adagrad", Adagrad(1, eps=_TINY)),
)
SYMBOLS = {"weight_decay": r"\omega", "constant_decay": r"\kappa"}  # of the decays, as the page writes them


def needed(row: Row, invariance: str) -> str | None:
    """Return the hyper-parameter that must be 0 for the invariance to hold; None where it holds as it stands."""
    if row.decay == "constant_decay":
        return row.decay if invariance == "scale, decay divided" else None
    if invariance in MOVED and hasattr(row.rule, "constant_decay"):
        return None
    return None if invariance == "scale, decay divided" else row.decay


@dataclass(frozen=True)
class Counterexample:
    """One weight, one step: S^0 = 1, mu = 0, lr = 2, a constant gradient, and a change that changes the mask."""

    decay: Fraction
    factor: Fraction = Fraction(1)
    shift: Fraction = Fraction(0)
    gradient: Fraction = Fraction(-1, 2)

    def setups(self, row: Row, invariance: str) -> tuple[Setup, Setup]:
        """Return the run and the changed run."""
        values: dict[str, Any] = {"lr": Fraction(2), row.decay: self.decay}
        rule: Any = row.rule
        first = Setup(replace(rule, **values), np.array([Fraction(1)]), Fraction(0))
        return first, INVARIANCES[invariance](first, self.factor, self.shift)


# by the field that holds the decay and the invariance; each serves every optimizer with that field
COUNTEREXAMPLES: Mapping[tuple[str, str], Counterexample] = MappingProxyType(
    {
        ("weight_decay", "translation, $\\kappa$ moved"): Counterexample(Fraction(1, 4), shift=Fraction(16)),
        ("weight_decay", "translation, decay kept"): Counterexample(Fraction(1, 4), shift=Fraction(16)),
        ("weight_decay", "scale, decay kept"): Counterexample(Fraction(1, 4), factor=Fraction(8)),
        ("weight_decay", "affine"): Counterexample(Fraction(1, 4), factor=Fraction(2), shift=Fraction(16)),
        ("constant_decay", "scale, decay divided"): Counterexample(Fraction(5, 4), factor=Fraction(8)),
    }
)


def table() -> str:
    """Return the table optimizer x invariance as Markdown."""
    lines = ["| optimizer | " + " | ".join(INVARIANCES) + " | proof |", "|---" * (len(INVARIANCES) + 2) + "|"]
    for row in ROWS:
        missing = [needed(row, invariance) for invariance in INVARIANCES]
        cells = ["holds" if name is None else f"only if ${SYMBOLS[name]} = 0$" for name in missing]
        proof = ", ".join(f"{{prf:ref}}`{label}`" for label in row.theorems)
        lines.append(f"| {row.name} | {' | '.join(cells)} | {proof} |")
    return "\n".join(lines)


def counterexample_table() -> str:
    """Return, as Markdown, the score after one step against its threshold: in the run, and in the changed run."""
    lines = ["| optimizer | " + " | ".join(INVARIANCES) + " |", "|---" * (len(INVARIANCES) + 1) + "|"]
    for row in ROWS:
        cells = [_sides(row, invariance) if needed(row, invariance) else "none" for invariance in INVARIANCES]
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _sides(row: Row, invariance: str) -> str:
    """The two comparisons S^1 with mu of a counter-example."""
    example = COUNTEREXAMPLES[row.decay, invariance]
    sides = []
    for setup in example.setups(row, invariance):
        (score,), _ = setup.rule.step(setup.start, np.array([example.gradient]), {})
        sides.append(f"${float(score):.4g} {'>' if score > setup.threshold else '<'} {setup.threshold}$")
    return ", but ".join(sides)
