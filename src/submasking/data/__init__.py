"""Images of every profile: rendered characters and digits (smoke, tiny) or folders of pictures (images)."""

from __future__ import annotations

from pathlib import Path

from submasking import profiles, results
from submasking.data import augment, folder, glyphs, store
from submasking.data.images import ImageSet

__all__ = ["SOURCE", "STAND_INS", "ImageSet", "augment", "folder", "glyphs", "load", "stand_in"]

SOURCE = "latin"
# The paper's data sets, each with the task that takes its place in the embedded world.
STAND_INS = {
    "cifar10": (
        "digits",
        "1,797 real handwritten digits (UCI, 10 classes) in random colours: few classes, easy, as in CIFAR-10",
    ),
    "cifar100": (
        "cyrillic",
        "Cyrillic letters (64 classes): near relatives of the source task's letters, many more classes than digits",
    ),
    "dtd": ("box", "box drawing characters (128 classes): crossing strokes as the nearest thing to textures"),
    "eurosat": ("blocks", "block elements (32 classes): flat areas and shades, as fields seen from above"),
    "flowers": ("shapes", "geometric shapes (96 classes): symmetric forms, told apart by inner detail"),
    "oxfordpets": ("armenian", "Armenian capitals (38 classes): one kind of thing in look-alike breeds"),
    "sun397": ("arrows", "arrows (112 classes): far from the source task, the hardest of the eight"),
    "ucf101": ("operators", "mathematical operators (86 classes): compositions of a few simple parts"),
}


def load(profile: str, dataset: str, split: str) -> ImageSet:
    """Images of one split of a data set, in the size and number that the profile asks for.

    Args:
        profile: name of a profile.
        dataset: one of the paper's data sets, "digits" or "latin"; for profile "images" a folder that
            holds train/<class>/* and test/<class>/*.
        split: "train", "validation" (for choices) or "test".

    Returns:
        uint8 images with labels; what was rendered is kept below the profile's results folder.

    Raises:
        ValueError: for an unknown data set or split; the message lists those there are.
    """
    chosen = profiles.profile(profile)
    split = chosen.evaluated_on if split == "test" else split
    count = chosen.train_images if split == "train" else chosen.test_images
    if profile == "images":
        return folder.load(Path(dataset), split, chosen.image_size, count)
    if dataset == SOURCE:
        count = chosen.pretraining["images"] if split == "train" else count
    elif dataset not in STAND_INS and dataset != "digits":
        raise ValueError(
            f"dataset must be one of {', '.join(STAND_INS)}, digits or {SOURCE}; got {dataset!r} "
            "(a folder of your own needs profile images)"
        )
    task = STAND_INS[dataset][0] if dataset in STAND_INS else dataset
    if split not in glyphs.SPLITS:
        raise ValueError(f"split must be one of {', '.join(glyphs.SPLITS)}; got {split!r}")
    assert count is not None  # only profile images takes all there are
    return rendered(profile, task, split, count)


def stand_in(profile: str, dataset: str) -> str:
    """What stands in for a data set of the paper, in a sentence; "" where the images are the data set's own."""
    if profile == "images" or dataset not in STAND_INS:
        return ""
    return STAND_INS[dataset][1]


def rendered(profile: str, task: str, split: str, count: int) -> ImageSet:
    """`glyphs.render` through the profile's cache: one file per image set, named by the hash of its recipe."""
    chosen = profiles.profile(profile)
    arguments = (task, split, count, chosen.image_size, chosen.classes)
    path = results.results_folder(profile) / "data" / f"{task}-{split}-{glyphs.recipe(*arguments)}.safetensors"
    return store.cached(path, lambda: glyphs.render(*arguments))
