"""The book's extension part by part, and the whole book built with warnings as errors."""

import base64
import io
import json
import math
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import built
import nbformat
import numpy as np
import pandas as pd
import pytest
import synthetic
import yaml
from bookext import benchmarks, citation, compute, contents, expressions, pages, settings
from bookext.shelf import BENCHMARKS, Shelf
from matplotlib.figure import Figure
from PIL import Image
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import docutils_namespace, patch_docutils

from submasking.records import analyses, places, results
from submasking.records.profiles import profile
from submasking.report import frames, tables
from submasking.report.compute import Work

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (0, 1, 2)  # of the made-up grid

# the extension without what belongs to Jupyter Book: contents, notebooks, mathematics
MINI = """
from bookext import analyses, benchmarks, citation, compute, grids, paper, plots, roles, settings, shelf, theorems
def setup(app):
    app.notebooks = {"submasking-rn18-timm": ()}
    app.setup_extension("sphinx_proof")
    parts = (shelf, roles, grids, plots, settings, paper, benchmarks, theorems, citation, compute, analyses)
    for part in parts:
        part.setup(app)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project's folder with a made-up grid as its shipped records."""
    root = tmp_path_factory.mktemp("project")
    synthetic.write_grid(root / "book" / "records" / "tiny")
    data = root / "book" / "data"
    data.mkdir()
    (data / "reported.csv").write_bytes((ROOT / "book" / "data" / "reported.csv").read_bytes())
    (root / "CITATION.cff").write_bytes((ROOT / "CITATION.cff").read_bytes())
    return root


@pytest.fixture
def project(made, monkeypatch):
    monkeypatch.setattr(places, "REPOSITORY", made)
    return made


@pytest.fixture
def books(project):
    return Shelf.load("tiny")


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A project that has no records yet."""
    (tmp_path / "book" / "data").mkdir(parents=True)
    (tmp_path / "book" / "data" / "reported.csv").write_bytes((ROOT / "book" / "data" / "reported.csv").read_bytes())
    (tmp_path / "CITATION.cff").write_bytes((ROOT / "CITATION.cff").read_bytes())
    monkeypatch.setattr(places, "REPOSITORY", tmp_path)
    return Shelf.load("tiny")


class Mini:
    """A small Sphinx project with the book's roles and directives."""

    def __init__(self, folder, text):
        self.folder = folder
        (folder / "mini.py").write_text(MINI)
        (folder / "index.md").write_text(text)
        (folder / "references.bib").write_bytes((ROOT / "book" / "references.bib").read_bytes())
        self.warnings = io.StringIO()

    def build(self, builder="html"):
        options = {"extensions": ["myst_parser", "mini"], "project": "mini", "author": "", "numfig": True}
        options |= {"myst_enable_extensions": ["colon_fence"], "html_theme": "basic", "master_doc": "index"}
        out = self.folder / "out" / builder
        with patch_docutils(), docutils_namespace():
            sys.path.insert(0, str(self.folder))
            sys.modules.pop("mini", None)
            try:
                app = Sphinx(
                    str(self.folder), None, str(out), str(out / ".doctrees"), builder, options,
                    status=None, warning=self.warnings,
                )  # fmt: skip
                app.build()
            finally:
                sys.path.remove(str(self.folder))
        self.app = app
        name = "index.html" if builder == "html" else "mini.tex"
        return (out / name).read_text()


@pytest.fixture
def mini(tmp_path_factory):
    return lambda text: Mini(tmp_path_factory.mktemp("mini"), text)


# --- expressions -----------------------------------------------------------------------------------------------------


def test_a_number_is_mean_spread_and_n(books):
    cell = tables.measured(books.frame, "rn18-timm", "dtd", "FS", "top1")
    number = expressions.evaluate("rn18-timm dtd FS top1", books)
    assert number.text == f"{cell.value:.3f} ± {cell.std:.3f} (n = {len(SEEDS)})"
    assert f"seed {', '.join(map(str, SEEDS))}" in number.hover
    assert "profile tiny" in number.hover
    assert [file.name for file in number.files] == [f"FS-labels100-seed{k}.json" for k in SEEDS]


