"""The page "The mask file" lets another program read one."""

import re
import shutil

import pytest

from submasking.records import places
from submasking.tasks import maskfile

PAGE = places.REPOSITORY / "book" / "mask_files.md"
VECTOR = places.REPOSITORY / "tests" / "vectors" / "format-1.safetensors"


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """The page's code, with a mask file where it looks for one."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(VECTOR, "task.safetensors")
    return re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE).group(1)


def test_the_code_on_the_page_reads_what_the_library_reads(reader):
    names: dict = {}
    exec(reader, names)
    task = maskfile.load(VECTOR)
    assert tuple(names["description"]["classes"]) == task.classes
    assert {name: tuple(n[1:]) for name, n in names["description"]["mask"]["tensors"].items()} == task.shapes
    assert names["digest"].hexdigest() == task.checksum


def test_the_code_on_the_page_sees_damage(reader, tmp_path):
    content = bytearray((tmp_path / "task.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "task.safetensors").write_bytes(content)
    with pytest.raises(AssertionError, match="damaged"):
        exec(reader, {})


@pytest.mark.parametrize("key", ["library", "backbone", "mask", "trained", "state", "head", "classes", "provenance"])
def test_every_key_of_a_description_is_on_the_page(key):
    from submasking.tasks import container

    description, _, _ = container.read(VECTOR)
    assert key in description
    assert f"`{key}`" in PAGE.read_text(encoding="utf-8")
