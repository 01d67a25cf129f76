"""Which files below a folder are pictures: by their names, through links, past what systems and tools leave there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from submasking.worlds.pictures import suffixes

# what is there though nobody put it there, besides all whose name begins with a dot
LITTER = {
    "__macosx", "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "#recycle",
    "$recycle.bin", "system volume information", "lost+found",
}  # fmt: skip
SHOWN = 10  # of a list that may be long, how many a message names


@dataclass
class Listing:
    """What lies below a folder.

    Attributes:
        pictures: files that are pictures by their names, sorted by folder, then by name.
        folders: folders that were entered.
        left_out: how many files are no pictures by their names, by the names' endings.
        links: links that were not followed, and why.
        beside: how many pictures lie beside the class folders, where there must be such.
    """

    pictures: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)
    beside: int = 0

    def notes(self) -> list[str]:
        """What was left out, in a sentence each."""
        said = []
        if total := self.left_out.total():
            kinds = first(f"{ending} {count}" for ending, count in self.left_out.most_common())
            many = (
                "1 file was no picture by its name" if total == 1 else f"{total} files were no pictures by their name"
            )
            said.append(f"{many}: {kinds}")
        if self.beside:
            said.append(f"pictures that lie beside the class folders, in none, were left out: {self.beside}")
        if self.links:
            many = "1 link was" if len(self.links) == 1 else f"{len(self.links)} links were"
            said.append(f"{many} not followed: {first(self.links)}")
        return said


def listed(place: Path) -> Listing:
    """All pictures below a folder, however deep. Links are followed, but no folder is entered twice.

    Raises:
        OSError: the folder is not there or must not be read.
    """
    found, root = Listing(), place.resolve()
    _walk(place, root, {root}, found, suffixes())
    found.pictures.sort(key=lambda path: (str(path.parent), path.name))
    return found


def first(items: Iterable[str], separator: str = ", ") -> str:
    """The first few of a list, and how many more there are."""
    whole = list(items)
    more = [f"and {len(whole) - SHOWN} more"] if len(whole) > SHOWN else []
    return separator.join([*whole[:SHOWN], *more])


def litter(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or made by a system for itself."""
    return name.startswith(".") or name.lower() in LITTER


def _walk(folder: Path, root: Path, entered: set[Path], found: Listing, endings: frozenset[str]) -> None:
    for path in sorted(folder.iterdir()):
        if litter(path.name):
            continue
        if path.is_dir():
            real = path.resolve()
            if path.is_symlink() and (real in entered or _comes_anyway(real, root)):
                found.links.append(f"{path} leads to {real}, which is read anyway")
                continue
            if path.is_symlink() and root.is_relative_to(real):
                found.links.append(f"{path} leads up to {real}, where this folder lies")
                continue
            entered.add(real)
            found.folders.append(path)
            _walk(path, root, entered, found, endings)
        elif path.suffix.lower() in endings:
            found.pictures.append(path)
        elif path.is_symlink() and not path.exists():
            found.links.append(f"{path} leads nowhere")
        else:
            found.left_out[path.suffix.lower() or "without ending"] += 1


def _comes_anyway(real: Path, root: Path) -> bool:
    """Whether the walk meets a folder without the link: below the root, and not below anything that is passed over."""
    return real.is_relative_to(root) and not any(litter(part) for part in real.relative_to(root).parts)
