"""What the tables' rates of heads lack: those beyond the ends of what their searches tried.

A search spends its budget on the rate of what a method trains, and on the two neighbours of its head's rate. Where the
better of these is an end of what was tried, this goes on beyond it, with the first rate as it was, until it falls.
"""

import json
from collections.abc import Callable
from typing import Any

import torch

from benchmarks import learning_rates
from benchmarks.learning_rates import STEP, Rates, Search

Score = Callable[[Rates], float]


def measure() -> list[dict[str, Any]]:
    """Return one row for each search whose best head's rate was an end, by what it gains beyond."""
    known = learning_rates.record()
    rows = []
    torch.set_num_threads(1)
    with learning_rates.apart():
        for chosen in learning_rates.SEARCHES:
            tried = _tried(chosen, known)
            best = max(tried, key=lambda rates: tried[rates])
            before = len(tried)
            further = beyond(tried, lambda rates, each=chosen: _score(each, rates))  # type: ignore[misc]
            if len(tried) > before:
                rows.append(_row(chosen, best, further, tried, len(tried) - before))
                print(json.dumps(rows[-1]), flush=True)
    return sorted(rows, key=lambda row: -row["gained"])


def beyond(tried: dict[Rates, float], score: Score) -> Rates:
    """Go on from the best pair of rates while its head's is an end of those tried with it; returns the best of all.

    Args:
        tried: rates -> score; what is tried is added.
        score: of a pair of rates.
    """
    while True:
        lr, head = best = max(tried, key=lambda rates: tried[rates])
        heads = sorted(rates[1] for rates in tried if rates[0] == lr)
        steps = [1 / STEP] * (head == heads[0]) + [STEP] * (head == heads[-1])
        new = [(lr, float(f"{head * step:.2g}")) for step in steps]
        if not new:
            return best
        tried.update({rates: score(rates) for rates in new})


def _tried(chosen: Search, known: list[dict[str, Any]]) -> dict[Rates, float]:
    same: dict[Rates, list[dict[str, Any]]] = {}
    for entry in known:
        if (entry["method"], entry["model"], entry["labels"]) == chosen[:3]:
            same.setdefault((entry["lr"], entry["head_lr"]), []).append(entry)
    return {rates: learning_rates.mean(entries) for rates, entries in same.items()}


def _score(chosen: Search, rates: Rates) -> float:
    return learning_rates.mean([learning_rates.trial(chosen, rates, dataset) for dataset in chosen.datasets])


def _row(chosen: Search, best: Rates, further: Rates, tried: dict[Rates, float], more: int) -> dict[str, Any]:
    share = f", {chosen.labels:g} %" if chosen.labels else ""
    return {
        "way": f"{chosen.model} {chosen.method}{share}",
        "rate": best[0],
        "head": best[1],
        "accuracy": tried[best],
        "head_beyond": further[1],
        "accuracy_beyond": tried[further],
        "gained": 100 * (tried[further] - tried[best]),
        "more": more,
    }
