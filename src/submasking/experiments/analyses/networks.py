"""Runs as networks again: their masks from the files, their trainings once more, each of which leaves one file."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from submasking.experiments import methods
from submasking.experiments.run import Run
from submasking.files import identity, store
from submasking.learning.backbone import Backbone
from submasking.learning.batches import as_float
from submasking.learning.evaluate import features
from submasking.learning.images import ImageSet
from submasking.learning.probe import linear_probe
from submasking.records.places import results_folder
from submasking.tasks import maskfile
from submasking.tasks.fingerprint import fingerprint
from submasking.worlds import backbones, datasets

Masks = dict[str, Bool[Tensor, "..."]]
Tensors = dict[str, Tensor]
BATCH = 256  # images at once where norm statistics are taken


def backbone_of(task: Run) -> Backbone:
    """The pretrained network that a run adapts."""
    return _loaded(task.model, task.profile, task.seed)


def images_of(task: Run, split: str) -> ImageSet:
    """The images "train" or "test" of a run."""
    return _read(task.profile, task.dataset, split, task.seed if split == "train" else 0)


def same_backbone(first: Run, second: Run) -> bool:
    """Whether two runs of one model start from the same weights; seeds take a profile's backbones by turns."""
    return bool(first.recipe()["pretraining"] == second.recipe()["pretraining"])


def masks_of(task: Run) -> Masks:
    """The masks that a run has left, true where a weight is on.

    Raises:
        MaskFileError: the file is missing or damaged.
    """
    return maskfile.load(task.mask_file).masks(dict(backbone_of(task).trunk.named_parameters()))


def weights_of(task: Run, masks: Masks) -> Tensors:
    """The frozen weights that masks cover."""
    return {name: backbone_of(task).trunk.get_parameter(name).detach() for name in masks}


def masked(task: Run, masks: Masks) -> list[str]:
    """Names of the masked parameters in the order of the network."""
    return [name for name, _ in backbone_of(task).trunk.named_parameters() if name in masks]


def once(task: Run, how: Mapping[str, Any], make: Callable[[], Tensors]) -> Tensors:
    """What a training beside the grid's has left, read where its file is there, else made and stored.

    Args:
        task: whose recipe it has.
        how: what else decides what comes out; plain values.
        make: trains, and returns what is to be kept.
    """
    told = identity.short({"recipe": task.recipe(), "how": dict(how)})
    file = results_folder(task.profile) / "analyses" / task.record.with_suffix(f".{told}.safetensors")
    try:
        return store.read(file)[0]
    except ValueError:  # not there, or damaged
        made = make()
    store.save(file, made, {})
    return made


def probed(task: Run, masks: Masks) -> Int[Tensor, " n"]:
    """Class of each test image by a linear probe on a run's backbone under masks, kept like a training.

    The statistics of the norms are those of the run's own training images, unaugmented.

    Args:
        task: whose backbone and images.
        masks: by parameter name; none leaves the weights as they are.
    """
    train, test = (images_of(task, split) for split in ("train", "test"))

    def make() -> Tensors:
        bank, queries = _features(backbone_of(task), masks, train, test)
        return {"classes": linear_probe(bank, train.labels, queries)[0]}

    return once(task, {"probe": fingerprint(masks)}, make)["classes"]


def _features(backbone: Backbone, masks: Masks, train: ImageSet, test: ImageSet) -> tuple[Tensor, Tensor]:
    trunk = copy.deepcopy(backbone.trunk)
    with torch.no_grad():
        for name, mask in masks.items():
            trunk.get_parameter(name).mul_(mask)
        _settle(trunk, backbone, train)
    return features(trunk, train, backbone.normalise), features(trunk, test, backbone.normalise)


def _settle(trunk: nn.Module, backbone: Backbone, images: ImageSet) -> None:
    """Give batch norms the mean statistics over batches of the images."""
    norms = [module for module in trunk.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # each batch counts alike
    trunk.train()
    for batch in images.images.split(BATCH) if norms else ():
        if len(batch) > 1:
            trunk(backbone.normalise(as_float(batch)))


# kept, since a question goes through the same sets again and again
@lru_cache(maxsize=4)
def _loaded(model: str, profile_name: str, seed: int) -> Backbone:
    return backbones.load(model, profile_name, seed=seed)


@lru_cache(maxsize=32)
def _read(profile_name: str, dataset: str, split: str, seed: int) -> ImageSet:
    return datasets.load(profile_name, dataset, split, seed)


def learn(task: Run, **others: Any) -> methods.Adapted:
    """Train a run of a method with labels once more, on other images or from other masks where they are told.

    Args:
        task: the run.
        others: `images` to see instead of its own; the rest as in `methods.learn`.
    """
    images = others.pop("images", None)
    train = images_of(task, "train") if images is None else images
    train = train.subset(methods.with_labels(task, train, task.labels))  # in the order of the grid's own training
    return methods.learn(task, backbone_of(task), train, False, checkpoint=None, **others)
