"""The study of photographs as its records know it: the ways to fit a network, and one file for each network and folder.

A study's file holds the settings, what was tried on validation images, and each training that was judged on the test
images with its predictions, so that every number of a page can be made again from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from submasking.files import atomic
from submasking.records.names import SELF_SUPERVISED

Found = dict[str, Any]
SCHEMA = 1
PROBE = "LP"
RIVAL = "FFT late"


class Way(NamedTuple):
    """A way to fit a network to photographs.

    Attributes:
        method: "LP", what `submasking.learning.adapt.adapt` calls it, or one of `RIVALS`.
        late: whether only the late stages learn.
        rate: the learning rate that is tried first; of the probe its decay; 0 where no rate is chosen.
        power: masks start from this power of the size of each weight; None draws scores at random (Kaiming).
        density: share of each tensor's weights that stays on, whatever the scores; None lets the scores decide.
        rescale: see `submasking.masking.masks.mask`.
        pointwise: depth-wise convolutions are not masked.
        norms: whether norm statistics "adapt" or stay as they are ("freeze").
        said: what it is, for a table.
    """

    method: str
    late: bool
    rate: float
    power: float | None = 0.0
    density: float | None = None
    rescale: str = "none"
    pointwise: bool = False
    norms: str = "adapt"
    said: str = ""


WAYS = {
    PROBE: Way(PROBE, False, 100.0, said="linear probe of the untouched network"),
    "norms late": Way("FS-none", True, 0.0, said="head and norm statistics, no mask"),
    RIVAL: Way("FFT", True, 0.1, said="fine-tuning of the late stages"),
    "FS late": Way("FS", True, 30.0, said="masks, the scores start from 1, as in the paper"),
    "FS-power0.5 late": Way("FS", True, 10.0, 0.5, said="masks, scores from the root of the size"),
    "FS-power1 late": Way("FS", True, 3.0, 1.0, said="masks, scores from the size"),
    "FS-power1.5 late": Way("FS", True, 1.0, 1.5, said="masks, scores from the size to the power 1.5"),
    "FS-squared late": Way("FS", True, 0.3, 2.0, said="masks, scores from the square"),
    "FS-power3 late": Way("FS", True, 0.03, 3.0, said="masks, scores from the cube"),
    "FFT-held late": Way("FFT", True, 0.003, norms="freeze", said="fine-tuning, norm statistics held"),
    "FS-held late": Way("FS", True, 0.01, norms="freeze", said="masks from a constant, norm statistics held"),
    "FS-squared-held late": Way("FS", True, 0.003, 2.0, norms="freeze", said="from the square, norm statistics held"),
    "FS-pointwise late": Way("FS", True, 30.0, pointwise=True, said="as FS, depth-wise kernels not masked"),
    "FS-squared-pointwise late": Way("FS", True, 0.3, 2.0, pointwise=True, said="as squared, depth-wise not masked"),
    "FS-rescaled late": Way("FS", True, 30.0, rescale="variance", said="as FS, weights rescaled"),
    "FS-squared-rescaled late": Way("FS", True, 0.3, 2.0, rescale="variance", said="as squared, weights rescaled"),
    "top-50% late": Way("FS", True, 1.0, None, 0.5, said="random scores, the better half stays on"),
    "FS-squared-top-90% late": Way("FS", True, 0.3, 2.0, 0.9, said="as squared, 90 % of each tensor stay on"),
    "FS-squared-top-70% late": Way("FS", True, 0.3, 2.0, 0.7, said="as squared, 70 % of each tensor stay on"),
    "norm weights late": Way("norms", True, 0.3, said="scales and shifts of norms alone, and statistics"),
    "biases late": Way("biases", True, 0.3, said="biases alone (BitFit)"),
    "LoRA late": Way("LoRA", True, 0.1, said="factors of rank 4 beside each layer but depth-wise ones (LoRA)"),
    "SSM late": Way("SSM", True, 60.0, said="masks without labels, then a probe"),
    "SSM-squared late": Way("SSM", True, 1.0, 2.0, said="as SSM, scores from the square"),
    "SSFT late": Way("SSFT", True, 0.1, said="fine-tuning without labels, then a probe"),
    "FFT all": Way("FFT", False, 0.03, said="fine-tuning of all weights"),
    "FS all": Way("FS", False, 3.0, said="masks of all layers, as in the paper"),
    "FS-squared all": Way("FS", False, 0.1, 2.0, said="masks of all layers, scores from the square"),
}
MAIN = (PROBE, RIVAL, "FS late", "FS-squared late", "FFT all", "FS all", "FS-squared all")
RIVALS = ("norms", "biases", "LoRA")  # little that learns beside, or instead of, a mask
POWERS = {
    0.0: "FS late", 0.5: "FS-power0.5 late", 1.0: "FS-power1 late", 1.5: "FS-power1.5 late", 2.0: "FS-squared late",
    3.0: "FS-power3 late",
}  # fmt: skip
FEW = (PROBE, RIVAL, "FS late", "FS-squared late")  # what few labels are tried with
UNLABELLED = tuple(name for name, way in WAYS.items() if way.method in SELF_SUPERVISED)  # one training for all shares
GROUPS = {
    "main": MAIN,
    "late": (PROBE, "norms late", RIVAL, "FS late", "FS-power1 late", "FS-squared late"),
    "held": ("FFT-held late", "FS-held late", "FS-squared-held late"),
    "choices": (
        "FS-pointwise late",
        "FS-squared-pointwise late",
        "FS-rescaled late",
        "FS-squared-rescaled late",
        "top-50% late",
        "FS-squared-top-90% late",
        "FS-squared-top-70% late",
    ),
    "rivals": tuple(name for name, way in WAYS.items() if way.method in RIVALS),
    "unlabelled": UNLABELLED,
    "all": tuple(name for name in WAYS if name not in UNLABELLED),
}


def chosen(ways: str) -> tuple[str, ...]:
    """Names of ways, in the order of `WAYS`, from names of groups and ways split by commas.

    The probe and fine-tuning of the late stages are always among them: all others are compared with these.

    Raises:
        ValueError: a name that is no way and no group.
    """
    asked = {name for given in ways.split(",") for name in GROUPS.get(given.strip(), (given.strip(),))}
    if unknown := asked - set(WAYS):
        raise ValueError(
            f"ways must be {', '.join(GROUPS)}, or names, split by commas; got {min(unknown)!r}; there are"
            f" {', '.join(WAYS)}"
        )
    return tuple(name for name in WAYS if name in asked | {PROBE, RIVAL})


def place(folder: Path, model: str, name: str) -> Path:
    """File of the study of a network on a folder of photographs."""
    return folder / model / f"{name}.json"


def write(path: Path, study: Found) -> None:
    """Keep a study."""
    atomic.write(path, json.dumps(study | {"schema": SCHEMA}, indent=1) + "\n")


def read(folder: Path) -> list[Found]:
    """All studies below a folder, in the order of their paths.

    Raises:
        ValueError: a file that is no study of this form.
    """
    return [study(path) for path in sorted(folder.glob("*/*.json"))]


def study(path: Path) -> Found:
    """The study of a file; ValueError where it is none of this form."""
    stat = path.stat()
    return _parsed(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _parsed(path: Path, time: int, size: int) -> Found:
    """A study, read once for as long as its file stays as it is: a page asks for hundreds of its numbers."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        fits = found["schema"] == SCHEMA and {"name", "model", "settings", "found"} <= set(found)
    except (ValueError, KeyError, TypeError, RecursionError):
        fits = False
    if not fits:
        raise ValueError(f"{path} must be a study of photographs of form {SCHEMA}; make it again, or take it away")
    return found


def runs(found: Iterable[Found], way: str, share: float = 100.0) -> list[Found]:
    """The trainings of a way that saw a share of the labels, in percent."""
    return [entry for entry in found if entry["way"] == way and entry["share"] == share]
