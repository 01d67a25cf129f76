"""Images of every profile: rendered characters and digits (smoke, tiny) or folders of pictures (images)."""

from __future__ import annotations

from pathlib import Path

from submasking.learning.images import ImageSet
from submasking.records.names import DATASET_STAND_INS
from submasking.records.places import results_folder
from submasking.records.profiles import profile
from submasking.worlds import cache, characters, folder, glyphs

SOURCE = characters.SOURCE.name  # the task that the stand-ins are pretrained on


def load(profile_name: str, dataset: str, split: str) -> ImageSet:
    """Images of one split of a data set, in the size and number that the profile asks for.

    Args:
        profile_name: name of a profile.
        dataset: one of the paper's data sets, "digits" or "latin"; for profile "images" a folder that
            holds train/<class>/* and test/<class>/*.
        split: "train", "validation" (for choices) or "test".

    Returns:
        uint8 images with labels; what was rendered is kept below the profile's results folder.

    Raises:
        ValueError: for an unknown data set or split; the message lists those there are.
    """
    chosen = profile(profile_name)
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
    task = DATASET_STAND_INS[dataset][0] if dataset in DATASET_STAND_INS else dataset
    if split not in characters.SPLITS:
        raise ValueError(f"split must be one of {', '.join(characters.SPLITS)}; got {split!r}")
    assert count is not None  # only profile images takes all there are
    return rendered(profile_name, task, split, count)


def stand_in(profile_name: str, dataset: str) -> str:
    """What stands in for a data set of the paper, in a sentence; "" where the images are the data set's own."""
    if profile_name == "images" or dataset not in DATASET_STAND_INS:
        return ""
    return DATASET_STAND_INS[dataset][1]


def rendered(profile_name: str, task: str, split: str, count: int) -> ImageSet:
    """`glyphs.render` through the profile's cache: one file per image set, named by the hash of its recipe."""
    chosen = profile(profile_name)
    arguments = (task, split, count, chosen.image_size, chosen.classes)
    path = results_folder(profile_name) / "data" / f"{task}-{split}-{characters.recipe(*arguments)}.safetensors"
    return cache.cached(path, lambda: glyphs.render(*arguments))
