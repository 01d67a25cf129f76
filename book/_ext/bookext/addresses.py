"""Where on the site the record behind a number is shown: an address below runs/, from the root of the site."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from submasking.records import analyses, places
from submasking.records.profiles import PROFILES

FOLDER = "runs"
RUN = re.compile(r"(?P<method>.+)-labels(?P<labels>[\d.]+)-seed\d+")
DOCUMENTS = ("benchmarks", "photographs")  # folders of book/records whose records are no single runs


class Place(NamedTuple):
    """What a record is found by: the page, the section of it, and the fields that the table of all runs filters by."""

    page: str
    section: str
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def address(self) -> str:
        return f"{self.page}.html#{self.section}"


def of_run(profile: str, model: str, dataset: str, method: str, labels: float) -> Place:
    """Place of the runs that differ in their seed alone."""
    fields = (("model", model), ("dataset", dataset), ("method", method), ("labels", f"{labels:g}"))
    return Place(f"{FOLDER}/{profile}/{model}-{dataset}", f"{method}-{labels:g}", fields)


def table(profile: str) -> str:
    """Page with all runs of a profile."""
    return f"{FOLDER}/{profile}/index"


def document(kind: str, *names: str) -> Place:
    """Place of a record that is no single run: of a benchmark, a study of photographs, an analysis."""
    return Place(f"{FOLDER}/{kind}", "-".join(names))


def place(file: Path) -> Place | None:
    """Place of a record by its file; None for a file that is no record."""
    parts = _parts(file)
    if len(parts) < 2:
        return None
    kind, *folders, name = parts
    stem = name.removesuffix(".json")
    if kind in DOCUMENTS:
        return document(kind, *folders, stem)
    if folders == [analyses.FOLDER]:
        return document(f"{kind}/{analyses.FOLDER}", stem)
    found = RUN.match(stem)
    if kind not in PROFILES or found is None or len(folders) != 2:
        return None
    return of_run(kind, *folders, found["method"], float(found["labels"]))


def of_files(files: Iterable[Path]) -> str:
    """Address of the records among some files: of their section, their page, or of all runs like them; "" for none."""
    return of_places(found for file in files if (found := place(file)))


def of_places(several: Iterable[Place]) -> str:
    """Address of what is shown at some places: a section, a page, or the table of all runs, filtered; "" for none."""
    found = list(dict.fromkeys(several))
    if not found:
        return ""
    pages = {each.page for each in found}
    if len(pages) == 1:
        return found[0].address if len(found) == 1 or found[0].fields else f"{found[0].page}.html"
    shared = set(found[0].fields).intersection(*(each.fields for each in found))
    asked = "&".join(f"{name}={value}" for name, value in found[0].fields if (name, value) in shared)
    profile = found[0].page.split("/")[1]
    return f"{table(profile)}.html" + (f"?{asked}" if asked else "")


def _parts(file: Path) -> tuple[str, ...]:
    """A record's folders and name, the profile or kind first; () for a file elsewhere."""
    shipped, own = places.REPOSITORY / "book" / "records", places.REPOSITORY / "results"
    if file.suffix == ".json" and file.is_relative_to(shipped):
        return file.relative_to(shipped).parts
    if file.suffix == ".json" and file.is_relative_to(own):
        profile, folder, *rest = file.relative_to(own).parts
        return (profile, *rest) if folder == "records" else ()
    return ()
