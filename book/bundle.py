"""Pack all that a reader of later years needs into one archive: `python book/bundle.py` (`make bundle`).

_build/submasking-<version>.tar.gz holds, each below the folder submasking-<version>,

    source/                        the files of the commit
    results/                       records, masks, backbones and executed notebooks, where a whole grid was run here
    site/ submasking.pdf           the book, where it was built
    .zenodo.json codemeta.json     who, what and under which licence, made from CITATION.cff
    SHA256SUMS                     of all of these; `sha256sum --check SHA256SUMS` looks whether they are whole

The same files make the same bytes. The sum of the archive itself lies beside it.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BOOK = Path(__file__).resolve().parent
sys.path.append(str(BOOK / "_ext"))

from bookext import citation  # noqa: E402

from submasking.files import archive, atomic, identity  # noqa: E402
from submasking.files.archive import Entry  # noqa: E402
from submasking.records import surroundings  # noqa: E402

PROJECT = BOOK.parent
KEPT = ("records", "masks", "backbones", "notebooks", "grid.json")  # of a profile's results
PAPER = "arXiv:2409.07577"


def source(project: Path) -> Iterator[Entry]:
    """The files of the commit that is checked out."""
    packed = subprocess.run(["git", "archive", "--format=tar", "HEAD"], cwd=project, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                yield Entry(f"source/{member.name}", content.read(), 0o755 if member.mode & 0o100 else 0o644)


def made(project: Path) -> Iterator[Entry]:
    """What was run and built here: whole grids, the site, the PDF."""
    for grid in sorted(project.glob("results/*/grid.json")):
        for name in KEPT:
            yield from below(grid.parent / name, f"results/{grid.parent.name}/{name}")
    yield from below(project / "_build" / "html", "site")
    yield from below(project / "_build" / "latex" / citation.PDF, citation.PDF)


def below(place: Path, name: str) -> Iterator[Entry]:
    """A file, or all files of a folder, under another name; nothing where there is neither."""
    if place.is_file():
        yield Entry(name, place.read_bytes())
    for file in sorted(place.rglob("*")):
        if file.is_file():
            yield Entry(f"{name}/{file.relative_to(place).as_posix()}", file.read_bytes())


def zenodo(about: dict[str, Any]) -> dict[str, Any]:
    """What Zenodo asks of an upload."""
    return {
        "title": about["title"],
        "upload_type": "software",
        "description": about["abstract"],
        "creators": [{"name": name} for name in citation.names(about["authors"])],
        "version": about["version"],
        "publication_date": about["date-released"],
        "license": about["license"],
        "keywords": about["keywords"],
        "related_identifiers": [{"identifier": PAPER, "relation": "isDerivedFrom", "resource_type": "publication"}],
    }


def codemeta(about: dict[str, Any], project: dict[str, Any], commit: str) -> dict[str, Any]:
    """The same for catalogues of software, in CodeMeta's words."""
    return {
        "@context": "https://doi.org/10.5063/schema/codemeta-2.0",
        "@type": "SoftwareSourceCode",
        "name": about["title"],
        "description": about["abstract"],
        "author": [{"@type": "Organization", "name": name} for name in citation.names(about["authors"])],
        "version": f"{about['version']} at commit {commit}",
        "datePublished": about["date-released"],
        "license": f"https://spdx.org/licenses/{about['license']}",
        "keywords": about["keywords"],
        "programmingLanguage": f"Python {project['requires-python']}",
        "softwareRequirements": project["dependencies"],
        "referencePublication": PAPER,
    }


def entries(project: Path, commit: str) -> list[Entry]:
    """All files of the bundle, by name, with their sums as the last."""
    about = citation.cff(project)
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    told = {".zenodo.json": zenodo(about), "codemeta.json": codemeta(about, settings, commit)}
    files = [Entry(name, (json.dumps(content, indent=1) + "\n").encode()) for name, content in told.items()]
    files = sorted([*files, *source(project), *made(project)])
    sums = "".join(f"{hashlib.sha256(file.content).hexdigest()}  {file.name}\n" for file in files)
    return [*files, Entry("SHA256SUMS", sums.encode())]


def main(project: Path = PROJECT) -> int:
    """Write the archive and its sum; returns an exit status."""
    commit = surroundings.commit()
    if not commit or commit.endswith("+"):
        print(f"A bundle must be of a commit, this tree is {commit or 'of none'}: commit it first", file=sys.stderr)
        return 1
    stem = f"submasking-{citation.cff(project)['version']}"
    found = entries(project, commit)
    day = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=project, capture_output=True, text=True, check=True)
    target = project / "_build" / f"{stem}.tar.gz"
    named = (file._replace(name=f"{stem}/{file.name}") for file in found)
    atomic.write(target, archive.packed(named, int(day.stdout)))
    atomic.write(target.with_name(f"{target.name}.sha256"), f"{identity.of_file(target)}  {target.name}\n")
    parts = {file.name.partition("/")[0] for file in found}
    absent = [name for name in ("results", "site", citation.PDF) if name not in parts]
    print(f"The archive: {target.relative_to(project)}, {len(found)} files of commit {commit}")
    print(f"Not in it, since they were not made here: {', '.join(absent)}" if absent else "Nothing is left out.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
