"""Options that several commands share, and what they make of them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from submasking import architecture
from submasking.maskfile import TaskFile

BACKBONE_HELP = "safetensors file of the backbone's weights (default: the pretrained ones of timm or open_clip)"


def add_weights(command: argparse.ArgumentParser) -> None:
    """--weights."""
    command.add_argument("--weights", type=Path, metavar="FILE", help=BACKBONE_HELP)


def add_json(command: argparse.ArgumentParser) -> None:
    """--json."""
    command.add_argument("--json", action="store_true", help="print JSON for programs instead of text for people")


def backbone_of(task: TaskFile, weights: Path | None) -> architecture.Network:
    """The backbone that a mask file names, with its weights.

    Raises:
        ValueError: the file names none, or it cannot be built.
    """
    if not task.backbone["architecture"]:
        raise ValueError("the mask file does not name its architecture; lay it on from Python, with TaskFile.apply")
    wanted = task.preprocessing
    return architecture.build(
        task.backbone["architecture"],
        weights,
        options=task.backbone["options"],
        size=wanted.get("size"),
        mean=_three(wanted.get("mean")),
        std=_three(wanted.get("std")),
    )


def value(text: str) -> Any:
    """Text from the command line as JSON reads it (a number, true, false, null), else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def pair(text: str) -> tuple[str, Any]:
    """NAME=VALUE."""
    name, equals, given = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text!r}")
    return name, value(given)


def _three(values: Any) -> architecture.Values | None:
    if values is None:
        return None
    if not isinstance(values, list | tuple) or len(values) != 3 or not all(isinstance(v, int | float) for v in values):
        raise ValueError(f"mean and std must be three numbers each, the mask file has {values!r}")
    return float(values[0]), float(values[1]), float(values[2])
