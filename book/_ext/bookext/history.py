"""What became of a page: at its end the commits that changed it, and the last one's day in its footer.

Outside a checkout of the project there is no history, and nothing is said.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from bookext.citation import cff
from bookext.runs import TEMPLATES
from submasking.records import places, surroundings

SHOWN = 10  # of the newest changes


class Change(NamedTuple):
    """A commit: its short name, its day and what it says."""

    commit: str
    day: str
    said: str


def read(folder: Path, *parts: str) -> dict[str, list[Change]]:
    """Changes of each file below some parts of a checkout, the newest first: by the file's path in it."""
    command = ["git", "log", "--no-merges", "--format=%x01%h%x02%cs%x02%s", "--name-only", "--", *parts]
    listed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    found: dict[str, list[Change]] = {}
    for commit in listed.split("\x01")[1:]:
        head, *files = commit.splitlines()
        for file in filter(None, files):
            found.setdefault(file, []).append(Change(*head.split("\x02")))
    return found


def source(pagename: str, notebooks: dict[str, Any]) -> str:
    """File of the project that a page is made from, as a path in it."""
    stem = pagename.removeprefix("notebooks/")
    return f"notebooks/{notebooks[stem][0]}.ipynb" if stem in notebooks else f"book/{pagename}.md"


def _read(app: Any) -> None:
    known = app.builder.format == "html" and surroundings.commit()
    app.history = read(places.REPOSITORY, "book", "notebooks") if known else {}


def _show(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    changes = app.history.get(source(pagename, app.notebooks), []) if doctree is not None else []
    if not changes:
        return
    context["last_updated"] = changes[0].day
    told = {"changes": changes[:SHOWN], "count": len(changes), "repository": cff().get("repository-code", "")}
    context["body"] += TEMPLATES.get_template("history.html").render(told)


def setup(app: Any) -> None:
    app.connect("builder-inited", _read)
    app.connect("html-page-context", _show)
