"""A figure's SVG as pages have it: without what nobody sees, and dark at another address."""

from __future__ import annotations

import re

from scour import scour

from submasking.report.figures import INK

# four digits are a hundredth of a pixel; colours stay as they are written, since one of them is looked for below
_LEAN = scour.parse_args([
    "--quiet", "--enable-id-stripping", "--shorten-ids", "--enable-comment-stripping", "--remove-metadata",
    "--strip-xml-prolog", "--indent=none", "--set-precision=4", "--disable-simplify-colors",
])  # fmt: skip


def lean(svg: str) -> str:
    """A figure in about half of the bytes, which looks the same."""
    smaller: str = scour.scourString(svg, _LEAN)
    return smaller


def for_dark_pages(svg: str) -> str:
    """A lean figure that was drawn for light pages, which is one for dark pages too where its address ends in #dark.

    Its ink is all that differs. A program that knows no such addresses shows the light one.
    """
    ink = INK["light"]
    # a property reaches what <use> draws, which a rule for all below the root does not
    rules = f":root:target{{--ink:{INK['dark']}}}" + "".join(
        f'[{what}="{ink}"],[style*="{what}:{ink}"]{{{what}:var(--ink,{ink})!important}}' for what in ("fill", "stroke")
    )
    return re.sub(r"(<svg\b)([^>]*>)", rf'\1 id="dark"\2<style>{rules}</style>', svg, count=1)
