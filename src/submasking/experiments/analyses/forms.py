"""Forms in which what a task has learned can be stored: its bytes, and the network that whoever reads them has.

Stored is the difference to what the reader holds: to the frozen weights, or to nothing for what was added to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from submasking.experiments.sizes import difference_bytes
from submasking.tasks.packing import packed
from submasking.tasks.rounding import BUFFERS, to_digits, to_multiples

BITS = 10  # of heads and statistics, as `submasking.round_off` has it
EXACT, SIGNS = "float32", "signs"
# by form the bits of a difference: its step is the root mean square of its tensor over 2 ** bits, see `round_off`
ROUNDED = {"10 bits": BITS, "4 bits": 4, "1 bit": 1, "coarse": -1, "coarser": -2, "coarsest": -3}
SCALE_BYTES = 4
Tensors = dict[str, Tensor]


class Task(NamedTuple):
    """A network that has learned a task.

    Attributes:
        trunk: what gives features.
        head: what makes classes of them.
        learned: names of the parameters of the trunk that the task has changed or added.
        before: of those that were there before, what they were.
        one_bit: whether they act as signs times a scale already.
        follows: whether norm statistics have followed the task, and so are stored with it.
    """

    trunk: nn.Module
    head: nn.Module
    learned: tuple[str, ...]
    before: Mapping[str, Tensor]
    one_bit: bool = False
    follows: bool = True


class Bytes(NamedTuple):
    """What a form takes: what was learned, and norm statistics and head beside it."""

    learned: int
    beside: int


@torch.no_grad()
def stored(task: Task, forms: tuple[str, ...], settle: Callable[[nn.Module], None]) -> Iterator[tuple[str, Bytes]]:
    """Bring the network into each form in turn, and back at the end; yields the form's name and bytes.

    Args:
        task: its trunk and head are written to.
        forms: `EXACT`, `SIGNS` or a name in `ROUNDED`. In all but the first, head and statistics have `BITS` bits.
        settle: called with the trunk where a form moves weights so far that norm statistics are not theirs any more.
    """
    learned: Tensors = {name: task.trunk.get_parameter(name) for name in task.learned}
    statistics = norm_statistics(task.trunk) if task.follows else {}
    head: Tensors = dict(task.head.named_parameters())
    held = [*learned.values(), *statistics.values(), *head.values()]
    kept = [value.clone() for value in held]
    for form in forms:
        size = _size(task, learned, form)
        if form == SIGNS or ROUNDED.get(form, BITS) < 4:
            settle(task.trunk)
        if form != EXACT:
            for value in head.values():
                to_multiples(value, BITS)
            for value in statistics.values():
                to_digits(value, BITS + BUFFERS)
        yield form, Bytes(size, len(packed(statistics)) + len(packed(head)))
        for value, old in zip(held, kept, strict=True):
            value.copy_(old)


def _size(task: Task, learned: Tensors, form: str) -> int:
    """Bytes of what was learned, which is brought into the form."""
    if not learned:
        return 0
    signs = sum(-(-value.numel() // 8) + SCALE_BYTES for value in learned.values())
    if task.one_bit:
        return signs
    if form == EXACT:
        before = {name: task.before[name] for name in learned if name in task.before}
        return difference_bytes(learned, before) if len(before) == len(learned) else len(packed(learned))
    moved = {name: value - task.before.get(name, 0.0) for name, value in learned.items()}
    for name, change in moved.items():
        if form == SIGNS:
            change.copy_(change.sign() * change.abs().mean())
        else:
            to_multiples(change, ROUNDED[form])
        learned[name].copy_(task.before.get(name, 0.0) + change)
    return signs if form == SIGNS else len(packed(moved))


def norm_statistics(trunk: nn.Module) -> Tensors:
    """Running statistics of norms, which follow the task: they are the network's own tensors."""
    return {name: value for name, value in trunk.named_buffers() if name.endswith(("running_mean", "running_var"))}
