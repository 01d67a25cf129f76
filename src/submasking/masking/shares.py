"""How much of a model is masked, trained and frozen, and what to say where that is hardly meant."""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from submasking.masking.decision import Decision

LEAST_MASKED = 0.5  # of what is not trained; below it a preset does not know the network
MOST_TRAINED = 0.25  # of all; above it a task costs more than its masks could ever save
LEAST_BYTES = 100_000  # of what is trained; a smaller file costs nobody anything


class Shares(NamedTuple):
    """Numbers of parameters by what happens to them; ``trained_bytes`` is what those that are trained take."""

    masked: int
    trained: int
    frozen: int
    trained_bytes: int

    def __str__(self) -> str:
        whole = max(self.masked + self.trained + self.frozen, 1)
        named = zip(self._fields[:3], self[:3], strict=True)
        return ", ".join(f"{count:,} {name} ({count / whole:.1%})" for name, count in named)


def shares(decisions: Mapping[str, Decision], model: nn.Module) -> Shares:
    """Count what a selection decided, see `submasking.masking.selection.resolve`.

    Args:
        decisions: by name of a parameter.
        model: which has these parameters.
    """
    counts, taken = {"mask": 0, "train": 0, "freeze": 0}, 0
    for name, parameter in model.named_parameters():
        counts[decisions[name].action] += parameter.numel()
        taken += parameter.nbytes if decisions[name].action == "train" else 0
    return Shares(counts["mask"], counts["train"], counts["freeze"], taken)


def warn_of_shares(select: Any, found: Shares, stacklevel: int) -> None:
    """Warn where a preset masks less than half, or where much is trained, in share and in bytes.

    Args:
        select: as it was given; a callable is trusted to know what it masks.
        found: what it came to.
        stacklevel: of the caller's caller, as for `warnings.warn`.
    """
    rest = found.masked + found.frozen
    if isinstance(select, str) and found.masked < LEAST_MASKED * rest:
        warnings.warn(
            f"a preset should mask most of a model; {select!r} masks {found.masked / rest:.1%} of {rest:,} parameters"
            f" that are not trained; use {_other(select)}",
            stacklevel=stacklevel + 1,
        )
    if found.trained > MOST_TRAINED * sum(found[:3]) and found.trained_bytes >= LEAST_BYTES:
        warnings.warn(
            f"trained parameters should be few, as every task file holds them; here they are {found.trained:,}"
            f" ({found.trained / sum(found[:3]):.1%} of all), {found.trained_bytes / 1e6:,.1f} MB a task;"
            f" {_fewer(select)}",
            stacklevel=stacklevel + 1,
        )


def _other(select: str) -> str:
    return "'weights', or a selection of your own" if select == "auto" else "select='auto' or 'weights'"


def _fewer(select: Any) -> str:
    if isinstance(select, str) and select != "auto":
        return "select='auto' trains the last layer of a classifier alone"
    return "freeze or mask some by a selection of your own"
