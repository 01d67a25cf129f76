"""MathJax out of the package sphinx-mathjax-offline, so that a page asks no other host for anything.

Its parts are taken one by one: a whole build has a menu at each formula besides, a stop for the keyboard, whose entries
ask for files that no page has. Formulas keep their MathML for those who listen. Of TeX there are the commands of LaTeX
and of AMS; one of another package is drawn as an error, for which the tests look: add its extension to `EXTENSIONS`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError
from sphinx.util.fileutil import copy_asset

START = "startup"
EXTENSIONS = ("ams",)
PARTS = ("core", "input/tex-base", *(f"[tex]/{name}" for name in EXTENSIONS), "output/svg", "a11y/assistive-mml")
FILES = tuple(f"{part.replace('[tex]', 'input/tex/extensions')}.js" for part in (START, *PARTS, "output/svg/fonts/tex"))


def source() -> Path:
    """Folder of MathJax in the installed package."""
    spec = find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise ExtensionError("mathematics need the package sphinx-mathjax-offline: install requirements.lock")
    return Path(spec.origin).parent / "static" / "mathjax"


def _configure(app: Any, config: Any) -> None:
    config.mathjax_path = f"mathjax/{START}.js"
    chosen = {"loader": {"load": list(PARTS)}, "tex": {"packages": {"[+]": list(EXTENSIONS)}}}
    config.mathjax3_config = {**(config.mathjax3_config or {}), **chosen}


def _copy(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        for file in FILES:
            copy_asset(str(source() / file), str((Path(app.outdir) / "_static" / "mathjax" / file).parent))


def setup(app: Any) -> None:
    app.connect("config-inited", _configure)
    app.connect("build-finished", _copy)
