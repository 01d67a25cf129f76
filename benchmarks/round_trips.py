"""Every mask file of a finished grid, read in fresh processes: `python -m benchmarks round_trips`.

A file must give masks that code to the same bits again, the same outputs of the network in two processes, bit for bit,
and where it has a head the very accuracy that the run wrote into its record when the mask was still in training.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.process import fresh
from submasking.learning.evaluate import features, top1
from submasking.records import places, results
from submasking.tasks import codec, maskfile
from submasking.worlds import backbones
from submasking.worlds import datasets as data

PROFILE = "tiny"
OUTPUTS = "outputs"


class NoGridError(Exception):
    """There is no finished grid to read."""


def folder(profile: str = PROFILE) -> Path:
    """Where the mask files of a profile's grid lie."""
    return places.results_folder(profile) / "masks"


def models(profile: str = PROFILE) -> list[str]:
    """Models of which there are mask files.

    Raises:
        NoGridError: there are none.
    """
    masks = folder(profile)
    found = sorted(path.name for path in masks.iterdir() if path.is_dir()) if masks.is_dir() else []
    if not found:
        raise NoGridError(f"mask files of profile {profile} are needed in {masks}, there are none; run make grid first")
    return found


def measure(profile: str = PROFILE) -> list[dict[str, Any]]:
    """Return a row for each model: files, and how many of them pass each of the three tests."""
    rows = []
    for model in models(profile):
        first, second = (fresh("benchmarks.round_trips", profile, model, *only) for only in ((), (OUTPUTS,)))
        judged = [found for found in first.values() if found["recorded"] is not None]
        rows.append(
            {
                "model": model,
                "files": len(first),
                "weights": sum(found["weights"] for found in first.values()),
                "same_bits": sum(found["same_bits"] for found in first.values()),
                "same_outputs": sum(first[name]["outputs"] == second[name]["outputs"] for name in first),
                "with_head": len(judged),
                "same_top1": sum(found["top1"] == found["recorded"] for found in judged),
            }
        )
    return rows


def read(profile: str, model: str, only: str = "") -> dict[str, dict[str, Any]]:
    """What each mask file of a model gives in this process; `OUTPUTS` only, or coded once more too."""
    masks = folder(profile)
    return {
        path.relative_to(masks).as_posix(): _one(profile, model, path, masks, only)
        for path in sorted((masks / model).rglob("*.safetensors"))
    }


def _one(profile: str, model: str, path: Path, masks_folder: Path, only: str) -> dict[str, Any]:
    seed = int(path.stem.rpartition("-seed")[2])
    backbone = backbones.load(model, profile, seed=seed)
    task = maskfile.load(path)
    masking = task.apply(backbone.trunk.eval())
    masks, frozen = masking.masks(), masking.frozen()
    again = masks if only == OUTPUTS else codec.decode(codec.encode(masks, frozen), frozen)
    test = data.load(profile, path.parent.name, "test")
    outputs, top = features(backbone.trunk, test, backbone.normalise), None
    if head := task.head(backbone.text_head):
        with torch.inference_mode():
            outputs = head(outputs)
        top = top1(outputs, test.labels)
    record = results.read_one((masks_folder.parent / "records" / path.relative_to(masks_folder)).with_suffix(".json"))
    return {
        "weights": sum(mask.numel() for mask in masks.values()),
        "same_bits": all(torch.equal(again[name], masks[name]) for name in masks),
        "outputs": hashlib.sha256(outputs.numpy().tobytes()).hexdigest(),
        "top1": top,
        "recorded": record.metrics.get("top1"),
    }


if __name__ == "__main__":
    print(json.dumps(read(*sys.argv[1:])))
