"""MathJax's font without alphabets: what is drawn stays as it is with the whole font."""

import json
import shutil

import pytest
from bookext import alphabets, offline

PARTS = ("core", "input/tex-full", "output/svg")  # with the commands of all packages
WHOLE = offline.source().parent / alphabets.FONT
PAGE = """<!DOCTYPE html><html lang="en"><title>Formula</title>
<script>window.MathJax = CONFIG</script><script src="_static/mathjax/startup.js"></script><p>FORMULA</p></html>"""
FORMULAS = {
    "none": r"\mathcal{L}(x) = \sum_i \tfrac{\hat\theta_i}{\sqrt{\alpha}} \Re \Im \ell \hbar \text{ if } \Gamma \le 1",
    "bold": r"\mathbf{x} \boldsymbol{\theta} \bm{x} \pmb{y} \bf{z} \textbf{and} \mathbfit{q} \boldsymbol{\mathcal{A}}",
    "script": r"\mathscr{A} \mathbfscr{B}",
    "fraktur": r"\mathfrak{g} \frak{h} \mathbffrak{A}",
    "double-struck": r"\mathbb{R} \mathbb{1} \Bbb{E} \Bbbk",
    "sans-serif": r"\mathsf{x} \textsf{and} \mathsfit{y} \mathbfsf{z} \mathbfsfit{w} \sf 1",
    "monospace": r"\mathtt{x} \texttt{and} \tt 1",
    "old style": r"\oldstyle 1234",
    "text italic": r"\mathit{word} \textit{and} \it{more}",
}


@pytest.fixture(scope="module")
def font():
    return WHOLE.read_text(encoding="utf-8")


def drawn(browser, folder, formula, font):
    """The outlines of a formula as a browser draws them with a font."""
    for name in ("startup", *PARTS):
        target = folder / "_static" / "mathjax" / f"{name}.js"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(offline.source() / f"{name}.js", target)
    (folder / "_static" / alphabets.FONT).parent.mkdir(parents=True)
    (folder / "_static" / alphabets.FONT).write_text(font, encoding="utf-8")
    config = {"loader": {"load": list(PARTS)}, "tex": {"macros": {"bm": [r"\boldsymbol{#1}", 1]}}}
    text = PAGE.replace("CONFIG", json.dumps(config)).replace("FORMULA", f"\\({formula}\\)")
    (folder / "index.html").write_text(text, encoding="utf-8")
    page = browser.new_page()
    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector("mjx-container svg")
    assert page.locator("[data-mjx-error]").count() == 0
    found = page.locator("mjx-container svg").evaluate("(svg) => svg.outerHTML")
    page.close()
    return found


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_that_asks_for_an_alphabet_is_drawn_as_with_the_whole_font(name, font, browser, tmp_path):
    left_out = alphabets.unused(FORMULAS[name])
    assert (alphabets.ALPHABETS.get(name) in left_out) is False
    assert len(left_out) >= len(alphabets.ALPHABETS) - 2
    small = alphabets.without(font, left_out)
    assert len(small) < len(font)
    whole = drawn(browser, tmp_path / "whole", FORMULAS[name], font)
    assert drawn(browser, tmp_path / "small", FORMULAS[name], small) == whole
    if name in alphabets.ALPHABETS:  # and is another one without it
        none = alphabets.without(font, [alphabets.ALPHABETS[name]])
        assert drawn(browser, tmp_path / "none", FORMULAS[name], none) != whole


def test_a_font_of_which_nothing_is_left_out_stays_as_it_is(font):
    parts = {found[2] for found in alphabets.PART.finditer(font)}
    assert parts.issuperset(part for alphabet in alphabets.ALPHABETS.values() for part in alphabet.parts)
    assert alphabets.without(font, []) == font
    assert len(alphabets.without(font, alphabets.ALPHABETS.values())) < len(font) / 2
