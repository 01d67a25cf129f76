"""Build the PDF of the book from the same pages: `python book/pdf.py` writes _build/latex/submasking.pdf.

A copy goes beside the start of the site, where the site is built: a number in it leads to the page of its runs.

Nothing is done where the PDF is there and nothing that it is made from has changed since.
Where LaTeX is missing it says in one line which packages to install, and ends well: the site needs no LaTeX.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

BOOK = Path(__file__).resolve().parent
PROJECT = BOOK.parent
OUTPUT = PROJECT / "_build" / "latex"
SITE = PROJECT / "_build" / "html"
PDF, STAMP = OUTPUT / "submasking.pdf", OUTPUT / "submasking.inputs"
PROFILE = os.environ.get("SUBMASKING_PROFILE") or "tiny"
SOURCES = (
    "book",
    "src",
    f"results/{PROFILE}/records",
    f"results/{PROFILE}/grid.json",
    "_config.yml",
    "_toc.yml",
    "requirements.lock",
)
MADE = {"__pycache__", "made", "notebooks", "_build"}  # folders that a build or a run writes
WAITING = re.compile("<!--PDF (.*?) PDF-->")  # a link to it on the first page, for as long as it is not there
PACKAGES = "latexmk texlive-latex-extra texlive-fonts-recommended"


def missing() -> list[str]:
    """Programs that LaTeX needs and this machine lacks."""
    return [name for name in ("pdflatex", "latexmk") if shutil.which(name) is None]


def inputs() -> str:
    """Hash of the names and contents of all files that the PDF is made from."""
    content = hashlib.sha256(PROFILE.encode())
    roots = [PROJECT / name for name in SOURCES]
    for file in sorted(file for root in roots for file in (root.rglob("*") if root.is_dir() else [root])):
        if file.is_file() and not MADE & set(file.relative_to(PROJECT).parts):
            content.update(str(file.relative_to(PROJECT)).encode() + b"\0" + file.read_bytes())
    return content.hexdigest()


def beside_the_site() -> None:
    """Copy the PDF to where the addresses in it begin, and let the site's first page lead to it."""
    start = SITE / "index.html"
    if start.exists():
        shutil.copyfile(PDF, SITE / PDF.name)
        start.write_text(WAITING.sub(r"\1", start.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> int:
    """Write LaTeX, then run it; returns an exit status."""
    if missing():
        print(f"No PDF: {' and '.join(missing())} not found. On Debian or Ubuntu: apt-get install {PACKAGES}")
        return 0
    digest = inputs()
    if PDF.exists() and STAMP.exists() and STAMP.read_text() == digest:
        print(f"The PDF: {PDF.relative_to(PROJECT)} (nothing has changed)")
        beside_the_site()
        return 0
    STAMP.unlink(missing_ok=True)
    options = ["--builder", "latex", "-W", "--keep-going", "-q"]
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(BOOK), *options]
    if subprocess.run(command, check=False).returncode:
        return 1
    tex = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-silent", "submasking.tex"]
    done = subprocess.run(tex, cwd=OUTPUT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-3000:], file=sys.stderr)
        print(f"LaTeX failed; its log is {OUTPUT / 'submasking.log'}", file=sys.stderr)
        return 1
    STAMP.write_text(digest)
    print(f"The PDF: {PDF.relative_to(PROJECT)}")
    beside_the_site()
    return 0


if __name__ == "__main__":
    sys.exit(main())
