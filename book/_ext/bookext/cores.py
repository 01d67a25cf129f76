"""How many notebooks are executed, and pages read and written, at once: as many as there are cores.

Jupyter Book hands Sphinx no number, and two extensions of it leave open whether they may be used so: all would wait for
one core.
"""

from __future__ import annotations

import os
from typing import Any

from sphinx_proof.domain import ProofDomain

PROCESSES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _use(app: Any, config: Any) -> None:
    app.parallel = PROCESSES


def _allow(app: Any, env: Any, docnames: list[str]) -> None:
    """Say what an extension leaves open: it numbers the pages of the whole book, once all of them are read."""
    if silent := app.extensions.get("sphinx_multitoc_numbering"):
        silent.parallel_read_safe = True


def _nothing(domain: ProofDomain, docnames: list[str], others: dict[str, Any]) -> None:
    """Theorems are in the environment, where sphinx-proof brings them together; its domain has no data to merge."""


def setup(app: Any) -> None:
    ProofDomain.merge_domaindata = _nothing
    app.connect("config-inited", _use)
    app.connect("env-before-read-docs", _allow)
