"""{claims}: every claim of the draft and of the published paper with what the records say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import tabular_col_spec
from sphinx.util.docutils import SphinxDirective

from bookext import invariance, photos, shelf
from bookext.settings import plain
from submasking.records import photographs as records
from submasking.report import claims, photographs, statistics, verdicts
from submasking.report.claims import Finding

CODE = [Path(module.__file__ or "") for module in (claims, photographs, statistics, verdicts)]


class Claims(SphinxDirective):
    """A table of the verdicts, then each claim with its evidence."""

    def run(self) -> list[nodes.Node]:
        books = self.env.app.shelf
        shelf.note(self.env, [*books.files(), *photos.files(), *CODE])
        found = invariance.find(books, books.profile)
        metrics = found[0].metrics if found else None
        world = claims.World(books.frame, records.read(photos.FOLDER), metrics)
        told = [(claim, *claims.judged(claim, world)) for claim in claims.CLAIMS]
        heads = ["no.", "claim", "embedded world" if books.stand_ins else books.profile, "photographs"]
        rows = [
            [str(number), claim.said, _verdict(grid, claim.grid is None), _verdict(photo, claim.photographs is None)]
            for number, (claim, grid, photo) in enumerate(told, 1)
        ]
        details = [_detail(number, heads, *one) for number, one in enumerate(told, 1)]
        return [
            nodes.raw("", "\\begingroup\\footnotesize", format="latex"),
            tabular_col_spec(spec="rp{8.2cm}ll"),
            plain([heads, *rows]),
            nodes.raw("", "\\endgroup", format="latex"),
            *details,
        ]


def _verdict(found: Finding, silent: bool) -> str:
    """A verdict; nothing where this world cannot be asked, or was not."""
    return "–" if silent or found.evidence == claims.NOT_RUN else found.verdict


def _detail(number: int, heads: list[str], claim: claims.Claim, grid: Finding, photo: Finding) -> nodes.Node:
    made = nodes.paragraph("", "", nodes.strong("", f"{number}. {claim.said}"), classes=["claim"])
    made += nodes.Text(f" ({claim.source}) ")
    for world, ask, found in ((heads[2], claim.grid, grid), (heads[3], claim.photographs, photo)):
        if ask is not None:
            said = found.evidence if found.evidence == claims.NOT_RUN else f"{found.verdict}: {found.evidence}"
            made += [nodes.emphasis("", world.capitalize()), nodes.Text(f": {said}. ")]
    made += [nodes.emphasis("", "What would change this"), nodes.Text(f": {claim.change}.")]
    return made


def setup(app: Any) -> None:
    app.add_directive("claims", Claims)
