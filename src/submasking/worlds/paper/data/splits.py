"""CoOp's split files: which picture is for training and which for testing, its label, and the name of its class."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from submasking.worlds.paper.data.catalogue import Published

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Listing:
    """Pictures of one split.

    Attributes:
        pictures: path of each below the folder of pictures, in the file's order.
        labels: of each, in [0, number of classes).
        classes: name of each class, as a prompt has it.
    """

    pictures: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]


def read(path: Path, chosen: Published, split: str) -> Listing:
    """The pictures of one split; the paper's "train" is the file's train, then its val.

    Args:
        path: a file `split_zhou_*.json`: by part a list of [path, label, name of the class].
        chosen: what was published of the data set, which the file must agree with.
        split: "train" or "test".

    Raises:
        ValueError: the file is damaged, or not this data set's; in one line.
    """
    parts = _parts(path)
    for part, wanted in zip(PARTS, (chosen.train, chosen.val, chosen.test), strict=True):
        if len(parts[part]) != wanted:
            raise _refused(path, f"its {part} must have {wanted:,} pictures, it has {len(parts[part]):,}")
    names = _names(path, [entry for part in PARTS for entry in parts[part]], chosen.classes)
    entries = parts["train"] + parts["val"] if split == "train" else parts["test"]
    return Listing(
        pictures=tuple(entry[0] for entry in entries),
        labels=tuple(entry[1] for entry in entries),
        classes=tuple(caption(names[label]) for label in range(chosen.classes)),
    )


def caption(name: str) -> str:
    """A class's name as a prompt has it: Apply_Eye_Makeup becomes apply eye makeup."""
    return " ".join(name.replace("_", " ").split()).lower()


def _parts(path: Path) -> dict[str, list[tuple[str, int, str]]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {part: [_entry(entry) for entry in content[part]] for part in PARTS}
    except (ValueError, KeyError, TypeError, RecursionError) as error:  # also of a file that is cut off, or no text
        said = " ".join(str(error).split())[:100]
        raise _refused(path, f"it must hold train, val and test, lists of [path, label, name] ({said})") from error


def _entry(entry: Any) -> tuple[str, int, str]:
    picture, label, name = entry
    inside = isinstance(picture, str) and picture and "\\" not in picture
    if not inside or PurePosixPath(picture).is_absolute() or ".." in PurePosixPath(picture).parts:
        raise ValueError(f"{picture!r} is no path below the folder of pictures")
    if type(label) is not int or not isinstance(name, str):
        raise ValueError(f"{label!r} and {name!r} are no label and name")
    return picture, label, name


def _names(path: Path, entries: list[tuple[str, int, str]], classes: int) -> dict[int, str]:
    """Name of each class; every class has one, and every picture is there once."""
    names: dict[int, str] = {}
    seen: set[str] = set()
    for picture, label, name in entries:
        if picture in seen:
            raise _refused(path, f"{picture} is in it twice")
        seen.add(picture)
        if names.setdefault(label, name) != name:
            raise _refused(path, f"class {label} has two names, {names[label]} and {name}")
    if sorted(names) != list(range(classes)):
        raise _refused(
            path, f"its labels must be 0 to {classes - 1}, it has {len(names)} in {min(names)}..{max(names)}"
        )
    return names


def _refused(path: Path, what: str) -> ValueError:
    return ValueError(f"{path} is not the published split file: {what}; move it away, and it is fetched again")
