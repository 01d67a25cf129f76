"""Tensors in files of torch.save, read by torch's safe unpickler alone: no code of the file runs."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DEEPEST = 6  # a checkpoint nests its tensors two or three deep; a file may also hold itself


def read(path: Path, *, mapped: bool) -> dict[str, Tensor]:
    """All tensors by name; those of a dictionary in a dictionary have both names, joined by a dot.

    Args:
        path: a file of torch.save.
        mapped: leave the tensors on the disk until they are used, which old files do not allow.

    Raises:
        ValueError: the file is damaged, or holds Python objects that no safe reader makes.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's notes on old kinds of tensors
            if mapped and path.suffix != ".safetensors":  # torch goes by that name, whatever the content
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            else:
                with path.open("rb") as file:
                    content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises nearly anything when it meets damage
        raise ValueError(f"{path} must be a readable file of weights, but {_reason(str(error))}") from error
    return dict(_flat(content, ()))


def _reason(said: str) -> str:
    if found := re.search(r"GLOBAL ((?:\w+\.)+\w+)", said):
        return (
            f"it holds Python objects ({found[1]}), and loading these could run anybody's code; where you trust its"
            " source, keep the tensors alone: content = torch.load(FILE, weights_only=False), then"
            " torch.save(content['state_dict'], NEW), or whatever key they are under"
        )
    short = re.sub(r".*WeightsUnpickler error:|Check the documentation.*", "", " ".join(said.split()))[:200].strip()
    return f"it is cut off, damaged, or a pickle of other things ({short}); fetch it again, or convert it"


def _flat(content: Any, names: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield ".".join(names), content
    elif isinstance(content, dict) and len(names) < DEEPEST:
        for name, value in content.items():
            if isinstance(name, str):
                yield from _flat(value, (*names, name))
