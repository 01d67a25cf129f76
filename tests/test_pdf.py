import importlib.util

import pytest
import yaml

from submasking.files import atomic
from submasking.records import places


@pytest.fixture
def pdf(tmp_path):
    """book/pdf.py as if its project lay in a folder of the test's own."""
    spec = importlib.util.spec_from_file_location("pdf", places.REPOSITORY / "book" / "pdf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.PROJECT = tmp_path
    for name in ("book/index.md", "src/code.py", "_config.yml", "_toc.yml", "requirements.lock"):
        atomic.write(tmp_path / name, name)
    return module


@pytest.mark.parametrize("name", ["book/index.md", "src/code.py", "_config.yml", "book/records/new.json"])
def test_a_changed_or_new_file_makes_the_pdf_due(pdf, name):
    before = pdf.inputs()
    assert pdf.inputs() == before
    atomic.write(pdf.PROJECT / name, "changed")
    assert pdf.inputs() != before


@pytest.mark.parametrize("name", ["book/notebooks/a.ipynb", "book/_static/made/a.svg", "results/tiny/data/a.npz"])
def test_what_a_build_writes_does_not(pdf, name):
    before = pdf.inputs()
    atomic.write(pdf.PROJECT / name, "made")
    assert pdf.inputs() == before


def test_the_readers_own_grid_makes_the_pdf_due(pdf):
    before = pdf.inputs()
    atomic.write(pdf.PROJECT / "results" / "tiny" / "grid.json", "{}")
    assert pdf.inputs() != before


def test_without_latex_it_says_what_to_install_and_ends_well(pdf, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert pdf.main() == 0
    assert "apt-get install" in capsys.readouterr().out


def test_the_first_page_leads_to_the_pdf_once_it_is_there(pdf, monkeypatch, tmp_path):
    monkeypatch.setattr(pdf, "SITE", tmp_path / "html")
    monkeypatch.setattr(pdf, "PDF", tmp_path / "submasking.pdf")
    atomic.write(pdf.PDF, "pdf")
    pdf.beside_the_site()  # without a site there is nothing to do
    atomic.write(pdf.SITE / "index.html", '<p>1<!--PDF , <a href="submasking.pdf">PDF</a> PDF--></p>')
    pdf.beside_the_site()
    assert (pdf.SITE / "submasking.pdf").read_text() == "pdf"
    assert (pdf.SITE / "index.html").read_text() == '<p>1, <a href="submasking.pdf">PDF</a></p>'


def test_the_pdf_names_its_title_and_author_as_the_book_does():
    config = yaml.safe_load((places.REPOSITORY / "_config.yml").read_text(encoding="utf-8"))
    preamble = config["sphinx"]["config"]["latex_elements"]["preamble"]
    page = (places.REPOSITORY / "book" / "index.md").read_text(encoding="utf-8")
    title = page.splitlines()[0].removeprefix("# ")
    assert f"pdftitle={{{title}}}" in preamble
    assert f"pdfauthor={{{config['author']}}}" in preamble
