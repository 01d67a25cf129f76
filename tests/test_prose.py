"""No number of the book is typed by hand: whatever holds a digit in prose is named here, with its reason."""

import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import prose
import pytest
from hypothesis import given
from hypothesis import strategies as st

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGES = {path.name: prose.read(path) for path in sorted(BOOK.glob("*.md"))}
NUMBER = re.compile(r"[^\s(…]*\d[^\s…]*")


class Allowed(NamedTuple):
    """What may hold digits: why, by which pattern, on which page and under which of its headings ("" is anywhere)."""

    reason: str
    pattern: str
    page: str = ""
    heading: str = ""


ALLOWED = (
    Allowed("names of networks", r"ResNet-\d+|ViT-B/32|MobileNetV2( 0\.35)?|EfficientNet-Lite0"),
    Allowed("names of networks", r"\brn(18|50)-\w+|\bvitb32-clip\b"),
    Allowed("names of data sets", r"(?i)\bcifar-?100?\b|sun397|ucf101"),
    Allowed("names of measures, penalties, licences", r"\b[Tt]op-1\b|\bL2\b|\bApache-2\.0\b"),
    Allowed("names of formats and of their sizes", r"\bSHA-256\b|\b(b?float|uint)\d+\b|\b\d+ bits?\b"),
    Allowed("figures and tables of the paper", r"(Figures?|Tables?|figure) \d[a-c]?( and \d)?"),
    Allowed("the level of all tests and intervals", r"\b95 % intervals?\b|\bbelow 5 %"),
    Allowed("a copy is float32, a mask one bit", r"\b32\b", "conclusion.md"),
    Allowed("a copy is float32, a mask one bit", r"\b32\b", "introduction.md"),
    Allowed("the paper's setting, kept", r"momentum 0\.9\b", "experiments.md", "Training"),
    Allowed("settings of the paper", r"\b(200|14 %|5,005)(?=;| of it| steps)", "experiments.md", "Where we deviate"),
    Allowed("what the draft prints", r"± 0\.00 with n = 1\b", "experiments.md", "Weak points of the original numbers"),
    Allowed("the value of a counter", r"\bis 1 where\b", "experiments.md", "When a difference is clear"),
    Allowed(
        "how the simulation is set up, `benchmarks/false_alarms.py`",
        r"\b24 settings\b|accuracies \.30, \.80 and \.95|\b500 and 1,000 images\b|accuracy \.80 with 1,000 images\b",
        "experiments.md", "When a difference is clear",
    ),
    Allowed("the format itself, which stored files hold to", r"\S*\d\S*", "mask_files.md", "The mask file"),
    Allowed("the format itself, which stored files hold to", r"\S*\d\S*", "mask_files.md", "Tensors"),
    Allowed("the format itself, which stored files hold to", r"\S*\d\S*", "mask_files.md", "Description"),
    Allowed("the format itself, which stored files hold to", r"\S*\d\S*", "mask_files.md", "Coded numbers"),
    Allowed("the format itself, which stored files hold to", r"\S*\d\S*", "mask_files.md", "Coded mask"),
    Allowed("ranges and rates to give", r"\[-1, 1\]|0\.01 rather than 20\b|start, 1,|threshold, 0,|such as 50\b",
            "mask_your_model.md"),
    Allowed("values of symbols", r"\b[01]\b|A\.1\.2", "notation.md"),
    Allowed("nought, in a statement or its proof", r"\b0\b", "proofs.md"),
    Allowed("names of the experiment's settings", r"\b(scaled by 2|(shift(ed)? by|next to) 1000)\b|n = 1\b",
            "proofs.md", "Experiment or proof?"),
    Allowed("equations, sections and references of the draft", r"\(\d+\)|\b3\.1\b|\bA\.1\.[12]\b|\[[12]\]", "proofs.md",
            "Errata of the draft"),
    Allowed("the oldest Python", r"\bPython 3\.11\b", "reproduce.md"),
    Allowed("names of Pythons and systems", r"\b3\.1[145]\b|\bmacOS 14\b", "reproduce.md", "Pythons and systems"),
    Allowed("an exit code", r"\bexit code (is )?1\b"),
    Allowed("formats of pictures", r"\bof 32 with\b|\b0\.\.(65535|1)\b|\bby 257\b|lowest of 16\b|\b120 million\b",
            "reproduce.md", "Your own pictures"),
    Allowed("size of a package, and how long to wait", r"\b17 MB\b|\b20 minutes\b", "reproduce.md",
            "Photographs, with weights from a package"),
    Allowed("counts of published files, which `test_check.py` compares with the catalogue", r"^[\d,]+$",
            "run_the_paper.md"),
    Allowed("facts about published files", r"\bfirst 8 letters\b|\b0\.6\b|\b7,680 more\b|\b23,462,592 in all\b",
            "run_the_paper.md", "Networks"),
    Allowed("facts about published files", r"\b224\b|\b58 GB\b|\b42 GB\b", "run_the_paper.md", "Data sets"),
    Allowed("what a benchmark measures", r"\b(32|224) pixels\b|batch of \d+", "speed.md"),
    Allowed("goals set beforehand", r"a ratio of 1\.10 at most\b|\bof 1\.03 at\b", "speed.md"),
    Allowed("goals set beforehand", r"a ratio of 2 at most\b", "task_sizes.md"),
    Allowed("what a benchmark measures", r"\b5 % zeros and 10 classes\b", "task_sizes.md", "Many tasks in memory"),
    Allowed("the source, and how it is divided", r"1,797 digits of 8 by 8 points\b|\b[63]0 % (of|to test)", "world.md",
            "Real pictures"),
)  # fmt: skip


