"""Adapt a frozen vision network to a task by learning which of its weights to switch off."""

from submasking.criteria import Threshold, TopK
from submasking.handle import Masking
from submasking.in_backward import MaskSGDInBackward
from submasking.masks import mask, of
from submasking.monitor import Monitor, find_lr
from submasking.norms import recalibrate
from submasking.optimizer import MaskSGD
from submasking.selection import Decision

__all__ = [
    "Decision",
    "MaskSGD",
    "MaskSGDInBackward",
    "Masking",
    "Monitor",
    "Threshold",
    "TopK",
    "find_lr",
    "mask",
    "of",
    "recalibrate",
]
__version__ = "0.1.0"
