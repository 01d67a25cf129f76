"""One study as a record: what was run on what, where, and everything that came out."""

from __future__ import annotations

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
    before: dict[str, Any] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Run a study, or read what is done of it.

    Args:
        settings: of the study.
        ways: see `submasking.experiments.photographs.study.run`.
        shares: see there.
        curves: also train at the same rates by masks and by fine-tuning.
        before: the record of the same study, to which is added what it lacks; what it has stays as it is.
        progress: see there.

    Returns:
        What `submasking.records.photographs.write` keeps.

    Raises:
        ValueError: see `submasking.experiments.photographs.study.run`; or `before` is another study.
    """
    place = Place(settings)
    train, test = place.images("test")
    told = _identity(settings, place, len(train.classes), len(train), len(test))
    if before is not None and (other := [field for field in told if before[field] != told[field]]):
        raise ValueError(
            f"a record must be of the same study to be added to; {_apart(other[0], before, told)}: move that record"
            " away, set SUBMASKING_RESULTS to another folder, or use its settings"
        )
    kept = [] if before is None else before["found"]
    known = {(entry["way"], entry["share"]) for entry in kept}
    found = study.run(settings, ways, shares, known=known, progress=progress)
    same = study.curves(settings, progress=progress) if curves and not (before and before["curves"]) else {}
    if before is not None and not found and not same:
        return before
    once = {field: found[0][field] for field in ONCE} if before is None else before["judged"]
    if odd := [entry["way"] for entry in found if {field: entry[field] for field in ONCE} != once]:
        raise ValueError(f"every way must be judged on the same images, {odd[0]} was not; move the study's folder away")
    new = [_without(entry) for entry in found]
    drawn = {(entry["way"], entry["share"]) for entry in new}
    stay = [entry for entry in kept if (entry["way"], entry["share"]) not in drawn]
    made = {
        "judged": once,
        "found": sorted(stay + new, key=_place),
        "curves": same or (before["curves"] if before else {}),
        "alike": (before["alike"] if before else []) + study.alike(settings, found),
    }
    if before is not None:
        machine = {field: before[field] for field in surroundings()}
        made["earlier"] = [*before.get("earlier", []), machine | {"ways": sorted({entry["way"] for entry in stay})}]
    return told | made | surroundings()


def _apart(field: str, before: dict[str, Any], now: dict[str, Any]) -> str:
    """In words: how two records differ in a field, or in an entry of that field."""
    was, told = before[field], now[field]
    if not (isinstance(was, dict) and isinstance(told, dict)):
        return f"its {field} was {was!r} and is {told!r}"
    entry = next(entry for entry in was | told if was.get(entry) != told.get(entry))
    return f"{entry} of its {field} was {was.get(entry, '')!r} and is {told.get(entry, '')!r}"


def _identity(settings: Settings, place: Place, classes: int, train: int, test: int) -> dict[str, Any]:
    """What makes two studies the same, as the record has it."""
    return {
        "name": Path(settings.data).resolve().name,
        "model": settings.model,
        "settings": settings.told | {"data": "", "weights": Path(settings.weights).name},
        "data": {
            "classes": classes, "train": train, "test": test,
            "identity": identity.short(identity_of("images", settings.data, settings.weights)),
        },
        "backbone": {"architecture": place.backbone.architecture, "fingerprint": place.backbone.fingerprint},
    }  # fmt: skip


def _place(entry: dict[str, Any]) -> tuple[float, int, int]:
    """Where a training stands: all labels first, then by seed, in the order of the ways."""
    return -entry["share"], entry["seed"], list(photographs.WAYS).index(entry["way"])


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
