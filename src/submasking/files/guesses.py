"""What the tensors of a backbone in a weights file may be, told without torch where the file allows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from submasking.files import contents, naming, raw
from submasking.files.raw import Raw


def guesses(path: Path, known: str) -> Iterator[dict[str, Raw]]:
    """All tensors there are, or those that are no classifier's.

    Counters of batches, which many files leave out, are 0 as in a new network.

    Args:
        path: the file.
        known: name of a tensor that is surely among them.

    Raises:
        ValueError: the file cannot be read.
    """
    tensors = naming.unwrapped(_read(path))
    for prefix in naming.prefixes(tensors, {known}):
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        norms = [name.removesuffix("running_mean") for name in own if name.endswith("running_mean")]
        own = {norm + naming.COUNTER: Raw("int64", (), bytes(8)) for norm in norms} | own
        yield own
        yield {name: value for name, value in own.items() if not name.startswith(naming.CLASSIFIERS)}


def _read(path: Path) -> dict[str, Raw]:
    kind = contents.kind(path)
    if kind is contents.Kind.SAFETENSORS:
        return raw.read(path)
    from submasking.files import pickles  # which brings torch, to unpickle

    tensors = pickles.read(path, mapped=kind is contents.Kind.ZIP)
    return {name: raw.of(value) for name, value in tensors.items()}
