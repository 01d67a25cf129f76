"""What the site leaves out of the theme, and what it keeps."""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from bookext import lean
from fontTools.ttLib import TTFont

ROOT = Path(__file__).resolve().parents[1]
THEME = Path(find_spec("pydata_sphinx_theme").origin).parent / "theme" / "pydata_sphinx_theme" / "static"


@pytest.fixture(scope="module")
def script():
    return (THEME / lean.SCRIPT).read_text(encoding="utf-8")


def test_every_shape_of_the_icon_library_is_found(script):
    names = {found[1] for found in lean.SHAPE.finditer(script)}
    assert len(names) > 1500
    assert lean.shapes(script, names) == script


@pytest.mark.parametrize("names", [{"arrow-up"}, {"moon", "sun"}, {"search"}, set()])
def test_no_shape_is_kept_but_those_asked_for(script, names):
    found = lean.SHAPE.finditer(lean.shapes(script, names))
    kept = [{shape[1], *re.findall(r"[a-z0-9-]+", shape[2])} for shape in found]
    assert all(names & each for each in kept)
    assert names <= set().union(*kept)


def test_a_style_keeps_what_is_no_icon():
    style = '.a{b:c}.fa-one:before{content:"\\f1"}.fa-two:before,.fa-2:before{content:"\\f2"}.fa-lg{font-size:1.25em}'
    assert lean.glyphs(style, {"2"}) == '.a{b:c}.fa-two:before,.fa-2:before{content:"\\f2"}.fa-lg{font-size:1.25em}'


def test_a_page_loses_indents_and_blank_lines_and_its_code_does_not():
    code = "<pre>a\n\n    b\n</pre>"
    page = f"<p>\n   one\n\n  two <b>x</b> y</p>\n\n\n{code}\n  <script>\n  'a'\n\n</script>\n\n  <pre>c</pre>  \n"
    assert lean.spaces(page) == f"<p>\none\ntwo <b>x</b> y</p>\n{code}\n<script>\n  'a'\n\n</script>\n<pre>c</pre>\n"
    assert lean.spaces(lean.spaces(page)) == lean.spaces(page)


def test_the_font_keeps_the_letters_that_a_style_names_and_no_more(tmp_path):
    shutil.copy(THEME / lean.FONTS / f"{lean.FONT}.ttf", tmp_path)
    lean.font(tmp_path, 'a::after{content:"\\f104"} b{--one:"\uf058"} c{color:"#f0c9"}')
    (made,) = tmp_path.iterdir()
    with TTFont(made) as kept:
        assert set(kept.getBestCmap()) == {0xF104, 0xF058}
    assert made.stat().st_size < 2000


def test_the_theme_names_the_font_as_it_is_replaced():
    style = (THEME / lean.STYLE).read_text(encoding="utf-8")
    assert len(lean.SOURCE.findall(style)) == 1
