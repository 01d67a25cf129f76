"""A bank under what callers do around it: inference mode, casts, a backward under way, training in its place."""

import copy

import pytest
import torch
from torch import nn

from submasking import Bank

X = torch.linspace(-1, 1, 24).view(6, 4)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 5))


def on(seed):
    return {"0.weight": torch.rand(8, 4, generator=torch.Generator().manual_seed(seed)) > 0.5}


def classifier(rows, seed):
    random = torch.Generator().manual_seed(seed)
    return {"2.weight": torch.randn(rows, 8, generator=random), "2.bias": torch.randn(rows, generator=random)}


@pytest.fixture
def bank():
    made = Bank(network())
    made.put("three", on(1), state=classifier(3, 1))
    made.put("five", on(2), state=classifier(5, 2))
    made.put("plain", on(3))
    return made


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_logits_are_had_in_any_mode_and_the_model_is_as_it_was(bank, mode):
    before = copy.deepcopy(bank.model.state_dict())
    wanted = {name: bank.logits(name, X) for name in bank.tasks}
    for name in ("three", "plain", "three", "five"):
        with mode():
            assert torch.equal(bank.logits(name, X), wanted[name])
    assert all(torch.equal(value, before[name]) for name, value in bank.model.state_dict().items())
    bank.use("three")(X).sum().backward()  # an ordinary model
    with torch.inference_mode():
        bank.release()
    assert not any(parameter.is_inference() for parameter in bank.model.parameters())


@pytest.mark.parametrize("cast", [nn.Module.double, nn.Module.half, nn.Module.bfloat16])
@pytest.mark.parametrize("then", ["three", "plain", "five", None])
def test_a_cast_while_another_classifier_is_in_use_reaches_the_one_that_was_set_aside(bank, cast, then):
    before = copy.deepcopy(bank.model.state_dict())
    bank.use("three")
    cast(bank.model)
    dtype = bank.model[0].weight.dtype
    model = bank.release() if then is None else bank.use(then)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    if then is not None:
        assert model(X.to(dtype)).shape == (6, {"three": 3}.get(then, 5))
    bank.use("three")
    bank.model.float()
    bank.use("three")
    assert all(torch.equal(value, before[name]) for name, value in bank.release().state_dict().items())


def test_a_classifier_that_is_frozen_while_another_is_in_use_stays_frozen(bank):
    bank.use("three").requires_grad_(False)
    assert not any(parameter.requires_grad for parameter in bank.use("plain").parameters())
    assert not any(parameter.requires_grad for parameter in bank.use("three").parameters())


@pytest.mark.parametrize("second", ["plain", "five"])
def test_a_backward_through_weights_that_a_switch_has_replaced_is_refused(bank, second):
    bank.put("other", on(9))
    x = X.clone().requires_grad_()
    said = bank.use("other")(x).sum()
    bank.use(second)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        said.backward()


@pytest.mark.parametrize("name", ["three", "five"])
def test_a_classifier_trained_in_place_is_not_thrown_away_in_silence(bank, name):
    model = bank.use(name)
    with torch.no_grad():
        model[2].weight.add_(1)
    trained = model[2].weight.clone()
    with pytest.raises(ValueError, match=r"'2\.weight' was loaded, trained or edited since"):
        bank.use("plain")
    assert torch.equal(model[2].weight, trained)


@pytest.mark.parametrize("head", [nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 2)), nn.Sequential(nn.BatchNorm1d(5))])
def test_a_head_in_a_bank_answers_twice_alike(bank, head):
    bank.put("head", on(4), head=head.train())
    first = bank.logits("head", X)
    assert torch.equal(bank.logits("head", X), first)
    assert head.training


@pytest.mark.parametrize("name", [None, 1.5, ["a"], b"a"])
def test_a_task_has_a_text_for_a_name(bank, name):
    with pytest.raises(ValueError, match="a task's name must be a text"):
        bank.put(name, on(5))
    with pytest.raises(ValueError, match="the task must be in the bank"):
        bank.use(name)