def test_a_difference_is_in_points_with_its_sign(books):
    first, second = (tables.measured(books.frame, "rn18-timm", "dtd", name, "top1").value for name in ("FS", "LP"))
    number = expressions.evaluate("rn18-timm dtd FS top1 - rn18-timm dtd LP top1", books)
    assert number.text == f"{100 * (first - second):+.1f} points".replace("-", "−")


def test_labels_follow_an_at_sign(books):
    few = expressions.evaluate("rn50-swav sun397 LP@10 top1", books)
    assert few.text != expressions.evaluate("rn50-swav sun397 LP top1", books).text


def test_a_star_is_the_mean_over_data_sets(books):
    means = books.frame.query("model == 'rn18-timm' and method == 'FS'").groupby("dataset").sparsity.mean()
    assert expressions.evaluate("rn18-timm * FS sparsity", books).text == f"{means.mean():.2f}"


def test_better_worse_and_undecided_sum_to_the_data_sets(books):
    better, worse = (expressions.evaluate(f"{word} rn18-timm FS LP top1", books).text for word in ("better", "worse"))
    swapped = expressions.evaluate("worse rn18-timm LP FS top1", books).text
    assert better.endswith(" of 8")
    assert swapped == better
    assert int(better.split()[0]) + int(worse.split()[0]) <= 8
    score = expressions.evaluate("score rn18-timm FS LP top1", books)
    wins, ties, losses = score.text.split(" / ")
    assert (f"{wins} of 8", f"{losses} of 8", int(wins) + int(ties) + int(losses)) == (better, worse, 8)
    assert "Holm over 24 comparisons" in score.hover


def test_a_score_of_one_run_is_no_tie():
    books = Shelf.load("tiny")
    alone = expressions.evaluate("score rn50-clip FS LP top1", books)
    assert alone.text == "not tested: one run"
    assert "ties: none" in alone.hover
    assert "not tested: cifar10, cifar100" in alone.hover
    assert expressions.evaluate("better rn50-clip FS LP top1", books).text == alone.text
    assert len(alone.files) > 8


def test_few_labels_are_compared_on_the_bars_of_figure_1(books):
    assert expressions.evaluate("better rn50-swav SSM+LP LP@10 top1", books).text.endswith(" of 3")


def test_totals_count_records_and_minutes(books):
    assert expressions.evaluate("runs", books).text == str(len(books.records))
    assert expressions.evaluate("minutes", books).text == str(len(books.records))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rn18 dtd FS top1", "model must be one of rn18-timm"),
        ("rn18-timm imagenet FS top1", "data set must be one of cifar10"),
        ("rn18-timm dtd XX top1", "method must be one of ZS"),
        ("rn18-timm dtd FS accuracy", "metric must be one of top1"),
        ("rn18-timm dtd FS", "must be four words"),
        ("rn18-timm dtd SSM lp@10", "no record of profile tiny"),
        ("better rn18-timm FS top1", r"must be: better\|worse\|score"),
        ("", "the expression is empty"),
    ],
)
def test_a_wrong_expression_is_an_error_that_says_why(books, text, message):
    with pytest.raises(ValueError, match=message):
        expressions.evaluate(text, books)


def test_without_any_record_a_number_is_missing_but_a_wrong_word_is_still_an_error(bare):
    assert expressions.evaluate("rn18-timm dtd FS top1", bare).text == tables.MISSING
    assert "make book" in expressions.evaluate("better rn18-timm FS LP top1", bare).hover
    with pytest.raises(ValueError, match="model must be one of"):
        expressions.evaluate("rn18 dtd FS top1", bare)


