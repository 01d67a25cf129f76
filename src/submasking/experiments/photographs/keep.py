"""One study as a record: what was run on what, where, and everything that came out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from submasking.experiments.photographs import study
from submasking.experiments.photographs.trials import Place, Settings
from submasking.experiments.run import identity_of
from submasking.files import identity
from submasking.records import photographs
from submasking.records.surroundings import surroundings

ONCE = ("labels", "test")  # the same for every training that is judged


def record(
    settings: Settings,
    ways: str = "main",
    shares: tuple[float, ...] = (),
    *,
    curves: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Run a study, or read what is done of it.

    Args:
        settings: of the study.
        ways: see `submasking.experiments.photographs.study.run`.
        shares: see there.
        curves: also train at the same rates by masks and by fine-tuning.
        progress: see there.

    Returns:
        What `submasking.records.photographs.write` keeps.
    """
    found = study.run(settings, ways, shares, progress=progress)
    same = study.curves(settings, progress=progress) if curves else {}
    place = Place(settings)
    train, test = place.images("test")
    once = {field: found[0][field] for field in ONCE}
    if odd := [entry["way"] for entry in found if {field: entry[field] for field in ONCE} != once]:
        raise ValueError(f"every way must be judged on the same images, {odd[0]} was not; move the study's folder away")
    return {
        "name": Path(settings.data).resolve().name,
        "model": settings.model,
        "settings": asdict(settings) | {"data": "", "weights": Path(settings.weights).name},
        "data": {
            "classes": len(train.classes), "train": len(train), "test": len(test),
            "identity": identity.short(identity_of("images", settings.data, settings.weights)),
        },
        "backbone": {"architecture": place.backbone.architecture, "fingerprint": place.backbone.fingerprint},
        "judged": once,
        "found": [_without(entry) for entry in found],
        "curves": same,
        "alike": study.alike(settings, found),
    } | surroundings()  # fmt: skip


def _without(entry: dict[str, Any]) -> dict[str, Any]:
    """A training without what stands once for all, and of other seeds than the first without what it did to layers."""
    left = {field: value for field, value in entry.items() if field not in ONCE}
    if "why" in left and entry["seed"]:
        left["why"] = {field: value for field, value in left["why"].items() if field != "layers"}
    return left


def keep(folder: Path, study_record: dict[str, Any]) -> Path:
    """Write a study below a folder; returns its file."""
    path = photographs.place(folder, study_record["model"], study_record["name"])
    photographs.write(path, study_record)
    return path
