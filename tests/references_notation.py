"""Which symbols a page's theorems use, which the notation table explains, and whether the names beside them exist."""

import ast
import pkgutil
import re
from functools import lru_cache
from pathlib import Path

import references_invariance
import torch

import submasking
from submasking.experiments import invariance

ROOT = Path(__file__).parents[1]
MATHEMATICS = re.compile(r"```\{math\}\n(?::label: \S+\n)?(.*?)```|\$([^$]+)\$", re.DOTALL)
NO_SYMBOL = re.compile(
    r"\\(?:text|begin|end)\{[^}]*\}|\[\\text\{centred\}\]|\\[,;! {}]"
    r"|\\(?:left|right|sqrt|frac|tfrac|dots|partial|lVert|rVert|min|odot|q?quad|le|ge|neq|in|mapsto|to|sum|cdot)(?![a-zA-Z])"
)
SYMBOL = re.compile(
    r"\\mathcal\{\w\}|\\mathrm\{\w+\}|\\mathbb\{\w\}|\\(?:bar|tilde|hat)\s*(?:\\[a-z]+|[A-Za-z])|\\[a-zA-Z]+|[A-Za-z]"
)
DIGIT, INDEX = re.compile(r"_(\d)"), re.compile(r"(?:\^t)?_[a-z]")
PLACES = {
    "masking": submasking.Masking,
    "Network": references_invariance.Network,
    **{name: getattr(invariance, name) for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Rule", "Setup")},
    "Threshold": submasking.Threshold,
    "parameter": torch.nn.Parameter,
}


def symbols(text):
    """Symbols in the formulas of a text; a digit as subscript is part of its symbol, a prime is not."""
    found = set()
    for formula, match in _matches(text):
        digit = DIGIT.match(formula, match.end())
        found.add(match.group().replace(" ", "") + (digit.group() if digit else ""))
    return found


def indexed(text):
    """Symbols that a text writes with a letter as index: with a number for the letter they mean the same."""
    return {match.group().replace(" ", "") for formula, match in _matches(text) if INDEX.match(formula, match.end())}


def _matches(text):
    for block, inline in MATHEMATICS.findall(text):
        formula = NO_SYMBOL.sub(" ", block or inline)
        yield from ((formula, match) for match in SYMBOL.finditer(formula))


def statements(page):
    """The page up to the errata, which quote the draft's own symbols."""
    return page.partition("## Errata")[0]


def table(page):
    """Rows (symbol, meaning, code) of the tables of a page, without the heads."""
    rows = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in page.splitlines() if line.startswith("| $")]
    return [tuple(cell.strip() for cell in row) for row in rows]


def unexplained(theorems, notation):
    """Symbols of the theorems and proofs that the notation table lacks."""
    heads = " ".join(row[0] for row in table(notation))
    explained, any_index = symbols(heads), indexed(heads)
    return {name for name in symbols(statements(theorems)) - explained if DIGIT.sub("", name) not in any_index}


def nameless(notation):
    """Rows without a name in the code and without the words that say that there is none."""
    return [row[0] for row in table(notation) if "`" not in row[2] and "no name" not in row[2]]


def unknown_names(notation):
    """Names in the third column that the library does not have."""
    codes = [code for row in table(notation) for code in re.findall(r"(?<!\})`([^`]+)`", row[2])]
    return [code for code in codes if not _exists(code)]


def _exists(code):
    if re.match(r"[\w.]+\.\w", code):
        return _reaches(re.sub(r"\([^)]*\)", "", code))
    tree, words = ast.parse(code), set()
    for node in ast.walk(tree):
        words |= {getattr(node, name) for name in ("id", "arg", "value") if isinstance(getattr(node, name, None), str)}
    return words <= _words()


def _reaches(dotted):
    first, _, rest = dotted.partition(".")
    if first in PLACES:
        fields = {*dir(PLACES[first]), *getattr(PLACES[first], "__annotations__", {})}
        return rest in fields
    try:
        pkgutil.resolve_name(dotted)
    except (ImportError, AttributeError):
        return False
    return True


@lru_cache
def _words():
    """Names, arguments and strings in the library's source, and names in the tests of the invariances."""
    found = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            found |= {
                word
                for name in ("id", "arg", "attr", "name", "value")
                if isinstance(word := getattr(node, name, None), str)
            }
    tests = ast.parse(Path(__file__).with_name("test_invariance.py").read_text())
    return found | {node.id for node in ast.walk(tests) if isinstance(node, ast.Name)}
