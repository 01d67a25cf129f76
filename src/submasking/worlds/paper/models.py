"""The paper's six networks as backbones: true architectures, published weights."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from submasking.files import weights as files
from submasking.learning.backbone import Backbone
from submasking.tasks.fingerprint import fingerprint
from submasking.worlds.networks import TextTower
from submasking.worlds.paper import remote
from submasking.worlds.paper.places import weights_folder
from submasking.worlds.paper.weights import OPENAI, PROMPT, SIZE, Published, published

BESIDE = ("input_resolution", "context_length", "vocab_size")  # numbers that OpenAI's files hold beside the tensors


SELECTIONS = {"convolutions": "resnet", "name": "faithful"}


def load(
    model: str, *, selection: str = "convolutions", statistics: str = "own", download: bool = True,
    progress: bool = True,
) -> Backbone:  # fmt: skip
    """One of the paper's networks with its published weights.

    Args:
        model: one of `submasking.worlds.paper.weights.NETWORKS`.
        selection: of a ResNet mask the "convolutions" alone, or what the authors' filter by "name" finds: the norms on
            the downsampling path too. Of a transformer it is the same.
        statistics: "own" mean and std of the network, or CLIP's ("clip"), as the authors' code has them for all.
        download: fetch the file if it is not in the folder of weights.
        progress: show that.

    Raises:
        ValueError: an unknown model or choice; a file that is missing, damaged or another's; one line each.
    """
    chosen = published(model)
    _require_choices(selection, statistics)
    path = remote.have(chosen.file, weights_folder(), download=download, progress=progress)
    trunk, tower = networks(model)
    if tower is None:
        _require_signature(chosen, path)
        files.load(trunk, path)
    else:
        _fill(trunk, tower, path)
    backbone = _backbone(model, trunk, tower, selection, statistics)
    return replace(backbone, weights=path.name, fingerprint=fingerprint(trunk.state_dict()))


def untrained(model: str, *, selection: str = "convolutions", statistics: str = "own", seed: int = 0) -> Backbone:
    """The same network with random weights, which needs no file: to count its weights, and to time its steps.

    Raises:
        ValueError: for an unknown model or choice.
    """
    _require_choices(selection, statistics)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _backbone(model, *networks(model), selection, statistics)


def _require_choices(selection: str, statistics: str) -> None:
    choices = (("selection", selection, tuple(SELECTIONS)), ("statistics", statistics, ("own", "clip")))
    for name, value, offered in choices:
        if value not in offered:
            raise ValueError(f"{name} must be one of {', '.join(offered)}; got {value!r}")


def networks(model: str) -> tuple[nn.Module, TextTower | None]:
    """Image network without classifier, and the text tower of a CLIP; with random weights, on torch's default device.

    Raises:
        ValueError: for an unknown model.
    """
    library, _, name = published(model).architecture.partition(":")
    if library == "timm":
        return timm.create_model(name, pretrained=False, num_classes=0), None
    import open_clip

    clip = open_clip.CLIP(**open_clip.get_model_config(name))
    return clip.visual, TextTower(clip)


def _backbone(model: str, trunk: nn.Module, tower: TextTower | None, selection: str, statistics: str) -> Backbone:
    chosen = published(model)
    mean, std = OPENAI if statistics == "clip" else chosen.statistics
    trunk.eval().to(memory_format=torch.channels_last)
    if tower is not None:
        tower.eval().requires_grad_(False)

    def embedded(classes: Sequence[str]) -> Tensor:
        from open_clip.tokenizer import SimpleTokenizer

        assert tower is not None
        length = len(tower.positional_embedding)
        return tower(SimpleTokenizer(context_length=length)([PROMPT.format(name) for name in classes]))

    return Backbone(
        trunk=trunk,
        width=chosen.width,
        preset=SELECTIONS[selection] if chosen.preset == "resnet" else chosen.preset,
        mean=mean,
        std=std,
        size=SIZE,
        name=model,
        architecture=chosen.architecture,
        text=None if tower is None else embedded,
        logit_scale=0.0 if tower is None else float(tower.logit_scale),
        head="linear" if tower is None else "text",
    )


def _require_signature(chosen: Published, path: Path) -> None:
    """Refuse a file without a published hash that lacks what only the right one has."""
    if not chosen.signature:
        return
    shapes = {name.removeprefix("module."): tuple(tensor.shape) for name, tensor in files.read(path).items()}
    for name, shape in chosen.signature:
        if shapes.get(name) != shape:
            raise ValueError(
                f"{path} must be the file published at {chosen.file.address}, which holds {name} {shape}, but it has"
                f" {shapes.get(name, 'none')}; move it away, and it is fetched again"
            )


def _fill(trunk: nn.Module, tower: TextTower, path: Path) -> None:
    """Load both towers from a file of OpenAI's: a TorchScript program, so only after its hash was found right."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch has no other reader of these files
        try:
            tensors = torch.jit.load(path, map_location="cpu").state_dict()
        except RuntimeError as error:
            said = str(error).splitlines()[0]
            raise ValueError(f"{path} must be a file of OpenAI's CLIP ({said}); fetch it again") from error
    names = trunk.state_dict()
    for name, value in tensors.items():
        if name not in BESIDE and not value.isfinite().all():
            raise ValueError(f"{path} must hold finite numbers, {name} has others; fetch it again")
    image = {name: tensors[f"visual.{name}"] for name in names if f"visual.{name}" in tensors}
    text = {name: tensors[name] for name in tower.state_dict() if name in tensors}
    missing = [*(names.keys() - image.keys()), *(tower.state_dict().keys() - text.keys())]
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing:
        raise ValueError(f"{path} must hold this network, but {missing[0]} is missing; check the file's name")
    trunk.load_state_dict(image, strict=False)
    tower.load_state_dict(text)
