"""A switch that is refused leaves the model as it was, by whatever method it was asked for."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_one_after_another import IMAGES, KINDS, network, tasks  # noqa: F401

from submasking import Bank, mask
from submasking.tasks.heads import linear_head


def entered(bank, name):
    with bank.using(name):
        pytest.fail("the block of a refused switch was entered")


WAYS = {
    "use": lambda bank, name: bank.use(name),
    "using": entered,
    "logits": lambda bank, name: bank.logits(name, IMAGES),
    "mixed": lambda bank, name: bank.mixed(IMAGES, ["masks alone", name]),
    "guess": lambda bank, name: bank.guess(IMAGES, [name]),
}


@torch.no_grad()
def tuned(model):
    for parameter in model.parameters():
        parameter.add_(0.1)


def masked(model):
    """Masked and trained by somebody, the classifier too."""
    mask(model)
    with torch.no_grad():
        model[5].weight.add_(1.0)


HAPPENED = {"tuned": tuned, "masked": masked, "nothing": lambda model: None}


def filled(tasks):  # noqa: F811
    bank = Bank(network())
    for kind, (task, _) in tasks.items():
        bank.add(kind, task)
    return bank


@pytest.mark.parametrize("used", [None, "both"])
@pytest.mark.parametrize("happened", HAPPENED)
@pytest.mark.parametrize("way", WAYS)
def test_a_refused_switch_leaves_the_model_as_it_was(way, happened, used, tasks):  # noqa: F811
    bank = filled(tasks)
    if used and happened != "masked":  # such a model is not masked
        bank.use(used)
    HAPPENED[happened](bank.model)
    before, current = copy.deepcopy(bank.model.state_dict()), bank.current
    for name in ["no such task", *(["masks alone", "both"] if happened != "nothing" else [])]:
        with pytest.raises(ValueError, match="must"):
            WAYS[way](bank, name)
        assert all(torch.equal(value, before[key]) for key, value in bank.model.state_dict().items())
        assert bank.current == current


def test_what_is_released_in_a_block_and_masked_there_is_left_alone(tasks):  # noqa: F811
    bank = filled(tasks)
    with bank.using("both"):
        masked(bank.release())
        before = copy.deepcopy(bank.model.state_dict())
    assert all(torch.equal(value, before[key]) for key, value in bank.model.state_dict().items())


@given(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=3), st.sampled_from([None, *KINDS]))
def test_blocks_in_blocks_end_where_they_began(tasks, names, first):  # noqa: F811
    bank = filled(tasks)
    if first:
        bank.use(first)
    with bank.using(names[0]):
        for name in names[1:]:
            with bank.using(name) as model:
                assert torch.equal(model(IMAGES), tasks[name][1])
        assert torch.equal(bank.model(IMAGES), tasks[names[0]][1])
    assert bank.current == first
    assert torch.equal(bank.model(IMAGES), tasks[first][1] if first else network()(IMAGES))


def test_a_name_that_is_none_is_refused_before_the_others_are_computed(tasks):  # noqa: F811
    bank, seen = filled(tasks), []
    bank.put("with a head", bank.masks("both"), head=linear_head(4, 2, seed=0))
    bank.model.register_forward_hook(lambda *_: seen.append(1))
    for ask in (lambda: bank.mixed(IMAGES, ["both", "none"]), lambda: bank.guess(IMAGES, ["with a head", "none"])):
        with pytest.raises(ValueError, match="'none' is not"):
            ask()
    assert not seen


@pytest.mark.parametrize("first", range(4))
def test_of_weights_that_somebody_tuned_the_first_is_named(first, tasks):  # noqa: F811
    bank = filled(tasks)
    names = [name for name, _ in bank.model.named_parameters()][first:]
    with torch.no_grad():
        for name in names:
            bank.model.get_parameter(name).add_(0.1)
    with pytest.raises(ValueError, match=f"keep its weights; '{names[0]}' was loaded"):
        bank.use("both")
