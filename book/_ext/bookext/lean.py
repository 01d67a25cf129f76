"""The built site without what no page of it asks for.

Of an icon library it keeps the icons that are shown, of fonts the one that is used; translations go, and maps for those
who debug the theme.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

SCRIPT, STYLE = Path("scripts") / "fontawesome.js", Path("styles") / "pydata-sphinx-theme.css"
FONTS, FONT = Path("vendor") / "fontawesome" / "webfonts", "fa-solid-900.woff2"
NAME = re.compile(r"\bfa-([a-z0-9-]+)")
# name:[width,height,["other name"],"code","path"], in the script, and .fa-name:before{content:"code"} in the style
SHAPE = re.compile(r'"?([a-z0-9-]+)"?:\[\d+,\d+,\[([^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\["[^"]*","[^"]*"\])\],?')
GLYPH = re.compile(r'(?<=\})((?:\.fa-[a-z0-9-]+:before,?)+)\{content:"[^"]*"\}')


def icons(site: Path) -> set[str]:
    """Names of the icons on the pages of a site."""
    return {name for page in site.rglob("*.html") for name in NAME.findall(page.read_text(encoding="utf-8"))}


def shapes(script: str, names: set[str]) -> str:
    """The icon library's script with no other shapes than those with one of these names."""
    return SHAPE.sub(lambda found: found[0] if names & {found[1], *re.findall(r"[a-z0-9-]+", found[2])} else "", script)


def glyphs(style: str, names: set[str]) -> str:
    """The theme's style with no other icons than these."""
    return GLYPH.sub(lambda found: found[0] if names & set(NAME.findall(found[1])) else "", style)


def trim(site: Path) -> None:
    """Take out of a built site what its pages do not ask for."""
    static, names = site / "_static", icons(site)
    for file, kept in ((static / SCRIPT, shapes), (static / STYLE, glyphs)):
        file.write_text(kept(file.read_text(encoding="utf-8"), names), encoding="utf-8")
    for file in [*static.rglob("*.map"), *(font for font in (static / FONTS).iterdir() if font.name != FONT)]:
        file.unlink()
    shutil.rmtree(static / "locales", ignore_errors=True)  # gone already where nothing was due


def _finish(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        trim(Path(app.outdir))


def setup(app: Any) -> None:
    app.connect("build-finished", _finish, priority=900)
