"""Roles that put numbers into sentences, {record} and {reported}, and links that the PDF does without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import only
from sphinx.util.docutils import ReferenceRole, SphinxRole

from bookext import addresses, expressions, shelf
from bookext.expressions import Number


class measured(nodes.inline):  # noqa: N801  (docutils names its nodes so)
    """A number that tells where it is from when it is pointed at, and leads there where there is a record."""


def number_node(number: Number, kind: str, address: str = "") -> measured:
    """A number; without an address it leads to the records among its files."""
    node = measured(number.text, number.text, classes=["measured", kind])
    node["hover"], node["address"] = number.hover, address or addresses.of_files(number.files)
    return node


class NumberRole(SphinxRole):
    """A number by its expression; an error where there is none."""

    def __init__(self, kind: str, evaluate: Callable[..., Number]) -> None:
        self.kind, self.evaluate = kind, evaluate

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            number = self.evaluate(self.text, self.env.app.shelf)
        except ValueError as error:
            message = self.inliner.reporter.error(f"{{{self.kind}}} {self.text!r}: {error}", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        shelf.note(self.env, list(number.files))
        return [number_node(number, self.kind)], []


class NotebookRole(SphinxRole):
    """A link to an executed notebook's page; in the PDF, which has no notebooks, its name."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [*notebook_link(self.env, self.text)], []


class PageRole(ReferenceRole):
    """A link to a page that the PDF does not have, `title <page>`; there the title alone."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        if self.env.app.builder.format == "latex":
            return [nodes.Text(self.title)], []
        if not (Path(self.env.srcdir) / f"{self.target}.md").exists():
            message = self.inliner.reporter.error(f"{{page}} {self.target!r}: there is no such page", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        target = f"{up(self.env)}{self.target}.html"
        return [nodes.reference("", self.title, refuri=target, internal=True)], []


def up(env: Any) -> str:
    """From the page being read to the root of the site."""
    return "../" * env.docname.count("/")


def web(node: nodes.Node) -> nodes.Node:
    """Only in HTML."""
    return only("", node, expr="html")


def link(text: str, target: str) -> nodes.reference:
    return nodes.reference("", "", nodes.literal("", text), refuri=target, internal=True)


def notebook_link(env: Any, stem: str) -> list[nodes.Node]:
    """The notebook's name, a link where this build has its page."""
    if stem not in env.app.notebooks:
        return [nodes.literal("", stem)]
    return [link(stem, f"{up(env)}notebooks/{stem}.html")]


def _html_visit(self: Any, node: measured) -> None:
    if not node["address"]:
        self.body.append(self.starttag(node, "abbr", "", title=node["hover"]))
        return
    up = "../" * self.builder.current_docname.count("/")
    self.body.append(self.starttag(node, "a", "", title=node["hover"], href=up + node["address"]))


def _html_depart(self: Any, node: measured) -> None:
    self.body.append("</a>" if node["address"] else "</abbr>")


def _latex_visit(self: Any, node: measured) -> None:
    self.body.append(f"{latex_link(self.builder.env, node['address'])}{{")


def _latex_depart(self: Any, node: measured) -> None:
    self.body.append("}")


def _plain(self: Any, node: measured) -> None:
    """The number alone."""


def latex_link(env: Any, address: str) -> str:
    """The macro of a number that leads to an address of the site, without the number; "" without an address.

    Without `html_baseurl` the address is relative to the PDF: a copy lies beside the start of the site (`book/pdf.py`).
    """
    whole = f"{env.config.html_baseurl}{address}".translate({ord(sign): f"\\{sign}" for sign in "#&%"})
    return f"\\measured{{{whole}}}" if address else ""


def setup(app: Any) -> None:
    app.add_node(measured, html=(_html_visit, _html_depart), latex=(_latex_visit, _latex_depart), text=(_plain, _plain))
    app.add_role("record", NumberRole("record", expressions.evaluate))
    app.add_role("reported", NumberRole("reported", expressions.quote))
    app.add_role("notebook", NotebookRole())
    app.add_role("page", PageRole())
