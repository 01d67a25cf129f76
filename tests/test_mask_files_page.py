"""The page "The mask file" lets another program read one."""

import re
import shutil
import struct

import constriction
import numpy as np
import pytest
import torch

from submasking.records import places
from submasking.tasks import floats, maskfile, packing
from submasking.tasks.shares import BERNOULLI

PAGE = places.REPOSITORY / "book" / "mask_files.md"
VECTOR = places.REPOSITORY / "tests" / "vectors" / "format-2.safetensors"


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

    description = container.read(VECTOR).description
    assert key in description
    assert f"`{key}`" in PAGE.read_text(encoding="utf-8")


def literal(content, count, exponent, mantissa):
    """The code of floats bit by bit, as the page's section "Coded numbers" tells it."""
    kept, s, shares, words = struct.unpack_from("<BhHI", content)
    table, content = list(content[9 : 9 + shares]), content[9 + shares :]
    coder = constriction.stream.queue.RangeDecoder(np.frombuffer(content, "<u4", words).astype(np.uint32))
    rest = [byte >> 7 - k & 1 for byte in content[4 * words :] for k in range(8)]
    numbers = [{"e": 0, "sign": 0, "m": []} for _ in range(count)]

    def coded(chosen, node):
        code = {one: table.pop(0) for one in sorted({node(number) for number in chosen})}
        for number in chosen:
            low = code[node(number)] & 127
            q = (8 + low % 8) * 2 ** (low // 8) / 2**20
            p = np.float32(1 - q if code[node(number)] > 127 else q)
            yield number, int(coder.decode(BERNOULLI, np.array([p]))[0])

    for _ in range(exponent):
        for number, bit in list(coded(numbers, lambda number: number["e"])):
            number["e"] = 2 * number["e"] + bit
    for number, bit in coded(numbers, lambda number: 0):
        number["sign"] = bit
    for position in range(kept):
        chosen = [number for number in numbers if position < min(max(number["e"] - s, 0), kept)]
        if position < 2:
            nodes = lambda number: int(f"{number['e']:b}" + "".join(map(str, number["m"])), 2)  # noqa: E731
            for number, bit in list(coded(chosen, nodes)):
                number["m"].append(bit)
        else:
            for number in chosen:
                number["m"].append(rest.pop(0))
            del rest[: -len(chosen) % 8]
    assert not table
    assert not rest
    words = []
    for number in numbers:
        bits = "".join(map(str, number["m"])).ljust(mantissa, "0")
        words.append(int(f"{number['sign']}{number['e']:0{exponent}b}{bits}", 2))
    return words


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("step", [0, 2**-5])
def test_numbers_are_coded_as_the_page_tells(kind, step):
    values = torch.randn(300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = ((values / step).round() * step if step else values).to(getattr(torch, kind))
    data = packing.packed({"weight": values})
    mode, length = struct.unpack_from("<BI", data)
    assert (mode, length) == (1, len(data) - 5)
    size = values.element_size()
    wanted = values.view(packing.WORDS[size]).numpy().view(f"u{size}").tolist()
    assert literal(data[5:], 300, *floats.KINDS[kind]) == wanted