def test_a_profile_other_than_the_books_is_named_first(books, monkeypatch):
    words = "rn18-timm dtd FS top1"
    of_tiny = expressions.evaluate(words, books)
    assert expressions.evaluate(f"tiny {words}", books) == of_tiny
    photographs = [replace(record, model="mobilenetv2_035", profile="images") for record in books.records]
    shelf = Shelf("images", books.folder, photographs, books.reported)
    monkeypatch.setattr(expressions.Shelf, "load", lambda profile: {"images": shelf}[profile])
    number = expressions.evaluate("images mobilenetv2_035 cifar10 FS top1 - mobilenetv2_035 cifar10 LP top1", books)
    assert number.text.endswith(" points")
    assert number.hover.endswith("profile images")
    with pytest.raises(ValueError, match="model must be one of rn18-timm"):
        expressions.evaluate("mobilenetv2_035 cifar10 FS top1", books)
    with pytest.raises(ValueError, match="no record of profile images"):
        expressions.evaluate(f"images {words}", books)


def test_sizes_are_numbers_with_their_own_decimals(books):
    rows = books.frame.query("model == 'rn18-timm' and method == 'FS' and dataset == 'dtd'")
    assert expressions.evaluate("rn18-timm dtd FS kb_file", books).text.startswith(f"{rows.kb_file.mean():.1f} ± ")
    means = books.frame.query("model == 'rn18-timm' and method == 'FS'").groupby("dataset").bits_coded.mean()
    assert expressions.evaluate("rn18-timm * FS bits_coded", books).text == f"{means.mean():.3f}"
    assert expressions.quote("gcpr2024 abstract multiple any any any", books).text == "79"


def test_a_size_that_older_records_lack_is_missing_and_no_error(books):
    old = Shelf("tiny", books.folder, [replace(record, sizes={}) for record in books.records], books.reported)
    number = expressions.evaluate("rn18-timm dtd FS multiple_task", old)
    assert number.text == tables.MISSING
    assert "older version" in number.hover
    with pytest.raises(ValueError, match="no record of profile tiny"):
        expressions.evaluate("rn50-timm dtd SSM multiple_task", old)


def test_a_quoted_number_says_who_reports_it(books):
    number = expressions.quote("draft 1 top1 rn18-timm LP cifar100", books)
    assert number.text == "0.59"
    assert "reported by the draft, n not stated, Table 1" in number.hover
    with pytest.raises(ValueError, match=r"no number in reported.csv"):
        expressions.quote("draft 1 top1 rn50-swav LP eurosat", books)


# --- roles and directives in pages -----------------------------------------------------------------------------------


def test_a_role_shows_its_number_with_origin_in_html(project, mini):
    page = mini("# T\n\nIt is {record}`rn18-timm dtd FS top1`, reported {reported}`draft 1 top1 rn18-timm FS dtd`.")
    html = page.build()
    assert page.warnings.getvalue() == ""
    seeds = ", ".join(map(str, SEEDS))
    assert '<a class="measured record" href="runs/tiny/rn18-timm-dtd.html#FS-100"' in html
    assert f'title="rn18-timm dtd FS top1: mean of n = {len(SEEDS)} runs (seed {seeds})' in html
    assert ">0.66</abbr>" in html
    files = {Path(name).name for name in page.app.env.dependencies["index"]}
    assert {f"FS-labels100-seed{k}.json" for k in SEEDS} <= files


def test_a_role_shows_the_same_number_in_latex(project, mini):
    expected = expressions.evaluate("rn18-timm dtd FS top1", Shelf.load("tiny")).text
    tex = mini("# T\n\nIt is {record}`rn18-timm dtd FS top1`.").build("latex")
    assert "\\measured{runs/tiny/rn18-timm-dtd.html\\#FS-100}{" in tex
    assert expected.replace("±", "\\(\\pm\\)") in tex or expected in tex.replace("\\sphinxhyphen{}", "-")


@pytest.mark.parametrize("role", ["{record}`rn18 dtd FS top1`", "{reported}`draft 1 top1 rn50-swav LP eurosat`"])
def test_an_unknown_number_is_reported_as_an_error(project, mini, role):
    page = mini(f"# T\n\nIt is {role}.")
    page.build()
    assert "ERROR" in page.warnings.getvalue()


def test_a_page_that_the_pdf_lacks_is_a_link_in_html_only(project, mini):
    page = mini("# T\n\nSee {page}`the start <index>`.")
    assert '<a class="reference internal" href="index.html">the start</a>' in page.build()
    assert "See the start." in mini("# T\n\nSee {page}`the start <index>`.").build("latex")
    broken = mini("# T\n\nSee {page}`nothing <nowhere>`.")
    broken.build()
    assert "there is no such page" in broken.warnings.getvalue()


