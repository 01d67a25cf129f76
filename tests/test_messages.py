"""What the library says when it refuses: nobody is told to delete a file, and a message says more than its rule."""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "submasking"
# what is said of the inside of a record, a coded mask or a download, and is told with a remedy by what reads that
INSIDE = ("records/", "tasks/codec/", "tasks/floats.py", "tasks/unpacking.py", "worlds/paper/", "experiments/runs.py")
# parts of longer messages, and those that end with a list or a reason
PARTS = (
    "it has",
    "it is",
    "grey of mode",
    "the backbone must have",
    "rescale and head",
    "a linear head has",
    "{} must be a text",
    "{} must be a readable file of weights, but {}",
    "open_clip has no model",
    "timm has no",
)


def messages():
    """Where an error is raised with a text of its own, and the text, with {} for what is put in."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                text = written(node.exc.args[0])
                if text.strip("{}"):
                    yield f"{path.relative_to(SOURCE).as_posix()}:{node.lineno}", text


def written(node):
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join("{}" if isinstance(part, ast.FormattedValue) else str(part.value) for part in node.values)
    if isinstance(node, ast.BinOp):
        return written(node.left) + written(node.right)
    return ""


FOUND = dict(messages())
DELETES = re.compile(r"\b(delete|erase|unlink)\b|\bremove (it|them|the (file|folder|checkpoint))\b(?! first)")
HELPS = re.compile(r"[;:?]|one of|among|there are")


def test_nobody_is_told_to_delete_a_file():
    assert len(FOUND) > 200
    assert not {place: text for place, text in FOUND.items() if DELETES.search(text)}


def test_a_message_is_one_line_that_says_more_than_its_rule():
    """What helps stands behind a semicolon or a colon, or is the list of what there is."""
    outside = {at: text for at, text in FOUND.items() if not at.startswith(INSIDE) and not text.startswith(PARTS)}
    assert not {place: text for place, text in outside.items() if "\n" in text or not HELPS.search(text)}


@pytest.mark.parametrize(
    ("text", "deletes", "helps"),
    [
        ("it is damaged: delete it", True, True),
        ("{} must be whole; remove it, and it is made anew", True, True),
        ("the name must be new; remove it first", False, True),
        ("k must be at least 1, got {}", False, False),
        ("k must be at least 1, got {}; 20 is usual", False, True),
    ],
)
def test_these_rules_tell_messages_apart(text, deletes, helps):
    assert (bool(DELETES.search(text)), bool(HELPS.search(text))) == (deletes, helps)
