"""What makes the PDF a paper: the {abstract} directive."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class abstract(nodes.container):  # noqa: N801  (docutils names its nodes so)
    """The abstract, a LaTeX environment in the PDF."""


class Abstract(SphinxDirective):
    """The abstract of the paper."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        node = abstract("", classes=["abstract"])
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node]


def _html_visit(self: Any, node: abstract) -> None:
    self.body.append(self.starttag(node, "section", CLASS="abstract", **{"aria-label": "Abstract"}))
    self.body.append('<p class="rubric">Abstract</p>\n')


def _html_depart(self: Any, node: abstract) -> None:
    self.body.append("</section>\n")


def _latex_visit(self: Any, node: abstract) -> None:
    self.body.append("\n\\begin{abstract}\n")


def _latex_depart(self: Any, node: abstract) -> None:
    self.body.append("\n\\end{abstract}\n")


def setup(app: Any) -> None:
    app.add_node(abstract, html=(_html_visit, _html_depart), latex=(_latex_visit, _latex_depart))
    app.add_directive("abstract", Abstract)
