"""Trainings of an analysis: each is kept in a file of its own, so that an interrupted analysis goes on where it was."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from submasking.files import atomic, identity
from submasking.learning.adapt import Adapted
from submasking.learning.backbone import Backbone
from submasking.masking.scores import Init
from submasking.records.analyses import Row, number
from submasking.records.places import results_folder
from submasking.report import statistics
from submasking.report.statistics import Sample

Found = dict[str, Any]


class Trials:
    """What trainings found, made once, with a printed line each.

    Args:
        name: of the analysis.
        profile: of its runs.
        total: how many there will be.
    """

    def __init__(self, name: str, profile: str, total: int) -> None:
        self.folder, self.total = results_folder(profile) / "analyses" / name, total
        self.number, self.made, self.spent = 0, 0, 0.0

    def find(self, told: Mapping[str, Any], make: Callable[[], Found]) -> Found:
        """What is in the file of these words and numbers, which are all that decides it; else it is made."""
        file, started = self.folder / f"{identity.short(told)}.json", time.perf_counter()
        self.number += 1
        if file.exists():
            found, how = json.loads(file.read_text(encoding="utf-8"))["found"], "read"
        else:
            found = make()
            atomic.write(file, json.dumps({"told": told, "found": found}))
            seconds = time.perf_counter() - started
            self.made, self.spent, how = self.made + 1, self.spent + seconds, f"{seconds:.0f} s"
        left = self.spent / max(self.made, 1) * (self.total - self.number)
        words = " ".join(str(told[key]) for key in ("way", "rate", "dataset", "seed", "split") if key in told)
        shown = "  ".join(f"{key} {value:.3f}" for key, value in found.items() if isinstance(value, float))
        print(f"[{self.number}/{self.total}, {left:.0f} s left] {words} ({how}): {shown}", flush=True)
        return found


def onward(backbone: Backbone, adapted: Adapted) -> tuple[Backbone, Init]:
    """Where a training under masks goes on: the backbone with the norm statistics that it has now, and its scores.

    The start serves one call of `submasking.learning.adapt.adapt` with the same selection: it gives the scores in the
    order in which tensors are masked.
    """
    assert adapted.masking is not None
    trunk, now = copy.deepcopy(backbone.trunk), dict(adapted.trunk.named_buffers())
    with torch.no_grad():
        for name, buffer in trunk.named_buffers():
            buffer.copy_(now[name])
    scores = iter([each.clone() for each in adapted.masking.scores().values()])

    def ended(frozen: Tensor, random: torch.Generator) -> Tensor:
        return next(scores)

    return replace(backbone, trunk=trunk), ended


def compared(samples: Mapping[str, Sample], pairs: Sequence[tuple[str, str]]) -> list[Row]:
    """How far ways lie apart, tested as one family.

    Args:
        samples: by way what was measured.
        pairs: (first, second) ways.

    Returns:
        "first", "second"; "points", "low", "high", the difference and its 95 % interval in hundredths; "p", "holm",
        "clear"; "n" and "images", see `submasking.report.statistics.Estimate`; None where no spread is known.
    """
    found = [statistics.difference(samples[first], samples[second]) for first, second in pairs]
    adjusted = statistics.holm([one.p for one in found])
    return [
        {
            "first": first,
            "second": second,
            "points": 100 * one.value,
            "low": number(100 * one.low),
            "high": number(100 * one.high),
            "p": number(one.p),
            "holm": number(holm),
            "clear": holm < statistics.LEVEL,
            "n": one.seeds,
            "images": one.images,
            "basis": one.basis,
        }
        for (first, second), one, holm in zip(pairs, found, adjusted, strict=True)
    ]
