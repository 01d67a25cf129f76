"""A shelf of 10,000 tasks on disk, read when they are asked for: `python -m benchmarks.shelf MODEL`.

The files are made up like those of the bank's benchmark; a few different ones stand there under 10,000 names, as hard
links, since to code 10,000 masks of a ResNet-50 takes days and their content changes neither time nor memory. Times
are the process's own, on one thread: reading from a busy or a distant disk comes on top.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import timm
import torch
from torch import nn

from benchmarks.bank import CLASSES, LARGE, drawn, resident
from benchmarks.process import fresh
from submasking import Bank, Shelf, mask, maskfile
from submasking.tasks.heads import linear_head
from submasking.tasks.maskfile import SUFFIX
from submasking.worlds import networks

TASKS = 10_000
SMALL = "resnet18-small"
# by model: different files, tasks in memory, tasks used one after the other
CASES = {SMALL: (8, 32, 128), LARGE: (3, 4, 12)}


def measure(tasks: int = TASKS) -> list[dict[str, Any]]:
    """Return one row per model, each measured in a process of its own."""
    return [fresh("benchmarks.shelf", model, tasks) for model in CASES]


def serve(model: str, tasks: int) -> dict[str, Any]:
    """Use tasks of a shelf one after the other; memory of this process when the shelf is full and at the end."""
    different, held, uses = CASES[model]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size, weights = fill(folder, model, tasks, different)
        bank = Bank(_network(model))
        opened, shelf = _timed(lambda: Shelf(bank, folder, held=held))
        names = list(shelf.files)[:: max(tasks // uses, 1)][:uses]
        first, memory = [], []
        for one in names:
            first.append(_timed(lambda one=one: shelf.use(one))[0])
            memory.append(resident() / 2**20)
        again = [_timed(lambda one=one: shelf.use(one))[0] for one in names[-held:]]
    return {
        "model": model,
        "tasks": len(shelf.files),
        "different": different,
        "weights": weights,
        "file_bytes": size,
        "folder_gb": round(size * tasks / 1e9, 2),
        "open_ms": round(1000 * opened, 1),
        "held": held,
        "uses": len(names),
        "first_ms": round(1000 * median(first), 1),
        "again_ms": round(1000 * median(again), 2),
        "full_mib": round(memory[min(held, len(memory)) - 1], 1),
        "end_mib": round(max(memory[held:] or memory), 1),
    }


def fill(folder: Path, model: str, tasks: int, different: int) -> tuple[int, int]:
    """Write made-up tasks under so many names; returns the mean bytes of a file, and how many weights one masks."""
    random = torch.Generator().manual_seed(0)
    for number in range(min(different, tasks)):
        network = _network(model)
        masking = mask(network, "resnet")
        shapes = {name: one.shape for name, one in masking.masks().items()}
        masking.load_masks({name: drawn(shape.numel(), random).view(shape) for name, shape in shapes.items()})
        head = linear_head(int(network.num_features), CLASSES, seed=number)  # type: ignore[arg-type]
        maskfile.save(folder / _name(number), masking, head=head, architecture=model)
    for number in range(different, tasks):
        os.link(folder / _name(number % different), folder / _name(number))
    sizes = [(folder / _name(number)).stat().st_size for number in range(min(different, tasks))]
    return round(sum(sizes) / len(sizes)), sum(shape.numel() for shape in shapes.values())


def _name(number: int) -> str:
    return f"task{number:05d}{SUFFIX}"


def _network(model: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return networks.trunk(model, 24) if model == SMALL else timm.create_model(model, num_classes=0).eval()


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = call()
    return time.process_time() - start, found


if __name__ == "__main__":
    print(json.dumps(serve(sys.argv[1], int(sys.argv[2]))))
