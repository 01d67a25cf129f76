"""The authors' own module as a witness: trained beside ours on the same batches, its masks are compared bit by bit.

Their code has no licence, so none of it is here: `--authors FILE` names their `submasking.py`, from the public
repository of the paper. It makes the mask in every forward pass, from scores that torch's SGD trains.
"""

import importlib.util
import time
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import nn

from benchmarks.ways import PeerError, network
from submasking import mask
from submasking.masking.selection import decide

# ten times the paper's rate: from random weights few scores would come near the threshold otherwise
STEPS, BATCH, PIXELS, LR, MOMENTUM = 50, 16, 32, 500.0, 0.9


class Case(NamedTuple):
    """A network of timm, the number format of everything, and whether what remains is rescaled."""

    model: str
    dtype: str
    rescale: str


CASES = tuple(Case("resnet18", dtype, rescale) for dtype in ("float32", "float64") for rescale in ("none", "variance"))


class _Side(NamedTuple):
    """One implementation: its network, its optimizers, and its masks by parameter name."""

    model: nn.Module
    optimizers: list[torch.optim.Optimizer]
    masks: Any


def load(path: Path) -> ModuleType:
    """The authors' module.

    Raises:
        PeerError: the file cannot be run, or is another one.
    """
    found = importlib.util.spec_from_file_location("authors", path) if path.is_file() else None
    if found is None or found.loader is None:
        raise PeerError(f"--authors must be the authors' submasking.py; got {path}")
    module = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except Exception as error:
        said = " ".join(str(error).split())
        raise PeerError(f"--authors must run without an error; {path} gave {type(error).__name__}: {said}") from error
    if not callable(getattr(module, "SubmaskedModel", None)):
        raise PeerError(f"--authors must be the authors' submasking.py, with SubmaskedModel in it; {path} has none")
    return module


def measure(authors: ModuleType, cases: tuple[Case, ...] = CASES, steps: int = STEPS) -> list[dict[str, Any]]:
    """One row per case: for how many steps all masks were equal, how many bits differ at the end, and both times."""
    return [_row(authors, case, steps) for case in cases]


def _row(authors: ModuleType, case: Case, steps: int) -> dict[str, Any]:
    dtype = getattr(torch, case.dtype)
    sides = (_ours(case, dtype), _theirs(authors, case, dtype))
    random, equal, seconds = torch.Generator().manual_seed(0), 0, ([], [])  # type: ignore[var-annotated]
    differing, total = 0, 1
    for step in range(steps):
        images = torch.randn(BATCH, 3, PIXELS, PIXELS, generator=random).to(dtype)
        labels = torch.randint(0, 10, (BATCH,), generator=random)
        for side, times in zip(sides, seconds, strict=True):
            times.append(_step(side, images, labels))
        ours, theirs = (side.masks() for side in sides)
        differing = sum(int((ours[name] != theirs[name]).sum()) for name in ours)
        total = sum(bits.numel() for bits in ours.values())
        equal += not differing and equal == step
    off = 1 - sum(int(bits.sum()) for bits in ours.values()) / total
    mine, other = (median(times[1:]) for times in seconds)
    return {
        "way": f"{case.model}, {case.dtype}, rescale {case.rescale}",
        "weights": total,
        "steps": steps,
        "equal_steps": equal,
        "differing": differing / total,
        "sparsity": round(off, 4),
        "seconds": round(mine, 5),
        "seconds_authors": round(other, 5),
        "ratio_authors": round(median(b / a for a, b in zip(*(times[1:] for times in seconds), strict=True)), 3),
    }


def _step(side: _Side, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Processor seconds of a step."""
    started = time.process_time()
    for optimizer in side.optimizers:
        optimizer.zero_grad()
    nn.functional.cross_entropy(side.model(images), labels).backward()
    for optimizer in side.optimizers:
        optimizer.step()
    return time.process_time() - started


def _head(model: nn.Module) -> torch.optim.Optimizer:
    head = [model.get_parameter(name).requires_grad_(True) for name in ("fc.weight", "fc.bias")]
    return torch.optim.SGD(head, lr=0.01, momentum=MOMENTUM)


def _ours(case: Case, dtype: torch.dtype) -> _Side:
    model = network(case.model).to(dtype)
    masking = mask(model, "resnet", rescale=case.rescale)
    return _Side(model, [masking.optimizer(lr=LR, momentum=MOMENTUM), _head(model)], masking.masks)


def _theirs(authors: ModuleType, case: Case, dtype: torch.dtype) -> _Side:
    model = network(case.model).to(dtype)

    def chosen(name: str, parameter: nn.Parameter) -> str:
        if name.startswith("fc."):
            return "train"
        return "mask" if decide("resnet", name, parameter).action == "mask" else "freeze"

    def ones(scores: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return scores.data.fill_(1.0)

    names = {name.replace(".", "_"): name for name, _ in model.named_parameters()}  # as their scores are called
    made = authors.SubmaskedModel(
        model, parameter_selection=chosen, scale=case.rescale == "variance", scores_init=ones, shell_mode="replace"
    )
    trained = torch.optim.SGD(made.scores.values(), lr=LR, momentum=MOMENTUM)
    return _Side(
        made, [trained, _head(model)], lambda: {names[key]: value.detach() > 0 for key, value in made.scores.items()}
    )
