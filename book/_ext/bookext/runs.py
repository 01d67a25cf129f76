"""The pages below runs/: every record behind a number, its runs, curves, settings and files, and how to repeat it.

A page shows the runs of one model on one data set; a table of all runs leads to them. Records that are no single runs
(benchmarks, studies, analyses) have a page for each kind. The PDF has none of these.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from bs4 import BeautifulSoup
from jinja2 import Environment, FileSystemLoader

from bookext import addresses, served, trust
from bookext.shelf import Shelf
from submasking.files import atomic
from submasking.records import analyses, places
from submasking.records import photographs as studies
from submasking.records.names import METHODS
from submasking.records.profiles import PROFILES
from submasking.records.results import Record
from submasking.report import photographs

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True, trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
COLUMNS = 8  # metrics that a table has room for
FIRST = ("top1", "knn", "sparsity")  # metrics that come first
_STUDIES = f"{addresses.FOLDER}/photographs"  # the page of those
Page = tuple[str, dict[str, Any], str]  # name, context, template: what Sphinx collects


def shelves(books: Shelf) -> list[Shelf]:
    """The book's records, and those of the other profiles that a number may come from."""
    others = [name for name in PROFILES if name != books.profile and places.book_folder(name).is_dir()]
    return [books, *map(books.of, others)]


def by_page(books: Shelf) -> dict[str, list[Record]]:
    """Records of a profile by the page that shows them."""
    found: dict[str, list[Record]] = {}
    for record in books.records:
        found.setdefault(_place(record).page, []).append(record)
    return found


def _place(record: Record) -> addresses.Place:
    return addresses.of_run(record.profile, record.model, record.dataset, record.method, record.labels)


def page(records: list[Record], books: Shelf, repository: str, notebooks: Iterable[str]) -> dict[str, Any]:
    """What the template of a page needs: who ran, how far it is to be trusted, and a section for each kind of run."""
    first, ordered = records[0], sorted(records, key=_order)
    several = [list(group) for _, group in groupby(ordered, key=lambda record: (record.method, record.labels))]
    sections = [_section(group, notebooks) for group in several]
    shared = set(sections[0]["recipe"]).intersection(*(section["recipe"] for section in sections))
    return {
        "title": f"{first.model} on {first.dataset}",
        "profile": first.profile,
        "first": first,
        "masked": max((record.backbone.get("masked", 0) for record in records), default=0),
        "facts": trust.facts(records, books),
        "shared": [row for row in sections[0]["recipe"] if row in shared],
        "sections": [
            section | {"recipe": [row for row in section["recipe"] if row not in shared]} for section in sections
        ],
        "archive": archive_name(first),
        "folder": books.folder.relative_to(places.REPOSITORY) / first.model / first.dataset,
        "repository": repository,
        "all_runs": addresses.table(first.profile),
    }


def _order(record: Record) -> tuple[int, float, int]:
    known = METHODS.index(record.method) if record.method in METHODS else len(METHODS)
    return known, record.labels, record.seed


