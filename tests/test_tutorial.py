"""The page "Mask your own model in five minutes" does what it says."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "book" / "mask_your_model.md"


def test_the_code_on_the_page_runs_in_order():
    text = PAGE.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    assert len(blocks) >= 5
    names: dict = {}
    for block in blocks:
        line = text[: block.start(1)].count("\n")
        exec(compile("\n" * line + block.group(1), str(PAGE), "exec"), names)
