"""Executed notebooks as pages: taken from the reader's own grid, or executed now against the shipped records.

Nothing is trained here: a notebook finds its runs among the records, and a missing one is an error. A notebook that
failed fails the build.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image
from sphinx.errors import ExtensionError
from sphinx.util import logging

import submasking
from bookext import cores
from bookext.shelf import Shelf
from submasking.experiments import inprocess, notebooks
from submasking.files import atomic
from submasking.records import places
from submasking.records.results import READ_ONLY

logger = logging.getLogger(__name__)
LIBRARY = Path(submasking.__file__).parent
# exit code of a process whose end nobody saw: the one that forks was lost, which is no notebook's fault
LOST = 255
Job = tuple[str, dict[str, Any]]  # a notebook's name and its parameters


def planned(profile: str) -> dict[str, Job]:
    """The notebooks of the profile's grid: page name -> (notebook, parameters)."""
    from submasking.experiments import grid

    return grid.notebooks(profile, grid.made_with(places.book_folder(profile)))


def failure(notebook: Any) -> str:
    """Why an executed notebook must not be shown: its error in one line; "" where it ran well."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"cell {number}: {output.ename}: {output.evalue}"
    crashed = notebook.metadata.get("papermill", {}).get("exception")
    return "papermill recorded an exception" if crashed else ""


def page(executed: Any, key: str, given: dict[str, Any], source: str) -> Any:
    """The notebook as the book shows it: without times, told how it was run, with described pictures."""
    shown = nbformat.reads(nbformat.writes(executed), as_version=4)
    title = shown.cells[0].source.lstrip("# ").strip()
    if given.get("model", "all") != "all":  # or the pages of two models would have one title
        shown.cells[0].source += f" ({given['model']})"
    shown.metadata = {name: shown.metadata[name] for name in ("kernelspec", "language_info") if name in shown.metadata}
    shown.metadata["book"] = {"key": key}
    for number, cell in enumerate(shown.cells):
        tags = cell.metadata.get("tags", [])
        described = cell.metadata.get("mystnb", {})
        described.setdefault("image", {}).setdefault("alt", f"Plot drawn by the code above, in the notebook: {title}")
        cell.metadata = {"tags": tags} | ({"mystnb": described} if cell.cell_type == "code" else {})
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            cell.outputs = merged(cell.outputs)
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = smaller(output.data["image/png"])
        if "injected-parameters" in tags:
            cell.metadata["tags"] = [*tags, "hide-input"]
    shown.cells.insert(1, nbformat.v4.new_markdown_cell(how(given, source), id="how"))
    return shown


def smaller(picture: str) -> str:
    """A plot with at most 256 colours, which is what lines and letters need, in a quarter of the bytes.

    Args:
        picture: a PNG in base64, as a notebook holds it.
    """
    made = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        image.quantize(256, Image.Quantize.FASTOCTREE).save(made, "PNG", optimize=True)
    return min(picture, base64.b64encode(made.getvalue()).decode("ascii"), key=len)


def merged(outputs: list[Any]) -> list[Any]:
    """Printed lines that follow each other as one output: papermill keeps a piece per line."""
    found: list[Any] = []
    for output in outputs:
        before = found[-1] if found else {}
        if output.output_type == before.get("output_type") == "stream" and output.name == before.name:
            found[-1] = nbformat.from_dict(before | {"text": before.text + output.text})
        else:
            found.append(output)
    return found


def how(given: dict[str, Any], source: str) -> str:
    """What a reader must know of an executed notebook before its first cell."""
    values = ", ".join(f"`{name} = {value}`" for name, value in given.items())
    return f":::{{admonition}} An executed notebook\n:class: note\nRun by papermill with {values}; {source}.\n:::"


def content_key(name: str, given: dict[str, Any], books: Shelf) -> str:
    """Hash of all that decides an executed notebook: itself, its parameters, the library, the records."""
    content = hashlib.sha256(json.dumps(given, sort_keys=True).encode() + books.digest.encode())
    library = sorted(file for kind in ("*.py", "*.mplstyle") for file in LIBRARY.rglob(kind))
    for file in [notebooks.path(name), Path(__file__), *library]:
        content.update(file.read_bytes())
    return content.hexdigest()


def stored_key(path: Path) -> str:
    """Key of a page that is already there; "" where there is none."""
    if not path.exists():
        return ""
    return nbformat.read(path, as_version=4).metadata.get("book", {}).get("key", "")


def execute(jobs: dict[str, Job], books: Shelf, folder: Path) -> Iterator[tuple[str, Path]]:
    """Run notebooks through papermill on a copy of the records, which they may read and not extend; one a core.

    Raises:
        ExtensionError: a notebook failed; the message ends with its traceback.
    """
    root = folder / "results"
    shutil.copytree(books.folder, root / books.profile / "records")
    surroundings = {"SUBMASKING_RESULTS": str(root), READ_ONLY: "1"}
    forks = inprocess.forks("jupyter_book.cli.main")  # the program that builds, which each process asks for

    def one(stem: str) -> Path:
        output = folder / f"{stem}.ipynb"
        for _ in range(2):
            process = forks.Process(target=inprocess.execute, args=(*jobs[stem], output, surroundings))
            process.start()
            process.join()
            if process.exitcode != LOST:
                break
        if process.exitcode:
            raise ExtensionError(f"notebook {stem} failed, so the book is not built; its error is told above")
        return output

    logger.info(f"executing {len(jobs)} notebooks on the records: {', '.join(jobs)}")
    with ThreadPoolExecutor(cores.PROCESSES) as pool:
        yield from zip(jobs, pool.map(one, jobs), strict=True)


def place(jobs: dict[str, Job], books: Shelf, target: Path) -> None:
    """Make `target`/<page>.ipynb of every job, where it is not there already with the same content key.

    Raises:
        ExtensionError: a notebook has failed.
    """
    keys = {stem: content_key(*jobs[stem], books) for stem in jobs}
    due = {stem: job for stem, job in jobs.items() if stored_key(target / f"{stem}.ipynb") != keys[stem]}
    own = books.folder.parent / "notebooks"
    with tempfile.TemporaryDirectory() as folder:
        executed: Iterable[tuple[str, Path]]
        if books.own:
            executed = ((stem, own / f"{stem}.ipynb") for stem in due)
            source = "in your own run of the grid"
        else:
            executed = execute(due, books, Path(folder)) if due else ()
            source = "on the records that the project ships: nothing was trained for this page"
        for stem, path in executed:
            notebook = nbformat.read(path, as_version=4)
            reason = failure(notebook)
            if reason:
                raise ExtensionError(f"notebook {stem} failed, so the book is not built: {reason}")
            made = page(notebook, keys[stem], jobs[stem][1], source)
            atomic.write(target / f"{stem}.ipynb", nbformat.writes(made))


def available(books: Shelf) -> dict[str, Job]:
    """The grid's notebooks that exist; none as long as there are no records."""
    if not books.records:
        return {}
    return {
        stem: job for stem, job in planned(books.profile).items() if (notebooks.FOLDER / f"{job[0]}.ipynb").exists()
    }


def _place(app: Any) -> None:
    if app.builder.format == "html":
        place(app.notebooks, app.shelf, Path(app.srcdir) / "notebooks")


def setup(app: Any) -> None:
    app.connect("builder-inited", _place)
