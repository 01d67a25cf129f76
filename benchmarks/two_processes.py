"""Two processes with half of each batch beside one with all of it: `python -m benchmarks two_processes`.

Networks of the small world learn masks from random pictures under PyTorch's DistributedDataParallel (gloo, a thread
each). Both ways add the same numbers in another order: how many bits of the masks that costs is what is counted.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from submasking import mask
from submasking.worlds import networks

PROCESSES, STEPS, BATCH, PIXELS, CLASSES = 2, 30, 32, 24, 10


class Case(NamedTuple):
    """A network, its numbers, what its norms do, and a rate at which some percent of the weights go off."""

    architecture: str
    dtype: torch.dtype
    norms: str
    lr: float

    def __str__(self) -> str:
        norms = {"freeze": "norm statistics held", "adapt": "norm statistics of each half"}[self.norms]
        said = f", {norms}" if "resnet" in self.architecture else ""
        return f"{self.architecture}, {str(self.dtype).removeprefix('torch.')}{said}"


CASES = (
    Case("resnet18-small", torch.float64, "freeze", 150.0),
    Case("resnet18-small", torch.float32, "freeze", 150.0),
    Case("clip-vit", torch.float64, "freeze", 57.0),
    Case("clip-vit", torch.float32, "freeze", 57.0),
    Case("resnet18-small", torch.float32, "adapt", 150.0),
)


def measure(cases: tuple[Case, ...] = CASES, steps: int = STEPS) -> list[dict[str, Any]]:
    """Return a row for each case: its weights, the share that is off, the bits in which the two ways differ."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.two_processes", folder, str(steps)]
        given = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        numbers = [[str(CASES.index(case)) for case in cases]] * PROCESSES
        workers = [
            subprocess.Popen([*command, str(rank), *each], env=given) for rank, each in enumerate(numbers)
        ]  # fmt: skip
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        alone = [learnt(case, steps) for case in cases]
        torch.set_num_threads(threads)
        codes = [worker.wait() for worker in workers]
        if any(codes):
            raise RuntimeError("one of the two processes failed; what it said stands above")
        together = torch.load(Path(folder) / "scores.pt", weights_only=True)
    return [_row(case, steps, *each) for case, *each in zip(cases, alone, together, strict=True)]


def _row(case: Case, steps: int, one: torch.Tensor, two: torch.Tensor) -> dict[str, Any]:
    return {
        "way": str(case),
        "weights": one.numel(),
        "steps": steps,
        "off": round(float((one <= 0).double().mean()), 4),
        "differing": int(((one > 0) != (two > 0)).sum()),
        "distance": float((one - two).abs().max() / one.abs().max()),
    }


def learnt(case: Case, steps: int, rank: int = 0, processes: int = 1) -> torch.Tensor:
    """All scores after training, as one vector; of several processes each sees its part of every batch."""
    torch.manual_seed(0)
    model = networks.trunk(case.architecture, PIXELS).to(case.dtype)
    masking = mask(model, "vit" if "vit" in case.architecture else "resnet", norms=case.norms)
    optimizer, network = masking.optimizer(lr=case.lr), model.train()
    if processes > 1:
        network = nn.parallel.DistributedDataParallel(model)
    for step in range(steps):
        drawn = torch.Generator().manual_seed(step)
        images = torch.randn(BATCH, 3, PIXELS, PIXELS, generator=drawn).to(case.dtype)
        labels = torch.randint(CLASSES, (BATCH,), generator=drawn)
        optimizer.zero_grad()
        cross_entropy(network(images[rank::processes])[:, :CLASSES], labels[rank::processes]).backward()
        optimizer.step()
    return torch.cat([scores.detach().flatten() for scores in masking.scores().values()])


def _work(folder: str, steps: str, rank: str, *numbers: str) -> None:
    """One of the processes; the first one writes what was learnt."""
    where = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=where, rank=int(rank), world_size=PROCESSES)
    found = [learnt(CASES[int(number)], int(steps), int(rank), PROCESSES) for number in numbers]
    if rank == "0":
        torch.save(found, Path(folder) / "scores.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    _work(*sys.argv[1:])
