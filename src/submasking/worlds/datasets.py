"""Images of every profile: the embedded world (smoke, tiny), folders of pictures (images), or the paper's sets."""

from __future__ import annotations

from pathlib import Path

from submasking.learning.images import ImageSet
from submasking.records.names import DATASET_STAND_INS
from submasking.records.places import results_folder
from submasking.records.profiles import profile
from submasking.worlds import cache, digits, folder, glyphs, patches, sets
from submasking.worlds.paper.data import load as published

SOURCE = sets.SOURCE.name  # the set that the stand-ins are pretrained on


def load(profile_name: str, dataset: str, split: str, seed: int = 0) -> ImageSet:
    """Images of one split of a data set, in the size and number that the profile asks for.

    Args:
        profile_name: name of a profile.
        dataset: one of the paper's data sets, "digits" or "latin"; for profile "images" a folder that
            holds train/<class>/* and test/<class>/*.
        split: "train", "validation" (for choices) or "test"; of the paper's own sets also "bank", the training images
            as they are judged, not as they are trained on, which elsewhere are the same.
        seed: which draw of training images; of a folder there is one, and the other splits are always the same.

    Returns:
        uint8 images with labels; what was rendered is kept below the profile's results folder.

    Raises:
        ValueError: for an unknown data set or split; the message lists those there are.
    """
    chosen = profile(profile_name)
    if chosen.protocol is not None:
        return published.load(dataset, "train", how="centre") if split == "bank" else published.load(dataset, split)
    split = chosen.evaluated_on if split == "test" else split
    count = chosen.train_images if split == "train" else chosen.test_images
    if profile_name == "images":
        return folder.load(Path(dataset), split, chosen.image_size, count)
    if dataset == SOURCE:
        count = chosen.pretraining["images"] if split == "train" else count
    elif dataset not in DATASET_STAND_INS and dataset != "digits":
        raise ValueError(
            f"dataset must be one of {', '.join(DATASET_STAND_INS)}, digits or {SOURCE}; got {dataset!r} "
            "(a folder of your own needs profile images)"
        )
    name = DATASET_STAND_INS[dataset][0] if dataset in DATASET_STAND_INS else dataset
    sets.check(name, split)
    assert count is not None  # only profile images takes all there are
    path = results_folder(profile_name) / "data"
    described = sets.recipe(name, split, count, chosen.image_size, chosen.classes, seed)
    return cache.cached(
        path / f"{name}-{split}-{described}.safetensors",
        lambda: render(name, split, count, chosen.image_size, chosen.classes, seed),
    )


def render(name: str, split: str, count: int, size: int, limit: int | None = None, seed: int = 0) -> ImageSet:
    """Make images of the embedded world; the same arguments give the same images.

    Args:
        name: a name of `submasking.worlds.sets.BY_NAME`.
        split: "train", "validation" or "test".
        count: number of images; a set of real images has fewer where its split does.
        size: side of an image in pixels.
        limit: use the first classes only.
        seed: of the training images.

    Raises:
        ValueError: for an unknown set or split.
    """
    chosen = sets.check(name, split)
    if isinstance(chosen, sets.Characters):
        return glyphs.render(chosen, split, count, size, limit, seed)
    if isinstance(chosen, sets.Digits):
        return digits.render(chosen, split, count, size, limit, seed)
    return patches.render(chosen, split, count, size, limit, seed)


def stand_in(profile_name: str, dataset: str) -> str:
    """What stands in for a data set of the paper, in a sentence; "" where the images are the data set's own."""
    if profile(profile_name).photographs or dataset not in DATASET_STAND_INS:
        return ""
    return DATASET_STAND_INS[dataset][1]
