"""Who, what and which version: said once, told alike everywhere."""

import re
import tomllib
from pathlib import Path

import pytest
from bookext import citation, offers
from pybtex.database import parse_file, parse_string

import submasking

ROOT = Path(__file__).resolve().parents[1]
ABOUT = citation.cff()
PUBLIC = {
    "doi": "10.5281/zenodo.1",
    "url": "https://example.org/book",
    "repository-code": "https://github.com/someone/submasking",
}


def test_version_licence_and_keywords_are_those_of_the_package_and_the_title_the_books():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert ABOUT["version"] == project["version"] == submasking.__version__
    assert ABOUT["license"] == project["license"]
    assert ABOUT["keywords"] == project["keywords"]
    assert f"# {ABOUT['title']}" == (ROOT / "book" / "index.md").read_text().splitlines()[0]
    assert citation.names(ABOUT["authors"]) == [author["name"] for author in project["authors"]]


@pytest.mark.parametrize("about", [ABOUT, ABOUT | PUBLIC], ids=["private", "public"])
def test_bibtex_is_read_back_with_all_that_is_known(about):
    entry = parse_string(citation.software(about), "bibtex").entries["submasking"]
    assert entry.fields["title"] == about["title"]
    assert entry.fields["version"] == about["version"]
    assert [str(person) for person in entry.persons["author"]] == ["{The submasking authors}"]
    assert entry.fields.get("doi", "") == about.get("doi", "")
    assert entry.fields.get("url", "") == about.get("repository-code", "")


def test_the_paper_is_cited_as_in_the_references():
    entry = parse_string(citation.paper(ROOT / "book" / "references.bib"), "bibtex").entries[citation.PAPER]
    assert [person.last_names[-1] for person in entry.persons["author"]] == ["Warmerdam", "Caron", "Asano"]
    assert entry.fields["title"].replace("{", "").replace("}", "") == ABOUT["preferred-citation"]["title"]


UNLINKED = {  # of these no address is known that will last
    "hubara2016bnn", "jie2023precision", "krizhevsky2009cifar", "mantel1967detection", "nilsback2008flowers",
    "parkhi2012pets", "xiao2010sun", "yang2010ucmerced",
}  # fmt: skip


def test_a_reference_leads_to_what_it_names():
    entries = parse_file(str(ROOT / "book" / "references.bib")).entries
    assert {key for key, entry in entries.items() if not {"eprint", "doi", "url"} & set(entry.fields)} == UNLINKED
    preprints = [entry.fields["eprint"] for entry in entries.values() if "eprint" in entry.fields]
    assert len(set(preprints)) == len(preprints) > 30
    assert all(re.fullmatch(r"\d{4}\.\d{4,5}", number) for number in preprints)


def test_a_doi_is_told_once_there_is_one():
    assert "no DOI yet" in citation.line(ABOUT)
    assert citation.line(ABOUT | PUBLIC).endswith("DOI 10.5281/zenodo.1")
    assert "citation_doi" not in dict(citation.tags(ABOUT))
    told = dict(citation.tags(ABOUT | PUBLIC))
    assert told["citation_doi"] == "10.5281/zenodo.1"
    assert told["citation_pdf_url"] == "https://example.org/book/submasking.pdf"


@pytest.mark.parametrize(
    "address", ["", "https://example.org/someone/submasking", "https://github.com.example.org/a/b"]
)
def test_colab_and_binder_are_offered_for_a_repository_on_github_alone(address):
    assert offers.elsewhere("invariance", ABOUT | {"repository-code": address}) == {}
    found = offers.elsewhere("invariance", ABOUT | PUBLIC)
    version = ABOUT["version"]
    assert found["Colab"].endswith(f"/github/someone/submasking/blob/v{version}/notebooks/invariance.ipynb")
    assert found["Binder"].endswith(f"/gh/someone/submasking/v{version}?labpath=notebooks%2Finvariance.ipynb")
