"""The built site without what no page of it asks for.

Of an icon library it keeps the icons that are shown, of fonts the one that is used, of MathJax the alphabets that a
formula asks for; translations go, maps for those who debug the theme, and the blank lines and indents of its templates.
"""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import Any

from fontTools import subset

from bookext import alphabets

SCRIPT, STYLE = Path("scripts") / "fontawesome.js", Path("styles") / "pydata-sphinx-theme.css"
FONTS, FONT = Path("vendor") / "fontawesome" / "webfonts", "fa-solid-900"
logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells all that it does
SOURCE = re.compile(rf'url\(([^)]*/{FONT})\.woff2\) format\("woff2"\),url\([^)]*\.ttf\) format\("truetype"\)')
NAME = re.compile(r"\bfa-([a-z0-9-]+)")
# name:[width,height,["other name"],"code","path"], in the script, and .fa-name:before{content:"code"} in the style
SHAPE = re.compile(r'"?([a-z0-9-]+)"?:\[\d+,\d+,\[([^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\["[^"]*","[^"]*"\])\],?')
GLYPH = re.compile(r'(?<=\})((?:\.fa-[a-z0-9-]+:before,?)+)\{content:"[^"]*"\}')
# what is between these shows its spaces, or is no text
AS_IT_IS = re.compile(r"(<(pre|script|style|textarea)\b.*?</\2>)", re.DOTALL)
INDENT = re.compile(r"\s*\n\s*")


def spaces(page: str) -> str:
    """A page without indents and blank lines, which a browser shows as one space; code keeps its own."""
    rest, parts = 0, []
    for kept in AS_IT_IS.finditer(page):
        parts += [INDENT.sub("\n", page[rest : kept.start()]), kept[0]]
        rest = kept.end()
    return "".join([*parts, INDENT.sub("\n", page[rest:])])


def icons(site: Path) -> set[str]:
    """Names of the icons on the pages of a site."""
    return {name for page in site.rglob("*.html") for name in NAME.findall(page.read_text(encoding="utf-8"))}


def shapes(script: str, names: set[str]) -> str:
    """The icon library's script with no other shapes than those with one of these names."""
    return SHAPE.sub(lambda found: found[0] if names & {found[1], *re.findall(r"[a-z0-9-]+", found[2])} else "", script)


def glyphs(style: str, names: set[str]) -> str:
    """The theme's style with no other icons than these."""
    return GLYPH.sub(lambda found: found[0] if names & set(NAME.findall(found[1])) else "", style)


def font(folder: Path, styles: str) -> None:
    """Of the icon font the letters that the styles name, in place of all fonts of a folder."""
    written = "".join(chr(int(code, 16)) for code in re.findall(r'"\\([0-9a-f]{4})"', styles))
    letters = [ord(letter) for letter in styles + written if "\ue000" <= letter <= "\uf8ff"]
    options = subset.Options(flavor="woff", layout_features=[], hinting=False)
    small = subset.Subsetter(options)
    small.populate(unicodes=letters)
    with subset.load_font(str(folder / f"{FONT}.ttf"), options) as whole:
        small.subset(whole)
        subset.save_font(whole, str(folder / f"{FONT}.woff"), options)
    for file in folder.iterdir():
        if file.name != f"{FONT}.woff":
            file.unlink()


def trim(site: Path) -> None:
    """Take out of a built site what its pages do not ask for."""
    static, names = site / "_static", icons(site)
    for file, kept in ((static / SCRIPT, shapes), (static / STYLE, glyphs)):
        file.write_text(kept(file.read_text(encoding="utf-8"), names), encoding="utf-8")
    if (static / FONTS / f"{FONT}.ttf").exists():
        font(static / FONTS, "".join(file.read_text(encoding="utf-8") for file in static.rglob("*.css")))
    style = (static / STYLE).read_text(encoding="utf-8")
    (static / STYLE).write_text(SOURCE.sub(r'url(\1.woff) format("woff")', style), encoding="utf-8")
    for file in site.rglob("*.html"):
        file.write_text(spaces(file.read_text(encoding="utf-8")), encoding="utf-8")
    for file in static.rglob("*.map"):
        file.unlink()
    shutil.rmtree(static / "locales", ignore_errors=True)  # gone already where nothing was due


def _finish(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        trim(Path(app.outdir))
        alphabets.trim(Path(app.outdir))


def setup(app: Any) -> None:
    app.connect("build-finished", _finish, priority=900)
