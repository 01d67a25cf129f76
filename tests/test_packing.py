"""What a task sets beside its mask: tensors of any type come back to the bit, and lies about them are refused."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from submasking.tasks import packing, unpacking

LAST = st.sampled_from(["weight", "bias", "running_mean", "num_batches_tracked"])
SHAPES = st.lists(st.integers(0, 5), max_size=3)


def tensor(seed, kind, sizes):
    """A tensor of any bits, often of few values only."""
    draw, dtype = np.random.default_rng(seed), getattr(torch, kind)
    count = math.prod(sizes)
    if dtype == torch.bool:
        return torch.from_numpy(draw.integers(0, 2, count).astype(np.bool_)).view(sizes)
    content = draw.bytes(count * dtype.itemsize) if seed % 2 else bytes([seed % 256]) * (count * dtype.itemsize)
    return torch.frombuffer(bytearray(content + bytes(8)), dtype=dtype)[:count].view(sizes).clone()


TENSORS = st.dictionaries(
    st.builds(lambda path, last: f"{path}.{last}".lstrip("."), st.sampled_from(["", "a", "b.c", "d"]), LAST),
    st.builds(tensor, st.integers(0, 2**32), st.sampled_from(sorted(unpacking.SIZES)), SHAPES),
)


def same(first, second):
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    words = packing.WORDS[first.element_size()]
    return torch.equal(first.reshape(-1).view(words), second.reshape(-1).view(words))


@given(TENSORS)
def test_any_tensors_come_back_to_the_bit(tensors):
    read = packing.unpacked(packing.listed(tensors), packing.packed(tensors))
    assert list(read) == sorted(tensors)
    assert all(same(read[name], value) for name, value in tensors.items())


def test_strides_and_gradients_do_not_matter():
    weight = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).t().requires_grad_()
    (read,) = packing.unpacked([["weight", "float32", 4, 6]], packing.packed({"weight": weight})).values()
    assert torch.equal(read, weight)


def test_counters_that_are_equal_cost_a_few_bytes():
    counters = {f"{k}.num_batches_tracked": torch.tensor(1234) for k in range(50)}
    assert len(packing.packed(counters)) < 30


@given(TENSORS, st.integers(0, 2**32))
def test_damaged_values_are_refused_or_other_values(tensors, seed):
    draw = np.random.default_rng(seed)
    data, listed = bytearray(packing.packed(tensors)), packing.listed(tensors)
    if data and seed % 3 == 0:
        del data[draw.integers(len(data)) :]
    elif data and seed % 3 == 1:
        data[draw.integers(len(data))] ^= 1 << draw.integers(8)
    else:
        data += draw.bytes(5)
    try:
        read = packing.unpacked(listed, bytes(data))
    except ValueError:
        return
    assert seed % 3 == 1 or not data
    assert packing.listed(read) == listed


@pytest.mark.parametrize("kind", ["float32", "int64"])
def test_a_declared_size_is_no_reason_to_take_memory(kind):
    held = {"weight": torch.ones(40, dtype=getattr(torch, kind))}
    with pytest.raises(ValueError, match=r"cannot hold|numbers take"):
        packing.unpacked([["weight", kind, 10**9, 10**9]], packing.packed(held))


def test_a_type_that_no_file_holds_is_refused():
    with pytest.raises(ValueError, match="'scale' is not"):
        packing.listed({"scale": torch.ones(2, dtype=torch.complex64)})
