"""Adapt a frozen vision network to a task by learning which of its weights to switch off.

Names are looked up when they are asked for, so that `import submasking` alone costs next to nothing: the command line
answers before torch is loaded, and each part of the library brings only what it needs.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from submasking import _moved

if TYPE_CHECKING:
    from submasking.masking.criteria import Threshold, TopK
    from submasking.masking.handle import Masking
    from submasking.masking.in_backward import MaskSGDInBackward
    from submasking.masking.masks import mask, of
    from submasking.masking.monitor import Monitor, find_lr
    from submasking.masking.norms import recalibrate
    from submasking.masking.optimizer import MaskSGD
    from submasking.masking.scores import power
    from submasking.masking.selection import Decision
    from submasking.tasks import hub, maskfile
    from submasking.tasks.bank import Bank
    from submasking.tasks.maskfile import MaskFileError, TaskFile
    from submasking.tasks.rounding import round_off
    from submasking.tasks.shelf import Shelf

__version__ = "0.1.0"
# what an engineer imports, and the module that it comes from
_FROM = {
    "Bank": "tasks.bank",
    "Decision": "masking.selection",
    "MaskFileError": "tasks.maskfile",
    "MaskSGD": "masking.optimizer",
    "MaskSGDInBackward": "masking.in_backward",
    "Masking": "masking.handle",
    "Monitor": "masking.monitor",
    "Shelf": "tasks.shelf",
    "TaskFile": "tasks.maskfile",
    "Threshold": "masking.criteria",
    "TopK": "masking.criteria",
    "find_lr": "masking.monitor",
    "hub": "tasks",
    "mask": "masking.masks",
    "maskfile": "tasks",
    "of": "masking.masks",
    "power": "masking.scores",
    "recalibrate": "masking.norms",
    "round_off": "tasks.rounding",
}
__all__ = [
    "Bank",
    "Decision",
    "MaskFileError",
    "MaskSGD",
    "MaskSGDInBackward",
    "Masking",
    "Monitor",
    "Shelf",
    "TaskFile",
    "Threshold",
    "TopK",
    "find_lr",
    "hub",
    "mask",
    "maskfile",
    "of",
    "power",
    "recalibrate",
    "round_off",
]


sys.meta_path.insert(0, _moved.Finder())


def __getattr__(name: str) -> Any:
    """Import what is asked for, once."""
    if name in _moved.MOVED and name not in _FROM:
        return import_module(f"submasking.{name}")
    if name not in _FROM:
        raise AttributeError(f"module 'submasking' has no attribute {name!r}; it has {', '.join(__all__)}")
    room = f"submasking.{_FROM[name]}"
    found = import_module(f"{room}.{name}") if _FROM[name] == "tasks" else getattr(import_module(room), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