@pytest.mark.parametrize("number", tables.specs(profile("tiny")))
def test_a_table_shows_ours_beside_the_reported_numbers(project, mini, number):
    page = mini(f"# T\n\n```{{record-table}} {number}\n:name: table-{number}\nSee {{numref}}`table-{number}`.\n```\n")
    html = page.build()
    assert page.warnings.getvalue() == ""
    assert 'class="measured ours"' in html
    assert ('class="measured reported"' in html) == number.isdigit()
    assert f"n = {len(SEEDS)} runs" in html
    assert f'href="_static/made/table-{number}.csv"' in html
    assert (page.folder / "_static" / "made" / f"table-{number}.csv").exists()
    assert "Table 1" in html  # numbered by Sphinx


def test_a_table_is_a_captioned_float_in_latex(project, mini):
    tex = mini("# T\n\n```{record-table} 3\n:name: table-3\n```\n\nAs {numref}`table-3` says.\n").build("latex")
    assert "\\begin{table}" in tex
    assert "\\cmidrule(lr){2-4}" in tex
    label = tex.split("\\label{\\detokenize{index:table-3}}")
    assert len(label) == 2
    assert "\\ref{\\detokenize{index:table-3}}" in tex


THEOREM = """# T

```{prf:theorem} Scale
:label: thm-scale
A *statement* of $x$.
```

```{prf:proof}
By {prf:ref}`thm-scale`.
```
"""


def test_a_theorem_is_set_as_in_a_paper_in_latex(project, mini):
    page = mini(THEOREM)
    tex = page.build("latex")
    assert page.warnings.getvalue() == ""
    assert re.search(r"\\begin{statement}{Theorem .*\(Scale\)\.}\\itshape", tex)
    assert re.search(r"\\phantomsection\\label{\w+:thm-scale}", tex)
    assert "\\begin{statementproof}" in tex
    assert "\\emph{Proof.} By" in tex.replace("\\sphinxstyleemphasis", "\\emph")
    assert "\\begin{sphinxadmonition}" not in tex
    assert tex.count("\\newenvironment{statement}") == 1


def test_a_long_table_may_break_over_pages_of_the_pdf(project, mini):
    rows = "".join(f"| a{number} | {'word ' * 20}|\n" for number in range(20))
    tex = mini(f"# T\n\n| a | b |\n|---|---|\n{rows}").build("latex")
    assert "\\begin{longtable}" in tex
    assert "\\raggedright" in tex
    short = mini("# T\n\n| a | b |\n|---|---|\n| c | d |\n").build("latex")
    assert "\\begin{longtable}" not in short


@pytest.mark.parametrize("name", sorted(file.stem for file in BENCHMARKS.glob("*.json")))
def test_a_benchmark_is_shown_with_its_machine(project, mini, name):
    page = mini(f"# T\n\n```{{benchmark-table}} {name}\n```\n")
    html = page.build()
    assert page.warnings.getvalue() == ""
    record = json.loads((BENCHMARKS / f"{name}.json").read_text(encoding="utf-8"))
    for _, heading, _ in benchmarks.columns_of(name):
        assert heading in html
    assert html.count("<tr") == len(record["rows"]) + 1
    assert f"Measured {record['created'][:10]} on {record['machine']['cores']} cores" in html


def test_an_unknown_benchmark_is_an_error(project, mini):
    page = mini("# T\n\n```{benchmark-table} nothing\n```\n")
    page.build()
    assert "benchmark must be one of" in page.warnings.getvalue()


def test_an_unknown_table_is_an_error(project, mini):
    page = mini("# T\n\n```{record-table} 9\n```\n")
    page.build()
    assert "table must be one of" in page.warnings.getvalue()


