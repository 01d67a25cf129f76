"""What a grid has left in its folder, but for what tells of time: two grids left the same if these are equal."""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from submasking.experiments import grid
from submasking.files import store
from submasking.tasks import container
from submasking.tasks.fingerprint import fingerprint

# of a record or an analysis: when, how long, at which commit, asked by whom
ASIDE = ("timings", "created", "seconds", "commit", "notebook")
UNFINISHED = re.compile(r"\.part$|\.checkpoint$")
PROFILE = "smoke"
State = dict[str, str]  # by path what is there


def of(folder: Path) -> State:
    """Path and content of every file but locks.

    Left out of a content: when, how long, at which commit and for which notebook; of notebooks all but code, text and
    what cells show, since a cell also prints how long its runs take.
    """
    return {
        path.relative_to(folder).as_posix(): content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def content(path: Path) -> str:
    """Hash of what a file holds; "damaged" where it is no whole one of its kind."""
    found = path.stat()
    return _content(path, found.st_ino, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=10_000)
def _content(path: Path, *version: int) -> str:
    try:
        if path.suffix == ".safetensors" and "masks" in path.parts:
            data = _described(path)
        elif path.suffix == ".ipynb":
            data = json.dumps(_notebook(json.loads(path.read_bytes()))).encode()
        elif path.suffix == ".json":
            read = json.loads(path.read_bytes())
            kept = {key: read[key] for key in read if key not in ASIDE} if isinstance(read, dict) else read
            data = json.dumps(kept, sort_keys=True).encode()
        elif path.suffix == ".safetensors":  # whose header has its words in any order
            tensors, words = store.read(path)
            data = (json.dumps(words, sort_keys=True) + fingerprint(tensors)).encode()
        else:
            data = path.read_bytes()
    except ValueError:
        return "damaged"
    return hashlib.sha256(data).hexdigest()


def _described(path: Path) -> bytes:
    """All of a mask file but the commit."""
    found = container.read(path)
    found.description["provenance"].pop("commit", None)
    return (json.dumps(found.description, sort_keys=True) + fingerprint(found.tensors)).encode()


def _notebook(read: dict[str, Any]) -> list[Any]:
    return [
        [
            cell["source"],
            [output.get("data") for output in cell.get("outputs", ()) if output["output_type"] != "stream"],
        ]
        for cell in read["cells"]
    ]


def age(folder: Path) -> None:
    """Let what killed writers have left be so old that the next grid takes it away."""
    for path in folder.rglob(".*.part"):
        os.utime(path, (0, 0))


def of_runs(reference: State) -> set[str]:
    """Paths of what the runs of a grid leave, without notebooks, analyses and images that are made for those too."""
    asked = [run.record for run in grid.runs(PROFILE)]
    made = {f"{PROFILE}/records/{record}" for record in asked}
    made |= {f"{PROFILE}/masks/{record.with_suffix('.safetensors')}" for record in asked}
    return {path for path in reference if path in made or path.startswith(f"{PROFILE}/backbones/")}


def unfinished(state: Iterable[str]) -> list[str]:
    """Paths of what somebody has begun to write, or is in the middle of."""
    return [path for path in state if UNFINISHED.search(path)]


def wrong(state: State, reference: State, needed: Iterable[str] | None = None) -> list[str]:
    """Paths of files that are not what an undisturbed grid leaves.

    Args:
        state: what there is.
        reference: what an undisturbed grid left.
        needed: paths of a grid that has ended, all that must be there, with nothing unfinished. None: it is amid its
            work, and what is there must be whole, but for notebooks: those are written cell by cell, and executed anew.
    """
    if needed is not None:
        return sorted(path for path in {*state, *needed} if state.get(path) != reference.get(path))
    loose = set(unfinished(state))
    there = [path for path in state if path not in loose and not path.endswith(".ipynb")]
    return sorted(path for path in there if state[path] != reference.get(path))
