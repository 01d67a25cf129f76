"""What stands before and amid the names of tensors in other people's files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

CLASSIFIERS = ("fc.", "head.", "classifier.", "last_linear.")
WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")  # torch puts them amid names
COUNTER = "num_batches_tracked"  # counts batches; many files leave it out

Value = TypeVar("Value")


def unwrapped(tensors: Mapping[str, Value]) -> dict[str, Value]:
    """The tensors without wrappers in their names, or as they are where two would then have one name."""
    bare = {_bare(name): value for name, value in tensors.items()}
    return bare if len(bare) == len(tensors) else dict(tensors)


def prefixes(tensors: Iterable[str], names: Mapping[str, object] | set[str]) -> Counter[str]:
    """All that stands before any of these names in the file, and before how many."""
    found: Counter[str] = Counter()
    for name in tensors:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in names:
                found["".join(f"{part}." for part in parts[:start])] += 1
    return found


def _bare(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name
