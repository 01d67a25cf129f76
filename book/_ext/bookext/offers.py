"""What the page of a notebook offers: the executed notebook as a file, and where its source can be run in a browser.

Colab and Binder need a public repository: they are offered where CITATION.cff names one on GitHub.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from bookext.citation import cff
from bookext.runs import TEMPLATES

FOLDER = "notebooks/"


def elsewhere(name: str, about: dict[str, Any]) -> dict[str, str]:
    """Where a notebook of this version can be run, by the name of the service; nothing without a GitHub repository."""
    address = urlsplit(about.get("repository-code", ""))
    if address.hostname != "github.com":
        return {}
    place, version, file = quote(address.path.strip("/")), f"v{about['version']}", f"{FOLDER}{name}.ipynb"
    return {
        "Colab": f"https://colab.research.google.com/github/{place}/blob/{version}/{file}",
        "Binder": f"https://mybinder.org/v2/gh/{place}/{version}?labpath={quote(file, safe='')}",
    }


def _offer(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    stem = pagename.removeprefix(FOLDER)
    if doctree is None or stem not in app.notebooks:
        return
    about = cff()
    told = {"stem": stem, "services": elsewhere(app.notebooks[stem][0], about), "about": about}
    head, end, rest = context["body"].partition("</h1>")
    context["body"] = f"{head}{end}{TEMPLATES.get_template('offer.html').render(told)}{rest}"


def _copy(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        for stem in app.notebooks:
            name = f"{FOLDER}{stem}.ipynb"
            shutil.copyfile(Path(app.srcdir) / name, Path(app.outdir) / name)


def setup(app: Any) -> None:
    app.connect("html-page-context", _offer)
    app.connect("build-finished", _copy)
