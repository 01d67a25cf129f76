"""When a grid would be done on so many devices: jobs start as soon as one is free, the longest chain of work first.

This is list scheduling (Graham 1969): never more than twice as late as the best schedule there is.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter


@dataclass(frozen=True)
class Job:
    """A job that takes one device.

    Attributes:
        seconds: how long.
        after: names of the jobs that must be done before.
    """

    seconds: float
    after: tuple[str, ...] = ()


def makespan(jobs: Mapping[str, Job], devices: int) -> float:
    """Seconds until all jobs are done.

    Args:
        jobs: by name.
        devices: how many jobs can be at work at once, 1 or more.

    Raises:
        ValueError: no device, a negative time, a job that waits for one that is not there, or for itself.
    """
    if devices < 1:
        raise ValueError(f"devices must be at least 1, got {devices}; count the GPUs")
    order = _order(jobs)
    chains = _chains(jobs)
    ready: list[tuple[float, str]] = []
    running: list[tuple[float, str]] = []
    now = 0.0
    while order.is_active():
        for name in order.get_ready():
            heapq.heappush(ready, (-chains[name], name))
        while ready and len(running) < devices:
            _, name = heapq.heappop(ready)
            heapq.heappush(running, (now + jobs[name].seconds, name))
        now, done = heapq.heappop(running)
        order.done(done)
    return now


def _order(jobs: Mapping[str, Job]) -> TopologicalSorter[str]:
    if wrong := [name for name, job in jobs.items() if job.seconds < 0 or not set(job.after) <= jobs.keys()]:
        raise ValueError(f"a job takes 0 seconds or more and waits for jobs that are there; {wrong[0]!r} does not")
    order = TopologicalSorter({name: job.after for name, job in jobs.items()})
    try:
        order.prepare()
    except CycleError as error:
        raise ValueError(f"jobs must not wait for each other in a circle; {error.args[1][0]!r} does") from error
    return order


def _chains(jobs: Mapping[str, Job]) -> dict[str, float]:
    """Seconds from the start of each job to the end of the longest chain that waits for it."""
    found = {name: job.seconds for name, job in jobs.items()}
    for name in reversed(list(TopologicalSorter({name: job.after for name, job in jobs.items()}).static_order())):
        for before in jobs[name].after:
            found[before] = max(found[before], jobs[before].seconds + found[name])
    return found
