"""{colophon} and {bibtex}: who wrote this, which version, under which licence, and how to cite it.

All of it stands once, in CITATION.cff. The address of the repository (`repository-code`), of the site (`url`) and the
`doi` are told where that file has them; what needs them is left out where it has not.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from pybtex.database import BibliographyData, Entry, Person, parse_file
from sphinx.util.docutils import SphinxDirective

from submasking.records import places

PAPER = "warmerdam2024selfmasking"  # in references.bib
PDF = "submasking.pdf"  # beside the start of the site, see book/pdf.py
PREVIEW = "methods.png"  # in book/images: what other sites show beside a link
LINK = f' · <a class="pdf" href="{PDF}">PDF</a>'


def cff(folder: Path | None = None) -> dict[str, Any]:
    """What CITATION.cff says.

    Raises:
        OSError: there is none.
    """
    file = (folder or places.REPOSITORY) / "CITATION.cff"
    about = yaml.safe_load(file.read_text(encoding="utf-8"))
    return about | {"date-released": str(about["date-released"])}


def names(people: list[dict[str, str]]) -> list[str]:
    """Authors as they are read: given name first; a group by its name."""
    return [one.get("name") or f"{one['given-names']} {one['family-names']}" for one in people]


def line(about: dict[str, Any]) -> str:
    """Version, day, licence and DOI in one line."""
    doi = f"DOI {about['doi']}" if about.get("doi") else "no DOI yet"
    return f"version {about['version']}, {about['date-released']} · {about['license']} · {doi}"


def software(about: dict[str, Any]) -> str:
    """BibTeX of this project."""
    fields = {"title": about["title"], "version": about["version"], "year": about["date-released"][:4]}
    fields |= {name: about[key] for name, key in (("doi", "doi"), ("url", "repository-code")) if about.get(key)}
    people = [  # in braces BibTeX takes no group's name apart
        Person(f"{{{one['name']}}}") if "name" in one else Person(first=one["given-names"], last=one["family-names"])
        for one in about["authors"]
    ]
    return BibliographyData({"submasking": Entry("software", fields, {"author": people})}).to_string("bibtex")


def paper(file: Path) -> str:
    """BibTeX of the paper that this project re-creates, as the references have it."""
    return parse_file(str(file)).entries[PAPER].to_string("bibtex")


def tags(about: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and content of the tags that catalogues of papers read."""
    yield "citation_title", about["title"]
    for name in names(about["authors"]):
        yield "citation_author", name
    yield "citation_publication_date", about["date-released"].replace("-", "/")
    if about.get("doi"):
        yield "citation_doi", about["doi"]
    if about.get("url"):
        yield "citation_pdf_url", f"{about['url'].rstrip('/')}/{PDF}"


class colophon(nodes.Admonition, nodes.paragraph):  # noqa: N801  (docutils names its nodes so)
    """The line below the title; an admonition, which the page's description for other sites passes over."""


class Colophon(SphinxDirective):
    """Version, day, licence and DOI in one line, on the site after the authors, whom the PDF has in its title."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(places.REPOSITORY / "CITATION.cff"))
        about = cff()
        who = [] if self.env.app.builder.format == "latex" else [f"{', '.join(names(about['authors']))} · "]
        return [colophon("", "".join([*who, line(about)]))]


class Bibtex(SphinxDirective):
    """Entries to copy: of this project, and of the paper."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(places.REPOSITORY / "CITATION.cff"))
        entries = (software(cff()), paper(Path(self.env.srcdir) / "references.bib"))
        text = "\n".join(entry.strip() + "\n" for entry in entries)
        return [nodes.literal_block(text, text, language="bibtex")]


def _html_visit(self: Any, node: colophon) -> None:
    self.body.append(self.starttag(node, "p", "", CLASS="colophon"))


def _html_depart(self: Any, node: colophon) -> None:
    built = (Path(self.builder.outdir) / PDF).exists()  # else book/pdf.py lets the link appear
    self.body.append((LINK if built else f"<!--PDF {LINK} PDF-->") + "</p>\n")


def _latex_visit(self: Any, node: colophon) -> None:
    self.body.append("\n\\begin{center}\\small ")


def _latex_depart(self: Any, node: colophon) -> None:
    self.body.append("\\end{center}\n")


def _addresses(app: Any, config: Any) -> None:
    """Let the theme, the numbers of the PDF and the previews know where site and repository lie."""
    about = cff()
    if about.get("url"):
        config.html_baseurl = config.ogp_site_url = f"{about['url'].rstrip('/')}/"
        config.html_extra_path = [*config.html_extra_path, str(Path(app.srcdir) / "images" / PREVIEW)]
        config.ogp_image = PREVIEW
    if about.get("repository-code"):
        shown = {"repository_url": about["repository-code"], "use_repository_button": True, "use_issues_button": True}
        config.html_theme_options = dict(config.html_theme_options) | shown


def _tags(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    if pagename == app.config.root_doc:
        made = (f'<meta name="{name}" content="{html.escape(content)}" />\n' for name, content in tags(cff()))
        context["metatags"] = context.get("metatags", "") + "".join(made)


def setup(app: Any) -> None:
    app.add_node(colophon, html=(_html_visit, _html_depart), latex=(_latex_visit, _latex_depart))
    app.add_directive("colophon", Colophon)
    app.add_directive("bibtex", Bibtex)
    app.connect("config-inited", _addresses)
    app.connect("html-page-context", _tags)