def test_a_figure_is_drawn_for_light_and_dark_pages_and_for_print(project, mini):
    text = "# T\n\n```{record-figure} figure-1\n:name: one\n:alt: five bars\nCaption, {record}`runs` runs.\n```\n"
    page = mini(text)
    html = page.build()
    assert page.warnings.getvalue() == ""
    assert html.count('alt="five bars"') == 2
    assert re.search(r'<img[^>]*class="only-light"[^>]*src="_images/figure-1.svg"', html)
    assert re.search(r'<img[^>]*class="only-dark"[^>]*src="_images/figure-1.svg#dark"', html)
    assert f"n = {len(SEEDS)} seeds" in html
    assert html.count("<figcaption>") == html.count("</figcaption>") == 1
    tex = mini(text).build("latex")
    assert "{figure-1}.pdf" in tex
    assert "dark" not in tex


def test_a_figure_offers_the_numbers_that_it_shows(project, mini):
    page = mini("# T\n\n```{record-figure} figure-1\n:alt: five bars\nCaption.\n```\n")
    html = page.build()
    assert 'href="_static/made/figure-1-runs.csv"' in html
    shown = pd.read_csv(page.folder / "_static" / "made" / "figure-1-runs.csv")
    assert {"model", "dataset", "method", "labels", "seed", "top1"} <= set(shown.columns)
    assert set(shown.model) == {"rn50-swav"}
    assert not shown.isna().all().any()


@pytest.mark.parametrize("name", ["index", "conclusion", "results_submasking", "results_label_sparsity"])
def test_every_number_and_figure_of_a_page_is_in_a_whole_grid(project, mini, name):
    text = (ROOT / "book" / f"{name}.md").read_text(encoding="utf-8")
    elsewhere = re.sub(r"\{(doc|ref|notebook|cite)\}`[^`]*`", "there", text)
    page = mini(re.sub(r"^#+ .*", "# T", elsewhere, count=1))
    html = page.build()
    lines = [line for line in page.warnings.getvalue().splitlines() if "Unknown" not in line and "toctree" not in line]
    assert [line for line in lines if "record" in line or "figure" in line] == []
    assert 'class="note absent"' not in html


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize(
    "name", sorted(file.stem for file in (ROOT / "book").glob("results_*.md") if "{analysis" in file.read_text())
)
def test_a_page_can_be_read_of_a_grid_with_fewer_runs_than_the_text_was_written_for(monkeypatch, mini, name, kept):
    """The reader's own grid has one seed where the project's records have several: what it lacks is a dash."""
    whole = analyses.read

    def fewer(folder, stem):
        found = whole(folder, stem)
        return found and replace(found, tables={name: rows[:1] for name, rows in found.tables.items() if kept})

    monkeypatch.setattr(analyses, "read", fewer)
    monkeypatch.setattr(Shelf, "own", True)
    text = (ROOT / "book" / f"{name}.md").read_text(encoding="utf-8")
    elsewhere = re.sub(r"\{(doc|ref|notebook|cite|page|prf:ref|eq)\}`[^`]*`", "there", text)
    page = mini(re.sub(r"^#+ .*", "# T", elsewhere, count=1))
    html = page.build()
    lines = [line for line in page.warnings.getvalue().splitlines() if "analysis" in line or "must" in line]
    assert [line for line in lines if "Unknown" not in line] == []
    assert kept or "your own grid has not the runs" in html


def test_a_figure_without_a_description_is_an_error(project, mini):
    page = mini("# T\n\n```{record-figure} figure-1\nCaption.\n```\n")
    page.build()
    assert "needs an :alt: text" in page.warnings.getvalue()


def test_a_figure_without_records_says_what_makes_them(bare, mini):
    page = mini(
        "# T\n\n```{record-figure} figure-1\n:alt: five bars\n```\n\n```{record-table} 1\n```\n\n{record}`runs`"
    )
    html = page.build()
    assert page.warnings.getvalue() == ""
    assert "no records of profile tiny yet: make book makes them" in html


def test_an_unnumbered_figure_takes_no_number(project, mini):
    text = "# T\n\n```{record-figure} masking\n:alt: grids\n:unnumbered:\nThe idea.\n```\n"
    html = mini(text).build()
    assert "The idea." in html
    assert "caption-number" not in html
    tex = mini(text).build("latex")
    assert "\\caption" not in tex
    assert "The idea." in tex


