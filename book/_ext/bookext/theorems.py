"""Theorems and proofs as a mathematics paper sets them in the PDF; the site keeps sphinx-proof's boxes.

sphinx-proof writes LaTeX admonitions: boxes that no page can break, with an empty title over each proof.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx_proof.nodes import NODE_TYPES, find_parent, get_node_number, proof_node

UPRIGHT = ("definition", "remark", "example", "notation")
LONG = 15  # rows from which a table may break over pages
NARROW, WIDE = 8, 42  # bounds of a column's share, in characters
PREAMBLE = r"""
\newenvironment{statement}[1]{\par\addvspace{0.8em}\noindent\textbf{#1}\enspace\ignorespaces}{\par\addvspace{0.6em}}
\newenvironment{statementproof}{\par\addvspace{0.3em}\noindent\ignorespaces}{\hfill\ensuremath{\square}\par\addvspace{0.8em}}
\newcolumntype{T}{L}
\AtBeginEnvironment{tabulary}{\relpenalty=10000\binoppenalty=10000\hyphenpenalty=10000}
\AtBeginEnvironment{longtable}{\relpenalty=10000\binoppenalty=10000\hyphenpenalty=10000}
"""


def statement(self: Any, node: nodes.Element) -> None:
    """LaTeX of a theorem: Theorem 3 (Scale). Statement in italics."""
    kind, page = node["realtype"], find_parent(self.builder.env, node, "section")
    title, *content = node.children
    self.body.append(f"\n\\phantomsection\\label{{{page}:{node['label']}}}\n\\begin{{statement}}{{")
    self.body.append(f"{kind.title()} {get_node_number(self, node, node['countertype'])}")
    if title.astext():
        self.body.append(" ")
        for child in title.children:
            child.walkabout(self)
    self.body.append(".}" + ("" if kind in UPRIGHT else "\\itshape"))
    for child in content:
        child.walkabout(self)
    self.body.append("\\end{statement}\n")
    raise nodes.SkipNode


def enter_proof(self: Any, node: nodes.Element) -> None:
    self.body.append("\n\\begin{statementproof}")


def leave_proof(self: Any, node: nodes.Element) -> None:
    self.body.append("\\end{statementproof}\n")


class LatexLook(SphinxPostTransform):
    """The word Proof in italics; long tables that break over pages, their columns as wide as they need."""

    default_priority = 400
    formats = ("latex",)

    def run(self, **unused: Any) -> None:
        for proof in list(self.document.findall(proof_node)):
            proof[0].replace_self(proof[0].children)
            text = next(proof.findall(nodes.Text))
            word, rest = text[: len("Proof.")], text[len("Proof.") :]
            text.parent.replace(text, [nodes.emphasis("", word), nodes.Text(rest)])
        for table in list(self.document.findall(nodes.table)):
            if len(list(table.findall(nodes.row))) >= LONG and not table.get("latex"):
                break_over_pages(table)


def break_over_pages(table: nodes.table) -> None:
    """Have a table set as longtable, ragged right."""
    rows = [[length(entry) for entry in row.children] for row in table.findall(nodes.row)]
    longest = [min(max(*column, NARROW), WIDE) for column in zip(*rows, strict=True)]
    shares = [width / sum(longest) for width in longest]
    table["classes"].append("longtable")
    for column, width in zip(table.findall(nodes.colspec), longest, strict=True):
        column["colwidth"] = width
    wide = (f"\\dimexpr{share:.3f}\\linewidth-2\\tabcolsep\\relax" for share in shares)
    spec = "".join(f">{{\\raggedright\\arraybackslash}}p{{{width}}}" for width in wide)
    table.parent.insert(table.parent.index(table), addnodes.tabular_col_spec(spec=spec))


def length(entry: nodes.Element) -> int:
    """About how many characters an entry prints: of mathematics a third of its source."""
    source = sum(len(part.astext()) for part in entry.findall(nodes.math))
    return len(entry.astext()) - source + source // 3


def _preamble(app: Any, config: Any) -> None:
    config.latex_elements = config.latex_elements | {"preamble": config.latex_elements.get("preamble", "") + PREAMBLE}


def setup(app: Any) -> None:
    for node in NODE_TYPES.values():
        app.add_node(node, override=True, latex=(statement, None))
    app.add_node(proof_node, override=True, latex=(enter_proof, leave_proof))
    app.add_post_transform(LatexLook)
    app.connect("config-inited", _preamble)
