"""A folder of many tasks: read when asked for, memory bounded, each task as the bank itself would give it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from benchmarks import fuzz
from submasking import Bank, MaskFileError, Shelf, mask, maskfile

TASKS = 5


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("shelf")
    for number in range(TASKS):
        fuzz.original(place / f"{number}.safetensors", number)
    return place


@pytest.fixture(scope="module")
def expected(folder):
    bank = Bank(fuzz.network())
    for number in range(TASKS):
        bank.add(str(number), folder / f"{number}.safetensors")
    return {name: weights(bank.use(name)) for name in bank.tasks}


@settings(max_examples=30, deadline=None)
@given(held=st.integers(1, TASKS + 1), asked=st.lists(st.integers(0, TASKS - 1), min_size=1, max_size=12))
def test_any_order_of_use_gives_each_task_and_holds_the_last_used(folder, expected, held, asked):
    shelf = Shelf(Bank(fuzz.network()), folder, held=held)
    assert not shelf.bank.tasks
    for number in asked:
        found = weights(shelf.use(str(number)))
        assert all(torch.equal(value, expected[str(number)][name]) for name, value in found.items())
    latest = list(dict.fromkeys(map(str, reversed(asked))))[:held]
    assert set(shelf.bank.tasks) == set(latest)
    assert shelf.bank.current == str(asked[-1])


def test_nothing_is_read_before_it_is_asked_for_and_damage_leaves_the_model_as_it_was(folder, tmp_path):
    for name in ("0", "1"):
        (tmp_path / f"{name}.safetensors").write_bytes((folder / f"{name}.safetensors").read_bytes())
    (tmp_path / "1.safetensors").write_bytes(b"half")
    other = mask(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), "resnet")
    maskfile.save(tmp_path / "2.safetensors", other)
    shelf = Shelf(Bank(fuzz.network()), tmp_path, held=1)
    before = weights(shelf.use("0"))
    for name in ("1", "2"):
        with pytest.raises(MaskFileError):
            shelf.use(name)
        now = weights(shelf.bank.model)
        assert all(torch.equal(value, now[key]) for key, value in before.items())
        assert shelf.bank.current == "0"


def test_what_cannot_be_a_shelf_is_refused(folder, tmp_path):
    bank = Bank(fuzz.network())
    with pytest.raises(ValueError, match="held must be a whole number, at least 1, got 0"):
        Shelf(bank, folder, held=0)
    with pytest.raises(ValueError, match="has none; save tasks there first"):
        Shelf(bank, tmp_path)
    with pytest.raises(ValueError, match=r"must be on the shelf, '\.\./0' is not"):
        Shelf(bank, folder).use("../0")
    bank.add("0", folder / "0.safetensors")
    with pytest.raises(ValueError, match="'0' is in the bank"):
        Shelf(bank, folder)
