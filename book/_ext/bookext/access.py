"""What theme and Sphinx leave a reader without sight to guess: what a toggle shows, and what an entry of a list is."""

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
    # a role that is not in use any more, and that no list may have in it; and the corner of a table of pandas
    body = context.get("body", "").replace(' role="doc-biblioentry"', ' role="listitem"')
    context["body"] = body.replace("<th></th>", "<td></td>")
    context["generate_toctree_html"] = lambda *given, **options: named(generate(*given, **options))


def setup(app: Any) -> None:
    app.connect("html-page-context", _name, priority=900)  # after the theme, which brings the function
