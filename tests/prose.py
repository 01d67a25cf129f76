"""The prose of the book's pages: what a reader reads that no role, code, mathematics or option of a directive made."""

from pathlib import Path
from typing import NamedTuple

from markdown_it.renderer import RendererHTML
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

EXTENSIONS = ("amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath", "smartquotes", "substitution")
# directives by whether their body is prose; code blocks have none
PROSE = (
    "abstract",
    "analysis-figure",
    "important",
    "invariance-figure",
    "only",
    "photo-figure",
    "record-figure",
    "record-table",
)
TITLED = ("admonition", "prf:")  # these have a title
OTHERS = (
    "analysis-table", "benchmark-table", "bibliography", "bibtex", "claims", "colophon", "compute-table", "eval-rst",
    "image", "math", "photo-distance", "photo-table", "raw", "record-settings", "record-source", "tuning-table",
)  # fmt: skip
GAP = "\N{HORIZONTAL ELLIPSIS}"  # where a role, code or mathematics stands


class Text(NamedTuple):
    """A paragraph, a heading, a cell of a table or a caption.

    Attributes:
        heading: the heading above it, itself where it is one.
        line: where its block begins, counted from 1; of a directive's body the line of the directive.
        text: its words, with a gap for all that is not prose.
    """

    heading: str
    line: int
    text: str


def read(path: Path) -> list[Text]:
    """All prose of a page in order."""
    return of(path.read_text(encoding="utf-8"))


def of(text: str, heading: str = "", line: int | None = None) -> list[Text]:
    """All prose of MyST Markdown; `line` is that of the directive whose body it is.

    Raises:
        ValueError: a directive is not known to be prose or none.
    """
    config = MdParserConfig(enable_extensions=set(EXTENSIONS))
    found, before = [], ""
    for token in create_md_parser(config, RendererHTML).parse(text):
        here = line or (token.map or [0])[0] + 1
        if token.type == "inline":
            words = "".join(map(_words, token.children or []))
            heading = words if before == "heading_open" else heading
            found.append(Text(heading, here, words))
        elif token.type in ("fence", "colon_fence"):
            found += _body(token.info.strip(), token.content, heading, here)
        before = token.type
    return found


def _words(token) -> str:
    if token.type == "text":
        return token.content
    if token.type in ("softbreak", "hardbreak"):
        return " "
    return "" if token.nesting else GAP


def _body(info: str, content: str, heading: str, line: int) -> list[Text]:
    if not info.startswith("{"):
        return []
    name, _, title = info[1:].partition("}")
    if name in OTHERS:
        return []
    titled = name.startswith(TITLED)
    if name not in PROSE and not titled:
        known = ", ".join(PROSE + TITLED + OTHERS)
        raise ValueError(f"directive must be among {known}; got {name!r}: say here whether it is prose")
    lines = content.splitlines()
    while lines and (lines[0].startswith(":") or lines[0].strip() in ("", "---")):
        lines.pop(0)
    return of("\n".join([title.strip() * titled, "", *lines]), heading, line)