def applies(one, page, heading):
    return one.page in ("", page) and one.heading in ("", heading)


def typed(page, text):
    """What is left of the digits of a text."""
    rest = text.text
    for one in ALLOWED:
        if applies(one, page, text.heading):
            rest = re.sub(one.pattern, prose.GAP, rest)
    return NUMBER.findall(rest)


@pytest.mark.parametrize("page", PAGES)
def test_no_number_of_the_prose_is_typed_by_hand(page):
    found = [f"{page}:{text.line} {number}" for text in PAGES[page] for number in typed(page, text)]
    assert found == [], "take these from records ({record}, {reported}, {benchmark}, {setting}), or name a reason here"


@pytest.mark.parametrize("one", ALLOWED, ids=lambda one: f"{one.page} {one.pattern}")
def test_nothing_is_allowed_that_no_page_needs(one):
    texts = [text.text for page, every in PAGES.items() for text in every if applies(one, page, text.heading)]
    assert any(re.search(one.pattern, text) for text in texts)


@given(st.sampled_from(sorted(PAGES)), st.floats(2, 31), st.integers(0, 3))
def test_a_result_is_found_wherever_it_is_typed(page, value, digits):
    number = f"{value:.{digits}f}"
    for written in (f"It reaches {number} points.", f"- gains ({number} %)", f"| a |\n|---|\n| {number} kB |"):
        (text,) = [text for text in prose.of(written) if number in text.text]
        assert typed(page, text)


MARKUP = """# Title of 3

{record}`rn18-timm dtd FS top1` and `lr=50`, $x_1 = 2$, {cite}`he2016resnet`, [a link](https://example.org/1).

```{record-figure} figure-1
:name: figure-1
:alt: Four panels, 4 lines

A caption of 5.
```

```{admonition} Of 6
:class: caution
Rows of 7, {eq}`eq-8`.
```

```python
lr = 9
```

| a | 10 |
|---|---|
| b | $11$ |
"""


def test_prose_is_what_no_role_code_or_option_made():
    numbers = [number for text in prose.of(MARKUP) for number in NUMBER.findall(text.text)]
    assert numbers == ["3", "5.", "6", "7,", "10"]


def test_a_directive_that_nobody_has_classed_is_an_error():
    with pytest.raises(ValueError, match="got 'tip': say here whether it is prose"):
        prose.of("```{tip}\nIt gains 5 points.\n```\n")


@pytest.mark.parametrize("page", sorted(BOOK.glob("*.md")), ids=lambda page: page.stem)
def test_each_column_of_a_table_has_a_heading(page):
    """A screen reader reads it out before each cell."""
    lines = page.read_text(encoding="utf-8").splitlines()
    heads = [line for line, rule in pairwise(lines) if re.fullmatch(r"\|[\s|:-]+\|", rule)]
    assert [head for head in heads if "" in map(str.strip, head.strip("|").split("|"))] == []