def _section(records: list[Record], notebooks: Iterable[str]) -> dict[str, Any]:
    first = records[0]
    metrics = [name for name, value in first.metrics.items() if isinstance(value, int | float)]
    ordered = sorted(metrics, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    stem = f"{first.notebook.get('name')}-{first.notebook.get('parameters', {}).get('model')}"
    settings = [dict(_flat(record.recipe)) for record in records]
    return {
        "id": _place(first).section,
        "name": f"{first.method}, {labels(first)}",
        "records": records,
        "metrics": ordered[:COLUMNS],
        "left_out": len(ordered[COLUMNS:]),
        "file": f"{first.path.name.partition('-seed')[0]}-seed<k>.json",
        "sized": any("file_bytes" in record.sizes for record in records),
        "curve": curve([loss for record in records if _numbers(loss := record.series.get("loss"))]),
        "command": command(records),
        "notebook": stem if stem in notebooks else "",
        "recipe": [(name, _setting([each.get(name) for each in settings])) for name in settings[0]],
    }


def _numbers(values: Any) -> bool:
    return isinstance(values, list) and len(values) > 1 and all(isinstance(value, int | float) for value in values)


def labels(record: Record) -> str:
    """What share of the labels a run saw, in words."""
    shares = {0.0: "without labels", 100.0: "all labels"}
    return shares.get(record.labels, f"{record.labels:g} % of the labels")


def command(records: list[Record]) -> str:
    """The line that runs these again; "" for runs of no notebook.

    Into a folder of its own, since a run whose record is there is not repeated.
    """
    first, offered = records[0], records[0].notebook.get("parameters", {})
    if not offered:
        return ""
    given = {name: str(value) for name, value in offered.items() if value not in ("", "all")}
    if first.profile != "images":
        given |= {"dataset": first.dataset}
        given |= {"methods": first.method} if "methods" in offered else {}
        given |= {"seeds": ",".join(str(record.seed) for record in records)} if "seeds" in offered else {}
    words = [f"-p {name} {shlex.quote(value)}" for name, value in given.items()]
    return " ".join(["SUBMASKING_RESULTS=again submasking run", str(first.notebook.get("name")), *words])


def _flat(values: Mapping[str, Any], before: str = "", depth: int = 9) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and depth:
            yield from _flat(value, f"{before}{name}.", depth - 1)
        else:
            yield before + name, value


def _setting(values: list[Any]) -> str:
    """A setting as a reader reads it; of runs that differ in it one value for each."""
    texts = [_text(value) for value in values]
    return texts[0] if len(set(texts)) == 1 else "; ".join(texts)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def curve(series: list[list[float]], width: int = 300, height: int = 90) -> dict[str, Any] | None:
    """The losses of some runs as lines in a box of `width` by `height` pixels, from nought up; None without one."""
    if not series:
        return None
    top = max(max(values) for values in series)
    lines = []
    for values in series:
        step = width / (len(values) - 1)
        lines.append(
            " ".join(f"{step * number:.0f},{height * (1 - value / top):.1f}" for number, value in enumerate(values))
        )
    return {"lines": lines, "top": top, "epochs": len(series[0]), "width": width, "height": height}


def archive_name(record: Record) -> str:
    """File with the records of a page, beside it."""
    return f"{record.model}-{record.dataset}.tar.xz"


def documents(books: Shelf) -> dict[str, list[tuple[str, Path]]]:
    """Records that are no single runs: page -> (section, file)."""
    shipped = places.REPOSITORY / "book" / "records"
    files = [file for kind in addresses.DOCUMENTS for file in sorted((shipped / kind).rglob("*.json"))]
    files += sorted((books.folder / analyses.FOLDER).glob("*.json"))
    found: dict[str, list[tuple[str, Path]]] = {}
    for file in files:
        if place := addresses.place(file):
            found.setdefault(place.page, []).append((place.section, file))
    return found


def described(file: Path) -> list[tuple[str, str]]:
    """What the head of a record says: all that is no list and no table, so when, where and with which settings."""
    content = json.loads(file.read_text(encoding="utf-8"))
    for name in ("judged", "runs"):  # labels of images, packed; every run that an analysis read
        content.pop(name, None)
    plain = [(name, value) for name, value in _flat(content, depth=1) if not isinstance(value, list | dict)]
    return [(name, _text(value)) for name, value in plain if value not in ("", None) and len(str(value)) < 200]


def studied(file: Path) -> dict[str, Any]:
    """What a study of photographs came to, a row for each way and share of the labels, and how to repeat it."""
    study = studies.study(file)
    rows, shares = [], sorted({entry["share"] for entry in study["found"]})
    for share in reversed(shares):
        for way in photographs.ways(study, share):
            found = studies.runs(study["found"], way, share)
            each = [100 * entry["accuracy"] for entry in found]
            off = [100 * entry["sparsity"] for entry in found if "sparsity" in entry]
            rows.append(
                (
                    way, f"{share:g} %", f"{found[0]['rate']:g}", f"{fmean(each):.1f}",
                    ", ".join(f"{one:.1f}" for one in each), f"{fmean(off):.1f} %" if off else "",
                )
            )  # fmt: skip
    ways = ",".join(dict.fromkeys(row[0] for row in rows))
    given = {name: value for name, value in study["settings"].items() if value != ""} | {"ways": ways}
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    few = [f"{share:g}" for share in shares if share != 100]
    words += ["--shares", *few] if few else []
    command = f"python -m submasking.experiments.photographs FOLDER {shlex.join(words)}"
    heads = ("way", "labels", "rate", "accuracy", "of each seed", "weights off")
    return {"heads": heads, "rows": rows, "command": command}


def pages(app: Any) -> Iterator[Page]:
    """All pages below runs/."""
    if app.builder.format != "html":
        return
    repository, target = app.config.html_theme_options.get("repository_url", ""), Path(app.outdir)
    for books in shelves(app.shelf):
        for name, records in by_page(books).items():
            body = page(records, books, repository, app.notebooks)
            files = [books.folder / record.path for record in records]
            atomic.write(target / f"{name.rpartition('/')[0]}/{body['archive']}", served.together(files))
            yield rendered(name, "run.html", body)
        context = {"title": f"All runs of profile {books.profile}", "profile": books.profile, "records": books.records}
        yield rendered(addresses.table(books.profile), "all_runs.html", context | {"place": _place, "labels": labels})
    for name, sections in documents(app.shelf).items():
        for section, file in sections:
            atomic.write(target / name / served.name(section, file), served.content(file))
        rows = [
            (section, served.name(section, file), described(file), studied(file) if name == _STUDIES else None)
            for section, file in sections
        ]
        yield rendered(name, "documents.html", {"title": f"Records: {name.partition('/')[2]}", "rows": rows})


def rendered(name: str, template: str, context: dict[str, Any]) -> Page:
    """A page as Sphinx collects it: in the frame of all pages."""
    up = "../" * name.count("/")
    body = TEMPLATES.get_template(template).render(context | {"up": up, "page": name})
    return name, {"title": context["title"], "body": body, "parents": [], "toc": "", "display_toc": False}, "page.html"


def used(env: Any, docname: str, books: Shelf) -> list[Record]:
    """The runs of the book's profile that a page read."""
    files = {os.path.realpath(os.path.join(env.srcdir, name)) for name in env.dependencies.get(docname, ())}
    return [record for file, record in books.by_file.items() if file in files]


def _panel(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """At the end of a page with numbers: how many runs they are from, and how far these are to be trusted."""
    found = used(app.env, pagename, app.shelf) if doctree is not None else []
    if found:
        up = "../" * pagename.count("/")
        told = {"facts": trust.facts(found, app.shelf), "count": len(found), "up": up}
        table = addresses.table(app.shelf.profile)
        context["body"] += TEMPLATES.get_template("panel.html").render(told | {"all_runs": table})


def shorter(menu: BeautifulSoup) -> BeautifulSoup:
    """A menu with the book's chapters alone, without their parts and without notebooks."""
    for parts in menu.select("li > details, li > ul"):
        parts.decompose()
    for chapters in menu.select("ul"):
        if all("/notebooks/" in link["href"] for link in chapters.select("a")):
            chapters.find_previous_sibling("p").decompose()
            chapters.decompose()
    return menu


def _menu(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Half a hundred pages of runs would each repeat the whole menu, which is longer than what many of them show."""
    if pagename.startswith(f"{addresses.FOLDER}/"):
        generate: Callable[..., BeautifulSoup] = context["generate_toctree_html"]
        context["generate_toctree_html"] = lambda *given, **options: shorter(generate(*given, **options))


def setup(app: Any) -> None:
    app.connect("html-page-context", _panel)
    app.connect("html-page-context", _menu, priority=950)  # after the theme, which brings the menu
    app.connect("html-collect-pages", pages)
