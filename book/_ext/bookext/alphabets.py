"""MathJax's font without the alphabets that no formula of the site asks for.

The font holds letters in bold, fraktur, script and so on, each for itself and again at its own place in Unicode. An
alphabet stays where a command for it stands on a page; a formula without it would be drawn in upright letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

FONT = Path("mathjax") / "output" / "svg" / "fonts" / "tex.js"
# a part of the font: name=(0,H.AddPaths)(V.name,{code:"path",...},{code:"letters",...})
PART = re.compile(r"(T\.([A-Za-z]\w*)=\(0,\w\.AddPaths\)\(\w\.\2,)\{([^{}]*)\}")
PATH = re.compile(r'(\d+):"[^"]*",?')


class Alphabet(NamedTuple):
    """A style of letters: the commands of TeX that ask for it, its parts of the font, its letters among the others."""

    commands: str
    parts: tuple[str, ...] = ()
    letters: tuple[tuple[int, int], ...] = ()  # first and last in Unicode

    def asked(self, text: str) -> bool:
        """Whether one of the commands stands in a text, or one of the letters itself."""
        letters = "".join(f"{chr(first)}-{chr(last)}" for first, last in self.letters)
        alone = rf"|[{letters}]" if letters else ""
        return re.search(rf"\\(?:{self.commands})(?![A-Za-z]){alone}", text) is not None


ALPHABETS = {
    "bold": Alphabet(
        r"(?:math|text|sym)?bf\w*|bm|pmb|\w*[Bb]old\w*|v[abu]",
        ("bold", "boldItalic", "texCalligraphicBold", "texOldstyleBold"),
        ((0x1D400, 0x1D433), (0x1D468, 0x1D49B), (0x1D6A8, 0x1D6E1), (0x1D71C, 0x1D755), (0x1D7CE, 0x1D7D7)),
    ),
    "script": Alphabet(r"(?:math|sym)?(?:bf)?scr", (), ((0x1D49C, 0x1D503),)),
    "fraktur": Alphabet(
        r"(?:math|sym)?(?:bf)?frak", ("fraktur", "frakturBold"), ((0x1D504, 0x1D537), (0x1D56C, 0x1D59F)),
    ),
    "double-struck": Alphabet(r"(?:math|sym)?[Bb]bb?\w*", (), ((0x1D538, 0x1D56B), (0x1D7D8, 0x1D7E1))),
    "sans-serif": Alphabet(
        r"(?:math|text|sym)?(?:bf)?sf\w*", ("sansSerif", "sansSerifBold", "sansSerifItalic", "sansSerifBoldItalic"),
        ((0x1D5A0, 0x1D66F), (0x1D756, 0x1D7CB), (0x1D7E2, 0x1D7F5)),
    ),
    "monospace": Alphabet(r"(?:math|text|sym)?tt|verb", ("monospace",), ((0x1D670, 0x1D6A3), (0x1D7F6, 0x1D7FF))),
    "old style": Alphabet(r"oldstyle", ("texOldstyle",)),
    "text italic": Alphabet(r"(?:math|text|sym)?it|emph", ("texMathit",)),
}  # fmt: skip


def unused(text: str) -> list[Alphabet]:
    """The alphabets that the formulas in a text do without."""
    return [alphabet for alphabet in ALPHABETS.values() if not alphabet.asked(text)]


def without(font: str, left_out: Iterable[Alphabet]) -> str:
    """MathJax's font without some alphabets; their measures stay."""
    gone = list(left_out)
    parts = {part for alphabet in gone for part in alphabet.parts}
    letters = {letter for alphabet in gone for letter in _letters(alphabet)}

    def kept(found: re.Match[str]) -> str:
        if found[2] in parts:
            return f"{found[1]}{{}}"
        return f"{found[1]}{{{PATH.sub(lambda one: '' if int(one[1]) in letters else one[0], found[3])}}}"

    return PART.sub(kept, font)


def _letters(alphabet: Alphabet) -> Iterator[int]:
    for first, last in alphabet.letters:
        yield from range(first, last + 1)


def trim(site: Path) -> None:
    """Take out of a built site's font the alphabets that its pages do not ask for."""
    file, text = site / "_static" / FONT, "".join(page.read_text(encoding="utf-8") for page in site.rglob("*.html"))
    file.write_text(without(file.read_text(encoding="utf-8"), unused(text)), encoding="utf-8")
