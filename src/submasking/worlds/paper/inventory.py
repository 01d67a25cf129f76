"""What of the paper is here and what is missing: every published file, and the room that the rest will take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from submasking.worlds.paper import places, remote
from submasking.worlds.paper.data import load, mapped
from submasking.worlds.paper.data.catalogue import SETS
from submasking.worlds.paper.remote import Remote
from submasking.worlds.paper.weights import NETWORKS, SIZE

KEPT = (("train", "whole"), ("train", "centre"), ("test", "centre"))  # what a run reads of a data set


@dataclass(frozen=True)
class Item:
    """One published file.

    Attributes:
        of: the model or data set that it belongs to.
        name, address: of the file.
        folder: where it lies, or is to be put.
        bytes: about how many; 0 where nobody says so.
        state: "here", "unpacked" or "decoded" (so that it is not needed any more), "missing", or "damaged".
        note: what is wrong with it, in a line.
    """

    of: str
    name: str
    address: str
    folder: str
    bytes: int
    state: str
    note: str = ""


def inventory(*, progress: bool = True) -> list[Item]:
    """Every published file that the paper needs; those that are here are checked by their hash, nothing is fetched.

    Raises:
        ValueError: an environment variable names no folder.
    """
    items = [_item(name, network.file, places.weights_folder(), progress) for name, network in NETWORKS.items()]
    for name, chosen in SETS.items():
        folder = places.data_folder() / chosen.folder
        decoded = not list(_undecoded(name))
        if chosen.split is not None:
            items.append(_item(name, chosen.split, folder, progress, "decoded" if decoded else ""))
        unpacked = load.unpacked(folder, chosen) is not None
        state = "decoded" if decoded else "unpacked" if unpacked else ""
        items.append(_item(name, chosen.archive, folder, progress, state))
    return items


def room(items: list[Item]) -> dict[str, int]:
    """Bytes that are still to be written: fetched files, as far as their sizes are known, and decoded pictures."""
    pictures = sum(SETS[name].images(split) for name in SETS for split, _ in _undecoded(name))
    return {
        "fetched": sum(item.bytes for item in items if item.state == "missing"),
        "decoded": pictures * 3 * SIZE * SIZE,
    }


def ready(items: list[Item], of: str) -> bool:
    """Whether all that a model or a data set needs is here."""
    return all(item.state not in ("missing", "damaged") for item in items if item.of == of)


def _item(of: str, file: Remote, folder: Path, progress: bool, state: str = "") -> Item:
    note = ""
    if not state and not os.path.lexists(folder / file.name):
        state = "missing"
    elif not state:
        try:
            remote.have(file, folder, download=False, progress=progress)
            state = "here"
        except ValueError as error:
            state, note = "damaged", str(error)
    return Item(of, file.name, file.address, str(folder), file.size, state, note)


def _undecoded(dataset: str) -> Iterator[tuple[str, str]]:
    for split, how in KEPT:
        if not mapped.identity(load.file_of(dataset, split, how)):
            yield split, how