def test_a_page_with_numbers_is_read_again_when_a_record_changes(made, monkeypatch, mini, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(places, "REPOSITORY", tmp_path)
    page = mini("# T\n\n{record}`rn18-timm dtd LP top1`")
    before = page.build()
    path = tmp_path / "book" / "records" / "tiny" / "rn18-timm" / "dtd" / "LP-labels100-seed0.json"
    record = json.loads(path.read_text())
    record["metrics"]["top1"], record["predictions"] = 0.123, {}
    path.write_text(json.dumps(record))
    after = page.build()
    assert f"(n = {len(SEEDS)})" in after
    assert before != after


@pytest.mark.parametrize("name", settings.TABLES)
def test_settings_are_tables_with_rows_of_one_length(books, name):
    rows = settings.TABLES[name][0](books)
    assert len(rows) > 2
    assert len({len(row) for row in rows}) == 1


def test_the_source_of_the_records_is_told(books):
    assert settings.source(books).startswith("Numbers of this book come from the records that the project ships: ")
    assert "2026-01-02" in settings.source(books)


def test_a_project_without_records_says_so(bare):
    assert "no records of profile tiny yet" in settings.source(bare)


def test_the_abstract_is_an_environment_in_latex(project, mini):
    tex = mini("# T\n\n```{abstract}\nShort.\n```\n").build("latex")
    assert "\\begin{abstract}" in tex


CITE = "# T\n\n```{colophon}\n```\n\nText.\n\n```{bibtex}\n```\n"


def test_the_first_page_says_version_and_licence_and_how_to_cite(project, mini):
    page = mini(CITE)
    html = page.build()
    assert page.warnings.getvalue() == ""
    told = citation.line(citation.cff())
    assert f"The submasking authors · {told}<!--PDF" in html
    assert 'name="citation_author" content="The submasking authors"' in html
    assert "@software{submasking" in re.sub("<[^>]+>", "", html)
    tex = page.build("latex")
    assert f"\\begin{{center}}\\small {told.partition(',')[0]}" in tex
    assert tex.count("The submasking authors") == 1  # in the entry to copy: the title has them already


def test_what_it_took_is_a_sum_of_what_was_kept(project, mini, monkeypatch):
    monkeypatch.setattr(compute, "work", lambda books: [Work("a", 2, 1.25), Work("b", 1000, math.nan)])
    html = mini("# T\n\n```{compute-table}\n```\n\n{compute}`hours` {compute}`kwh` {compute}`untimed`\n").build()
    cells = re.findall(r"<td><p>(.*?)</p></td>", html)
    assert cells == ["a", "2", "1.2", "b", "1,000", tables.MISSING, "together", "", "1.2"]
    assert re.findall(r'<abbr class="measured compute"[^>]*>(.*?)</abbr>', html) == ["1.2", "0.01", "1,000"]


# --- notebooks -------------------------------------------------------------------------------------------------------


def executed(*outputs):
    cells = [nbformat.v4.new_markdown_cell("# Is it?"), nbformat.v4.new_code_cell("1", outputs=list(outputs))]
    return nbformat.v4.new_notebook(cells=cells, metadata={"papermill": {"exception": None, "start_time": "now"}})


def test_a_notebook_that_ran_well_has_no_failure():
    assert pages.failure(executed()) == ""


def test_a_notebook_with_an_error_is_refused_with_the_error():
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="model must be one of", traceback=[])
    assert pages.failure(executed(error)) == "cell 1: ValueError: model must be one of"


def test_a_notebook_that_papermill_saw_crash_is_refused():
    crashed = executed()
    crashed.metadata["papermill"]["exception"] = True
    assert pages.failure(crashed) == "papermill recorded an exception"


