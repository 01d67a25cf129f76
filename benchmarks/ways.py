"""The ways of training that are put side by side: each gives a model, and what to call after backward."""

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path

import timm
import torch
from torch import nn

from submasking import TopK, mask
from submasking.masking.selection import decide
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


def _masks(compiled: bool = False, in_backward: bool = False, **options: object) -> Way:
    def way(model: nn.Module) -> list[torch.optim.Optimizer]:
        masking = mask(model, _preset(model), **options)  # type: ignore[arg-type]
        return [masking.optimizer(lr=50.0, compiled=compiled, in_backward=in_backward), _head(model)]

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


class PeerError(ValueError):
    """The file given as a peer cannot be measured."""


def peer(path: Path) -> Way:
    """Load a way of someone else's: a Python file with ``prepare(model) -> parameters to train`` in it.

    ``prepare`` masks the timm model in place by that implementation and freezes the rest; the parameters are trained
    with fused SGD. The file may import the peer's code from wherever it was put; none of it is part of this project.

    Raises:
        PeerError: if the file cannot be run, has no such function, or the function fails on a small network.
    """
    found = importlib.util.spec_from_file_location("peer", path)
    if found is None or found.loader is None or not path.is_file():
        raise PeerError(f"a peer must be a Python file; got {path}; it defines prepare(model)")
    module = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except Exception as error:
        raise PeerError(f"a peer must run without an error; {path} gave {_line(error)}") from error
    if not callable(getattr(module, "prepare", None)):
        raise PeerError(f"a peer must define prepare(model); {path} does not")

    def way(model: nn.Module) -> list[torch.optim.Optimizer]:
        return [_sgd(_prepared(module.prepare, model), lr=50.0), _head(model)]

    way(network("resnet18"))
    return way


def _prepared(prepare: Callable[[nn.Module], object], model: nn.Module) -> list[torch.Tensor]:
    try:
        parameters = list(prepare(model))  # type: ignore[call-overload]
    except Exception as error:
        raise PeerError(f"prepare(model) must return the parameters to train; it gave {_line(error)}") from error
    odd = [type(p).__name__ for p in parameters if not (isinstance(p, torch.Tensor) and p.is_leaf and p.requires_grad)]
    if odd or not parameters:
        what = f"{len(odd)} that are not, first a {odd[0]}" if odd else "none"
        raise PeerError(f"prepare(model) must return tensors that require gradients; it gave {what}")
    return parameters


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


WAYS: dict[str, Way] = {
    "full fine-tuning": full_fine_tuning,
    "masks": _masks(),
    "masks, compiled": _masks(compiled=True),
    "masks, in backward": _masks(in_backward=True),
    "masks, rescaled": _masks(rescale="variance"),
    "masks, rescaled, compiled": _masks(compiled=True, rescale="variance"),
    "masks, top half": _masks(criterion=TopK(0.5), init="kaiming"),
    "masks, ordinary SGD": ordinary_optimizer,
    "mask in forward": literal_reference,
}
