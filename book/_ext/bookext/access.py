"""What the theme leaves a reader without sight to guess: which pages a toggle of the navigation shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bs4 import BeautifulSoup


def named(navigation: BeautifulSoup) -> BeautifulSoup:
    """A navigation whose toggles say of which page they show the parts."""
    for toggle in navigation.select("li > details > summary"):
        toggle["aria-label"] = f"Parts of {toggle.find_parent('li').find('a').get_text()}"
    return navigation


def _name(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    generate: Callable[..., BeautifulSoup] = context["generate_toctree_html"]
    context["generate_toctree_html"] = lambda *given, **options: named(generate(*given, **options))


def setup(app: Any) -> None:
    app.connect("html-page-context", _name, priority=900)  # after the theme, which brings the function