def test_a_failed_notebook_of_the_reader_fails_the_build(project, monkeypatch, tmp_path):
    folder = tmp_path / "results" / "tiny"
    synthetic.write_grid(folder / "records")
    (folder / "grid.json").write_text("{}")
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    (folder / "notebooks").mkdir()
    nbformat.write(executed(error), folder / "notebooks" / "one.ipynb")
    own = Shelf("tiny", folder / "records", results.read(folder / "records"), frames.reported())
    monkeypatch.setattr(pages, "content_key", lambda *arguments: "key")
    assert own.own
    with pytest.raises(ExtensionError, match=r"notebook one failed, so the book is not built: cell 1: ValueError: no"):
        pages.place({"one": ("label_sparsity", {})}, own, tmp_path / "pages")
    assert not (tmp_path / "pages").exists()


def test_a_page_says_how_it_was_run_and_keeps_no_times():
    shown = pages.page(executed(), "key", {"model": "rn50-swav"}, "on the records")
    assert "`model = rn50-swav`" in shown.cells[1].source
    assert "now" not in nbformat.writes(shown)
    assert shown.cells[2].metadata["mystnb"]["image"]["alt"]
    nbformat.validate(shown)


def test_a_plot_of_a_notebook_is_shown_in_fewer_bytes_and_looks_the_same():
    figure = Figure(figsize=(4, 3), dpi=150)
    axes = figure.subplots()
    for power in range(1, 7):
        axes.plot([x**power / 50**power for x in range(50)], label=f"$x^{power}$")
    axes.fill_between(range(50), 0.2, 0.4, alpha=0.2)
    axes.legend()
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", transparent=True)
    plot = base64.b64encode(drawn.getvalue()).decode("ascii")
    data = nbformat.v4.new_output("display_data", data={"image/png": plot, "text/plain": "<Figure>"})
    shown = pages.page(executed(data), "key", {}, "on the records")
    (found,) = (output.data["image/png"] for output in shown.cells[2].outputs)
    before, after = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("RGBA"), dtype=float)
        for each in (plot, found)
    )
    assert len(found) < 0.5 * len(plot)
    assert abs(before - after).mean() < 1
    assert abs(before - after).max() < 60
    assert len(pages.smaller(found)) <= len(found)


def test_lines_that_papermill_kept_apart_are_one_output():
    lines = [nbformat.v4.new_output("stream", name="stdout", text=f"{k}\n") for k in range(3)]
    other = nbformat.v4.new_output("stream", name="stderr", text="oh\n")
    shown = pages.merged([*lines, other, lines[0]])
    assert [output.text for output in shown] == ["0\n1\n2\n", "oh\n", "0\n"]


def test_a_notebook_is_executed_again_only_when_something_it_shows_has_changed(books, bare):
    job = ("label_sparsity", {"model": "rn50-swav"})
    assert pages.content_key(*job, books) == pages.content_key(*job, books)
    assert pages.content_key(*job, books) != pages.content_key(job[0], {"model": "rn18-timm"}, books)
    assert pages.content_key(*job, books) != pages.content_key(*job, bare)


# --- contents --------------------------------------------------------------------------------------------------------


def test_contents_keep_the_notebooks_asked_for_and_drop_empty_parts():
    asked = yaml.safe_load((ROOT / "_toc.yml").read_text())
    stems = contents.listed(asked)
    assert len(stems) >= 8
    kept = contents.listed(contents.filtered(asked, {stems[0]}))
    assert kept == [stems[0]]
    captions = [part["caption"] for part in contents.filtered(asked, set())["parts"]]
    assert "Executed notebooks" not in captions
    assert "The paper" in captions


# --- the book --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return built.site(tmp_path_factory)


def test_the_book_builds_without_a_warning(site):
    project, report = site
    assert report.startswith("0\n"), report
    assert "WARNING" not in report
    assert (project / "_build" / "html" / "index.html").exists()


@pytest.mark.slow
def test_a_second_build_executes_no_notebook(site):
    project, _ = site
    notebooks = sorted((project / "book" / "notebooks").glob("*.ipynb"))
    before = [path.stat().st_mtime_ns for path in notebooks]
    again = built.build(project, "-W")
    assert again.returncode == 0
    assert "executing" not in again.stdout
    assert [path.stat().st_mtime_ns for path in notebooks] == before
