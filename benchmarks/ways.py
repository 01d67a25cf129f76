"""The ways of training that are put side by side: each gives a model, and what to call after backward."""

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path

import timm
import torch
from torch import nn

from submasking import TopK, mask
from submasking.selection import decide
from tests.references import mask_in_forward

Way = Callable[[nn.Module], list[torch.optim.Optimizer]]
HEAD = ("fc.", "head.")


def network(name: str) -> nn.Module:
    """Return a randomly initialised timm network, the same every time."""
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=10).train()


def _preset(model: nn.Module) -> str:
    return "vit" if hasattr(model, "blocks") else "resnet"


def _sgd(parameters: Iterable[torch.Tensor], lr: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9, fused=True)


def _head(model: nn.Module) -> torch.optim.Optimizer:
    parameters = [parameter for name, parameter in model.named_parameters() if name.startswith(HEAD)]
    for parameter in parameters:
        parameter.requires_grad_(True)
    return _sgd(parameters)


def full_fine_tuning(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Train what the masks would mask, and the head, with fused SGD; the norms' weights are frozen, as in the paper."""
    preset = _preset(model)
    decisions = {name: decide(preset, name, parameter).action for name, parameter in model.named_parameters()}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(decisions[name] != "freeze")
    return [_sgd(model.get_parameter(name) for name, action in decisions.items() if action == "mask"), _head(model)]


def _masks(compiled: bool | None = None, **options: object) -> Way:
    def way(model: nn.Module) -> list[torch.optim.Optimizer]:
        masking = mask(model, _preset(model), **options)  # type: ignore[arg-type]
        return [masking.optimizer(lr=50.0, compiled=compiled), _head(model)]

    return way


def ordinary_optimizer(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Train the scores with fused SGD through `Masking.attach`."""
    masking = mask(model, _preset(model))
    return [masking.attach(_sgd(masking.scores().values(), lr=50.0)), _head(model)]


def literal_reference(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Train score parameters, the mask made in every forward: how masking is usually written down."""
    preset = _preset(model)
    names = [name for name, parameter in model.named_parameters() if decide(preset, name, parameter).action == "mask"]
    return [_sgd(mask_in_forward(model, names, lambda scores: scores > 0).values(), lr=50.0), _head(model)]


def peer(path: Path) -> Way:
    """Load a way of someone else's: a Python file with ``prepare(model) -> parameters to train`` in it.

    ``prepare`` masks the timm model in place by that implementation and freezes the rest; the parameters are trained
    with fused SGD. The file may import the peer's code from wherever it was put; none of it is part of this project.
    """
    found = importlib.util.spec_from_file_location("peer", path)
    if found is None or found.loader is None:
        raise ValueError(f"a peer must be a Python file; got {path}; it defines prepare(model)")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return lambda model: [_sgd(module.prepare(model), lr=50.0), _head(model)]


WAYS: dict[str, Way] = {
    "full fine-tuning": full_fine_tuning,
    "masks": _masks(),
    "masks, not compiled": _masks(compiled=False),
    "masks, rescaled": _masks(rescale="variance"),
    "masks, top half": _masks(criterion=TopK(0.5), init="kaiming"),
    "masks, ordinary SGD": ordinary_optimizer,
    "mask in forward": literal_reference,
}
