"""Runs as networks again: their masks from the files, their trainings once more, each of which leaves one file."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from submasking.experiments import methods
from submasking.experiments.analyses.forms import norm_statistics
from submasking.experiments.run import Run
from submasking.files import identity, store
from submasking.learning.backbone import Backbone
from submasking.learning.batches import as_float
from submasking.learning.evaluate import features
from submasking.learning.images import ImageSet
from submasking.learning.probe import linear_probe
from submasking.masking.norms import recalibrate
from submasking.records.places import results_folder
from submasking.records.profiles import profile
from submasking.tasks import maskfile
from submasking.tasks.fingerprint import fingerprint

Masks = dict[str, Bool[Tensor, "..."]]
Tensors = dict[str, Tensor]
BATCH = 256  # images at once where norm statistics are taken


def same_backbone(first: Run, second: Run) -> bool:
    """Whether two runs of one model start from the same weights; seeds take a profile's backbones by turns."""
    return bool(first.recipe()["pretraining"] == second.recipe()["pretraining"])


def masks_of(task: Run) -> Masks:
    """The masks that a run has left, true where a weight is on.

    Raises:
        MaskFileError: the file is missing or damaged.
    """
    return maskfile.load(task.mask_file).masks(dict(methods.backbone_of(task).trunk.named_parameters()))


def weights_of(task: Run, masks: Masks) -> Tensors:
    """The frozen weights that masks cover."""
    return {name: methods.backbone_of(task).trunk.get_parameter(name).detach() for name in masks}


def masked(task: Run, masks: Masks) -> list[str]:
    """Names of the masked parameters in the order of the network."""
    return [name for name, _ in methods.backbone_of(task).trunk.named_parameters() if name in masks]


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
        store.save(file, make(), {})
    # read back, as an analysis that goes on reads it: how a tensor lies in memory decides the order of a sum
    return store.read(file)[0]


def probed(task: Run, masks: Masks) -> Int[Tensor, " n"]:
    """Class of each test image by a linear probe on a run's backbone under masks, kept like a training.

    The statistics of the norms are those of the run's own training images, unaugmented.

    Args:
        task: whose backbone and images.
        masks: by parameter name; none leaves the weights as they are.
    """
    train, test = (methods.images_of(task, split) for split in ("train", "test"))
    how = profile(task.profile).probe(task.model)

    def make() -> Tensors:
        bank, queries = _features(methods.backbone_of(task), masks, train, test)
        return {"classes": linear_probe(bank, train.labels, queries, **how)[0]}

    return once(task, {"probe": fingerprint(masks)} | how, make)["classes"]


def _features(backbone: Backbone, masks: Masks, train: ImageSet, test: ImageSet) -> tuple[Tensor, Tensor]:
    trunk = copy.deepcopy(backbone.trunk)
    with torch.no_grad():
        for name, mask in masks.items():
            trunk.get_parameter(name).mul_(mask)
    settle(trunk, backbone, train)
    return features(trunk, train, backbone.normalise), features(trunk, test, backbone.normalise)


def settle(trunk: nn.Module, backbone: Backbone, images: ImageSet) -> None:
    """Give norms that have statistics the mean ones over batches of the images."""
    if norm_statistics(trunk):
        parts = [part for part in images.images.split(BATCH) if len(part) > 1]  # one image has no spread
        recalibrate(trunk, (backbone.normalise(as_float(part)) for part in parts))


def learn(task: Run, **others: Any) -> methods.Adapted:
    """Train a run of a method with labels once more, on other images or from other masks where they are told.

    Args:
        task: the run.
        others: `images` to see instead of its own; the rest as in `methods.learn`.
    """
    images = others.pop("images", None)
    train = methods.images_of(task, "train") if images is None else images
    train = train.subset(methods.with_labels(task, train, task.labels))  # in the order of the grid's own training
    return methods.learn(task, methods.backbone_of(task), train, False, checkpoint=None, **others)
