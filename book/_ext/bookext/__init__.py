"""The book's own Sphinx extension: numbers, tables, figures and notebooks from the records of the runs.

shelf.py        the records that the book shows, read once per build
expressions.py  the small language of the {record} and {reported} roles
roles.py        numbers in prose and captions
grids.py        {record-table}: the paper's tables, ours beside the reported numbers
plots.py        {record-figure}: figures drawn from records during the build
pages.py        executed notebooks as pages, and which records were used
settings.py     tables of models, data sets and hyper-parameters, and {setting}, read from the library
invariance.py   {invariance}, {invariance-figure}: the invariance experiment
benchmarks.py   {benchmark-table}, {benchmark}: what make bench measured
analyses.py     {analysis}, {analysis-table}, {analysis-figure}: what an analysis of many runs found
photos.py       {photos}, {photo-table}, {photo-figure}: the studies of photographs
claims.py       {claims}: the claims of the paper and their verdicts
tuning.py       {tuning-table}, {tuning}: the search for learning rates
rooms.py        the plan of the library
cores.py        how many pages are read at once
access.py       names for toggles that the theme leaves without
lean.py         the site without icons, fonts and translations that no page asks for
alphabets.py    MathJax's font without alphabets that no formula asks for
offline.py      MathJax from a package instead of from another host
addresses.py    where the record behind a number is shown
runs.py         the pages below runs/: every record, how it was made and how to repeat it
served.py       records as the site offers them
trust.py        how far a record may be trusted today
live.py         the data of the live page
compute.py      {compute-table}, {compute}: what all that work took
citation.py     {colophon}, {bibtex}: authors, version, licence, how to cite, and what catalogues are told
history.py      the commits that changed a page
offers.py       the notebook of a page as a file, and where it can be run
contents.py     which pages this build has
paper.py        the abstract as the PDF needs it
theorems.py     theorems, proofs and long tables as the PDF needs them
"""

from __future__ import annotations

from typing import Any

from bookext import (
    access,
    analyses,
    benchmarks,
    citation,
    claims,
    compute,
    contents,
    cores,
    grids,
    history,
    invariance,
    lean,
    live,
    offers,
    offline,
    pages,
    paper,
    photos,
    plots,
    roles,
    runs,
    settings,
    shelf,
    theorems,
    tuning,
)


def setup(app: Any) -> dict[str, Any]:
    for part in (
        shelf,
        cores,
        contents,
        roles,
        grids,
        plots,
        pages,
        settings,
        offline,
        paper,
        theorems,
        benchmarks,
        invariance,
        analyses,
        claims,
        photos,
        tuning,
        runs,
        live,
        access,
        lean,
        compute,
        citation,
        history,
        offers,
    ):
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
