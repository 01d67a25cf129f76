"""MathJax as one file out of the package sphinx-mathjax-offline, so that a page asks no other host for anything."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError
from sphinx.util.fileutil import copy_asset

# the full build: every TeX extension is inside, none is loaded later
FILE = "tex-svg-full.js"


def source() -> Path:
    """MathJax in the installed package."""
    spec = find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise ExtensionError("mathematics need the package sphinx-mathjax-offline: install requirements.lock")
    return Path(spec.origin).parent / "static" / "mathjax" / FILE


def _configure(app: Any, config: Any) -> None:
    config.mathjax_path = f"mathjax/{FILE}"


def _copy(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        copy_asset(str(source()), str(Path(app.outdir) / "_static" / "mathjax"))


def setup(app: Any) -> None:
    app.connect("config-inited", _configure)
    app.connect("build-finished", _copy)
