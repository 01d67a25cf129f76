"""The records that the book shows: the reader's own run once it is whole, else those that the project ships."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from sphinx.errors import ExtensionError

from submasking.experiments import grid
from submasking.records import analyses, places, results
from submasking.records.profiles import PROFILES, profile
from submasking.records.results import Record
from submasking.report import frames, storage

COMMAND = "make book"
PROFILE = "SUBMASKING_PROFILE"  # of the environment: show the records of this profile
HOME = "tiny"  # the profile that the text was written for
BENCHMARKS = places.REPOSITORY / "book" / "records" / "benchmarks"


@dataclass(frozen=True)
class Shelf:
    """Records of one profile, and the papers' reported numbers."""

    profile: str
    folder: Path
    records: list[Record] = field(repr=False)
    reported: pd.DataFrame = field(repr=False)
    others: dict[str, Shelf] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, profile: str) -> Shelf:
        """The records of a profile.

        Raises:
            ExtensionError: a record is stale, so that a number made of it would be.
        """
        folder = places.book_folder(profile)
        records, stale = grid.own(profile, results.read(folder), grid.made_with(folder))
        if stale:
            raise ExtensionError(
                f"a record must have the recipe that its run has now; {len(stale)} have another, first {stale[0].path}:"
                f" run `{COMMAND}`, and `make records` for those that the project ships"
            )
        return cls(profile, folder, records, frames.reported())

    @property
    def stand_ins(self) -> bool:
        """Whether something stands in for the paper's models and data sets."""
        return profile(self.profile).protocol is None

    @property
    def own(self) -> bool:
        """Whether these are the reader's own runs."""
        return self.folder != places.committed_folder(self.profile)

    @cached_property
    def frame(self) -> pd.DataFrame:
        return frames.to_frame(self.records).join(storage.columns(self.records))

    @cached_property
    def recipes(self) -> dict[str, str]:
        """Digest of the recipe of each record by its path, which say what an analysis has read."""
        return analyses.read_by(self.records)

    @cached_property
    def by_file(self) -> dict[str, Record]:
        """Each record by the real path of its file."""
        return {os.path.realpath(self.folder / record.path): record for record in self.records}

    def of(self, profile: str) -> Shelf:
        """The records of a profile, read once."""
        if profile == self.profile:
            return self
        if profile not in self.others:
            self.others[profile] = Shelf.load(profile)
        return self.others[profile]

    @cached_property
    def digest(self) -> str:
        """Hash of all that the pages read: the records and the reported numbers."""
        content = hashlib.sha256(str(self.own).encode())
        for file in [
            *sorted(self.folder.rglob("*.json")),
            *sorted((places.REPOSITORY / "book" / "data").glob("*.csv")),
        ]:
            content.update(file.name.encode() + file.read_bytes())
        return content.hexdigest()

    @cached_property
    def printed(self) -> str:
        """Hash of all that decides how a page shows numbers: what it reads, and the code that prints it."""
        content = hashlib.sha256(self.digest.encode())
        for folder in (Path(__file__).parent, Path(results.__file__).parent, Path(frames.__file__).parent):
            for file in sorted(folder.glob("*.py")):
                content.update(file.name.encode() + file.read_bytes())
        return content.hexdigest()

    def files(self, **identity: Any) -> list[Path]:
        """Files of the records whose fields have the given values."""
        found = [r for r in self.records if all(getattr(r, name) == value for name, value in identity.items())]
        return [self.folder / record.path for record in found]


def note(env: Any, files: list[Path] | None = None) -> None:
    """Remember that the page being read shows numbers, and which files they came from."""
    users = _users(env)
    users.add(env.docname)
    for file in files or []:
        env.note_dependency(str(file))


def _users(env: Any) -> set[str]:
    if not hasattr(env, "shelf_users"):
        env.shelf_users = set()
    return env.shelf_users


def _load(app: Any, config: Any) -> None:
    """Read the records of the profile that the environment asks for, else of the one that the book is written for.

    Raises:
        ExtensionError: there is no such profile, or it has no grid.
    """
    asked = os.environ.get(PROFILE) or config.book_profile
    if asked not in PROFILES or asked == "images":
        there = ", ".join(name for name in PROFILES if name != "images")
        raise ExtensionError(f"{PROFILE} must name a profile with a grid, one of {there}; got {asked!r}")
    if asked != config.book_profile:
        config.book_profile = asked
        config.html_title = f"{config.html_title or config.project}, profile {asked}"
        _announce(config, f"profile <b>{asked}</b>. The text was written for profile {HOME}.")
        documents = [list(document) for document in config.latex_documents or ()]
        for document in documents:
            document[2] = f"{document[2]} (profile {asked})"
        config.latex_documents = [tuple(document) for document in documents]
    app.shelf = Shelf.load(asked)
    if app.shelf.own and asked == HOME and app.shelf.records:
        seeds = len({record.seed for record in app.shelf.records})
        whose = "your own grid, one seed" if seeds == 1 else f"your own grid, {seeds} seeds"
        _announce(config, f"<b>{whose}</b>. The text was written for the records that the project ships.")


def _announce(config: Any, what: str) -> None:
    """Say on each page what its numbers are, where the text was written for others."""
    options = getattr(config, "html_theme_options", None) or {}
    config.html_theme_options = dict(options) | {"announcement": f"Numbers, tables and figures: {what}"}


def _outdated(app: Any, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Pages that show numbers are read again when any record, or the code that prints it, appeared, changed or went."""
    before, env.shelf_printed = getattr(env, "shelf_printed", None), app.shelf.printed
    return [] if before == app.shelf.printed else sorted(_users(env) & env.found_docs)


def _forget(app: Any, env: Any, docname: str) -> None:
    _users(env).discard(docname)


def _merge(app: Any, env: Any, docnames: set[str], other: Any) -> None:
    _users(env).update(_users(other) & set(docnames))


def _share(app: Any, env: Any, docnames: list[str]) -> None:
    """Make what most pages ask for before processes that read them are forked, so that not each makes it."""
    _ = app.shelf.frame, app.shelf.recipes


def setup(app: Any) -> None:
    app.add_config_value("book_profile", "tiny", "env")
    app.connect("env-before-read-docs", _share)
    app.connect("config-inited", _load, priority=100)
    app.connect("env-get-outdated", _outdated)
    app.connect("env-purge-doc", _forget)
    app.connect("env-merge-info", _merge)
