"""The one reader of a network's weights: from a file into a module, whatever comes before the names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from submasking.files import store

PREFIXES = ("", "trunk.", "visual.")  # what the names of an image network's tensors may begin with


CLASSIFIERS = ("fc.", "head.", "classifier.", "last_linear.")


def guesses(path: Path, known: str) -> Iterator[dict[str, Tensor]]:
    """What the tensors of a backbone in a weights file may be: all there are, or those that are no classifier's.

    Counters of batches, which many files leave out, are 0 as in a new network.

    Args:
        path: the file.
        known: name of a tensor that is surely among them.

    Raises:
        ValueError: the file cannot be read.
    """
    tensors = without_prefix(read(path), known)
    norms = [name.removesuffix("running_mean") for name in tensors if name.endswith("running_mean")]
    tensors = {norm + "num_batches_tracked": torch.tensor(0) for norm in norms} | tensors
    yield tensors
    yield {name: value for name, value in tensors.items() if not name.startswith(CLASSIFIERS)}


def read(path: Path) -> dict[str, Tensor]:
    """All tensors of a weights file.

    Raises:
        ValueError: there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise ValueError(f"weights must be a safetensors file, there is none at {str(path)!r}")
    return store.read(path)[0]


def load(module: nn.Module, path: Path) -> None:
    """Load a weights file into a module.

    Tensors that the module does not have, such as a classifier's, are left out.

    Raises:
        ValueError: there is no such file, it cannot be read, or a tensor is missing or of another shape.
    """
    fill(module, without_prefix(read(path), next(iter(module.state_dict()))), str(path))


def without_prefix(tensors: Mapping[str, Tensor], known: str) -> dict[str, Tensor]:
    """The tensors under the names of the network itself, found by one name that is known to be among them."""
    prefix = next((prefix for prefix in PREFIXES if prefix + known in tensors), "")
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def fill(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load tensors by name; others are left over, only `num_batches_tracked` may be missing.

    Raises:
        ValueError: where a tensor is missing or of another shape; the message names the first few.
    """
    expected = module.state_dict()
    wrong = [f"{name} is missing" for name in expected if name not in tensors and "num_batches" not in name]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if wrong:
        shown = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise ValueError(f"weights must fit the architecture, but in {source}: {shown}; check the model's name")
    module.load_state_dict({name: tensors[name] for name in expected if name in tensors}, strict=False)
