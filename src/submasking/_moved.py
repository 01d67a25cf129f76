"""Old names of modules: what stood side by side before the rooms is still found there, with a warning (until 0.3)."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_ROOMS = {
    "masking": "criteria handle in_backward masks monitor norms optimizer scores selection",
    "tasks": "bank bits codec container fingerprint heads hub maskfile similarity",
    "learning": "evaluate swav train",
    "worlds": "backbones networks pretrain",
    "records": "profiles results",
    "experiments": "grid invariance methods notebooks runs",
    "report": "figures storage tables verdicts",
}
MOVED = {name: f"{room}.{name}" for room, names in _ROOMS.items() for name in names.split()} | {
    "cli": "commands.cli",
    "data": "worlds.datasets",
    "data.augment": "learning.augment",
    "data.folder": "worlds.folder",
    "data.glyphs": "worlds.glyphs",
    "data.images": "learning.images",
}


def today(old: str) -> str | None:
    """Where a module of this old name, without "submasking.", is now; None where there was none."""
    if old in MOVED:
        return MOVED[old]
    package, _, rest = old.partition(".")
    return f"{MOVED[package]}.{rest}" if package in ("codec", "invariance") and rest else None


class Finder(MetaPathFinder, Loader):
    """Finds modules under their old names. It must be asked first: Python would load a second copy of some."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        package, _, old = name.partition(".")
        new = today(old) if package == "submasking" else None
        if new is None:
            return None
        warnings.warn(f"{name} is now submasking.{new}", DeprecationWarning, stacklevel=2)
        return ModuleSpec(name, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of today in the place of the empty one that Python has made for the old name."""
        old = module.__name__.partition(".")[2]
        real = importlib.import_module(f"submasking.{today(old)}")
        if old == "data":  # stays a package: what was in it is found by its own name
            module.__dict__.update({name: value for name, value in vars(real).items() if not name.startswith("__")})
        else:
            sys.modules[module.__name__] = real
