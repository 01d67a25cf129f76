"""The bank: 1,000 tasks in one process, and switching beside a plain copy: `python -m benchmarks.bank TASKS`.

Memory is the resident set that the process itself reads from /proc. Both run on one thread; times of switching are
those of the process, which other programs disturb least, and the two sides of the ratio take turns.
"""

import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import timm
import torch
from torch import Tensor, nn

from benchmarks.process import fresh, held
from submasking.masking.selection import decide
from submasking.tasks.bank import Bank
from submasking.tasks.heads import linear_head
from submasking.worlds import networks

TASKS = 1000
CLASSES = 10
BACKBONE = "resnet18-small"
LARGE = "resnet50"
LAYOUTS = {"plain": torch.contiguous_format, "channels last": torch.channels_last}
SWITCHES = 15
OFF = 0.05  # share of the weights that a made-up task switches off


def many(tasks: int = TASKS) -> list[dict[str, Any]]:
    """Return one row on a bank of that many tasks, measured in a process of its own."""
    return [fresh("benchmarks.bank", tasks)]


def fill(tasks: int) -> dict[str, Any]:
    """Fill a bank with made-up tasks of the tiny backbone; what this process holds before and after, in bytes."""
    model = networks.trunk(BACKBONE, 24)
    bank, masked, random = Bank(model), _masked(model), torch.Generator().manual_seed(0)
    buffers = {name: value for name, value in model.named_buffers() if value.is_floating_point()}
    _put(bank, masked, buffers, random, "first")
    before = resident()
    for number in range(1, tasks):
        _put(bank, masked, buffers, random, f"task {number}")
    grown = (resident() - before) / max(tasks - 1, 1)
    times = [_seconds(lambda name=name: bank.use(name)) for name in list(bank.tasks)[:: max(tasks // 100, 1)]]
    one = bank.tasks["first"]
    return {
        "model": BACKBONE,
        "tasks": len(bank.tasks),
        "weights": sum(weights.numel() for weights in masked.values()),
        "mask_bytes": one.bits.nbytes,
        "task_bytes": one.bytes,
        "resident_task_bytes": round(grown),
        "resident_mib": round(resident() / 2**20, 1),
        "switch_ms": round(1000 * median(times), 2),
    }


def switching() -> list[dict[str, Any]]:
    """Return one row per memory layout of ResNet-50: time to switch beside that of a plain copy of the same weights."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [_switching(name, layout) for name, layout in LAYOUTS.items()]
    finally:
        torch.set_num_threads(threads)


def _switching(name: str, layout: torch.memory_format) -> dict[str, Any]:
    model = timm.create_model(LARGE, pretrained=False, num_classes=0).to(memory_format=layout)
    bank, masked, random = Bank(model), _masked(model), torch.Generator().manual_seed(0)
    for task in ("first", "second"):
        _put(bank, masked, {}, random, task)
    kept = {key: weights.detach().clone() for key, weights in masked.items()}
    seen = []
    for turn in range(SWITCHES + 1):
        switch = _seconds(lambda task=("first", "second")[turn % 2]: bank.use(task))
        seen.append((switch, _seconds(lambda: _copy(kept, masked))))
    seen = seen[1:]  # the first touches memory that nothing has touched
    return {
        "model": LARGE,
        "layout": name,
        "weights": sum(weights.numel() for weights in masked.values()),
        "switch_ms": round(1000 * median(switch for switch, _ in seen), 2),
        "copy_ms": round(1000 * median(copy for _, copy in seen), 2),
        "ratio": round(median(switch / copy for switch, copy in seen), 2),
    }


def resident() -> int:
    """Return the memory that this process holds now, in bytes; 0 where there is no /proc."""
    return held("VmRSS") or 0


def _masked(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if decide("resnet", name, p)[0] == "mask"}


def _put(
    bank: Bank, masked: dict[str, nn.Parameter], buffers: dict[str, Tensor], random: torch.Generator, name: str
) -> None:
    """Add a task of random masks, with norm buffers and a head of its own."""
    masks = {key: drawn(weights.numel(), random).view(weights.shape) for key, weights in masked.items()}
    head = linear_head(int(bank.model.num_features), CLASSES, seed=0) if buffers else None  # type: ignore[arg-type]
    bank.put(name, masks, state={key: value.clone() for key, value in buffers.items()}, head=head)


def drawn(count: int, random: torch.Generator) -> Tensor:
    """Return a random mask: positions that are off are drawn, not a number for every weight, which would take long."""
    mask = torch.ones(count, dtype=torch.bool)
    mask[torch.randint(count, (int(OFF * count),), generator=random)] = False
    return mask


@torch.no_grad()
def _copy(kept: dict[str, Tensor], masked: dict[str, nn.Parameter]) -> None:
    for key, weights in masked.items():
        weights.copy_(kept[key])


def _seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    print(json.dumps(fill(int(sys.argv[1]))))
