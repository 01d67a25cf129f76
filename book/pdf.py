"""Build the PDF of the book from the same pages: `python book/pdf.py` writes _build/latex/submasking.pdf.

Where LaTeX is missing it says in one line which packages to install, and ends well: the site needs no LaTeX.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

BOOK = Path(__file__).resolve().parent
OUTPUT = BOOK.parent / "_build" / "latex"
PACKAGES = "latexmk texlive-latex-extra texlive-fonts-recommended"


def missing() -> list[str]:
    """Programs that LaTeX needs and this machine lacks."""
    return [name for name in ("pdflatex", "latexmk") if shutil.which(name) is None]


def main() -> int:
    """Write LaTeX, then run it; returns an exit status."""
    if missing():
        print(f"No PDF: {' and '.join(missing())} not found. On Debian or Ubuntu: apt-get install {PACKAGES}")
        return 0
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
    print(f"The PDF: {(OUTPUT / 'submasking.pdf').relative_to(BOOK.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
