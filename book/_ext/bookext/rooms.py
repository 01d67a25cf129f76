"""The plan of the library: its rooms from the import rules, what each says of itself, and who imports whom today."""

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

import submasking
from submasking.report import figures

LIBRARY = Path(submasking.__file__).parent
RULES = LIBRARY.parents[1] / "pyproject.toml"


def rooms() -> list[str]:
    """Names of the rooms from the top floor down, as the import rules have them."""
    contracts = tomllib.loads(RULES.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    floors = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [room.strip() for floor in floors for room in floor.split("|")]


def sources() -> list[Path]:
    """Files that the plan is drawn from."""
    return [RULES, Path(__file__), *sorted(LIBRARY.rglob("*.py"))]


def purpose(room: str) -> str:
    """What a room says that it is for, without its name."""
    said = ast.get_docstring(ast.parse((LIBRARY / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    return said.partition("\n")[0].partition(":")[2].strip(" .")


def imported(room: str) -> set[str]:
    """Rooms that the files of a room import."""
    found: set[str] = set()
    for file in (LIBRARY / room).rglob("*.py"):
        found |= set(re.findall(r"^\s*from submasking\.(\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    return found & set(rooms()) - {room}


def draw() -> Figure:
    """A box per room, the top floor first, and beside each a dot under every room that it imports."""
    with figures.theme():
        names = rooms()
        figure = Figure(figsize=(figures.WIDTH, 0.72 * len(names) + 0.9), layout="constrained")
        axes = figure.subplots()
        for row, room in enumerate(names):
            _box(axes, -row, room)
            for other in imported(room):
                axes.plot(names.index(other), -row, "o", color="C0", markersize=5.5)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="left", rotation_mode="anchor")
        axes.tick_params(axis="x", labelsize=figures.SMALL)
        axes.set(xlim=(-14.2, len(names) + 0.4), ylim=(-len(names) + 0.4, 0.6), yticks=[])
        axes.xaxis.tick_top()
        axes.grid(False)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.hlines([0.5 - row for row in range(len(names) + 1)], -0.6, len(names) - 0.4, lw=0.4, alpha=0.4, color="C7")
    return figure


def _box(axes: Axes, y: float, room: str) -> None:
    shape = FancyBboxPatch((-14.1, y - 0.44), 13.1, 0.88, boxstyle="round,pad=0,rounding_size=0.15", fc="none", ec="C7")
    axes.add_patch(shape)
    text = textwrap.fill(purpose(room), 34)
    axes.text(-13.8, y + 0.3, room, va="center", fontweight="bold", fontsize=figures.SMALL)
    axes.text(-13.8, y - 0.14, text, va="center", fontsize=figures.SMALL, linespacing=1.05)
