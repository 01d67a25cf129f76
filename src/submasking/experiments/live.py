"""Keep what the book's live page shows: one backbone, the mask files of a few tasks on it, and test images of these.

The backbone is stored bit for bit, its numbers coded as those of a mask file are; the mask files are the grid's own.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from submasking.files import atomic
from submasking.records.names import DATASET_STAND_INS
from submasking.records.places import LIVE, results_folder
from submasking.records.results import record_path
from submasking.tasks import container, maskfile, packing
from submasking.worlds import backbones, datasets

PROFILE, MODEL, METHOD, SEED = "tiny", "rn50-timm", "FS", 0  # of the small ResNets one whose weights stay below 2 MB
TASKS = ("cifar10", "cifar100", "oxfordpets", "dtd", "eurosat")  # three sets of written characters, two of pictures
IMAGES = 12  # of each task: the first of its test set
BACKBONE, SHOWN = "backbone", "images"


def keep(folder: Path = LIVE) -> None:
    """Write backbone, images and mask files to a folder.

    Raises:
        ValueError: a mask file is missing, or belongs to another backbone.
    """
    made = backbones.load(MODEL, PROFILE, seed=SEED, progress=False)
    state = dict(made.trunk.state_dict())
    for dataset in TASKS:
        source = results_folder(PROFILE) / "masks" / _mask(dataset)
        maskfile.load(source).require(state)
        with atomic.replacing(folder / f"{dataset}.safetensors") as part:
            shutil.copyfile(source, part)
    described = {"architecture": made.architecture, "fingerprint": made.fingerprint, "state": packing.listed(state)}
    _write(folder / f"{BACKBONE}.safetensors", described, packing.packed(state))
    sets = {dataset: datasets.load(PROFILE, dataset, "test", SEED) for dataset in TASKS}
    shown = {dataset: chosen.images[:IMAGES] for dataset, chosen in sets.items()}
    tasks = [
        {"name": dataset, "stand_in": DATASET_STAND_INS[dataset][0], "labels": chosen.labels[:IMAGES].tolist()}
        for dataset, chosen in sets.items()
    ]
    _write(folder / f"{SHOWN}.safetensors", {"tasks": tasks, "images": packing.listed(shown)}, packing.packed(shown))


def _mask(dataset: str) -> Path:
    return record_path(MODEL, dataset, METHOD, 100, SEED).with_suffix(".safetensors")


def _write(path: Path, described: Mapping[str, object], values: bytes) -> None:
    container.write(path, described, {"values": values})
