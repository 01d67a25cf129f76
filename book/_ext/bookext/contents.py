"""The table of contents of this build: the PDF is the paper alone, and a notebook that cannot be made is no page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from bookext import pages
from submasking.records.profiles import profile

FOLDER = "notebooks/"
PAPER = ("The paper", "Appendix")


def listed(contents: dict[str, Any]) -> list[str]:
    """Names of the notebook pages in a table of contents."""
    files = (entry["file"] for part in contents["parts"] for entry in part["chapters"])
    return [file.removeprefix(FOLDER) for file in files if file.startswith(FOLDER)]


def filtered(contents: dict[str, Any], keep: set[str]) -> dict[str, Any]:
    """A table of contents with only those notebook pages that are in `keep`; a part left empty goes too."""
    parts = []
    for part in contents["parts"]:
        chapters = [
            entry
            for entry in part["chapters"]
            if not entry["file"].startswith(FOLDER) or entry["file"].removeprefix(FOLDER) in keep
        ]
        if chapters:
            parts.append(part | {"chapters": chapters})
    return contents | {"parts": parts}


def titled(contents: dict[str, Any], adapted: Sequence[str]) -> dict[str, Any]:
    """A table of contents in which a model that the profile adapts not has no title that speaks of its masks."""
    for entry in (entry for part in contents["parts"] for entry in part["chapters"]):
        kind, _, model = entry["file"].removeprefix(FOLDER).partition("-")
        if kind == "submasking" and model not in adapted:
            entry["title"] = f"Linear probe on {model}"
    return contents


def _choose(app: Any, config: Any) -> None:
    """Put a filtered copy of the contents in place of the file, before it is read."""
    latex = Path(app.outdir).name == "latex"
    if latex:  # pages of the PDF differ: keep them apart from the site's
        app.doctreedir = app.outdir / ".doctrees"
    original = Path(app.srcdir) / config.external_toc_path
    asked = yaml.safe_load(original.read_text(encoding="utf-8"))
    ready = {} if latex else pages.available(app.shelf)
    app.notebooks = {stem: ready[stem] for stem in listed(asked) if stem in ready}
    contents = titled(filtered(asked, set(app.notebooks)), profile(app.shelf.profile).full_models)
    if latex:
        contents["parts"] = [part for part in contents["parts"] if part["caption"] in PAPER]
    copy = Path(app.outdir).parent / f"_toc-{'pdf' if latex else 'site'}.yml"
    text = yaml.safe_dump(contents, sort_keys=False)
    if not copy.exists() or copy.read_text(encoding="utf-8") != text:
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text, encoding="utf-8")
    config.external_toc_path = str(copy)


def setup(app: Any) -> None:
    app.connect("config-inited", _choose, priority=200)
