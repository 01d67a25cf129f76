"""A trained parameter that nothing moves is noticed, once; one that anything moves is not."""

import copy
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from submasking import find_lr, mask, of
from submasking.masking.watch import LAST, PATIENCE

WAYS = ["fused", "in backward", "attached", "closure"]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 50), nn.Tanh(), nn.Linear(50, 3))


def backward(model: nn.Module, step: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(step)
    loss = model(torch.randn(8, 6, generator=random)).square().mean()
    loss.backward()
    return loss


def learn(model: nn.Module, way: str, before=(), after=(), count: int = LAST + 3, passes: int = 1) -> list[str]:
    """Train masks in one of the `WAYS`, with other optimizers before and after; returns what was warned."""
    masking = of(model)
    if way in ("fused", "in backward"):
        optimizer = masking.optimizer(lr=1.0, in_backward=way == "in backward")
    else:
        optimizer = masking.attach(torch.optim.SGD(masking.scores().values(), lr=1.0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(count):
            model.zero_grad()
            for number in range(passes):
                backward(model, 100 * number + step)
            for other in before:
                other.step()
            optimizer.step(*((lambda step=step: backward(model, step),) if way == "closure" else ()))
            for other in after:
                other.step()
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("way", WAYS)
def test_a_classifier_that_nothing_moves_is_named_once(way):
    model = network()
    mask(model)
    (text,) = learn(model, way)
    assert f"2 of them, first '2.weight', had gradients for {PATIENCE} steps and stayed as they were" in text
    assert "step all of masking.optimizers(...)" in text
    assert learn(model, way) == []


@pytest.mark.parametrize("count", [PATIENCE, PATIENCE + 1])
def test_it_is_noticed_after_three_whole_steps_and_no_sooner(count):
    model = network()
    mask(model)
    assert len(learn(model, "fused", count=count)) == (count > PATIENCE)


def test_the_one_that_is_left_out_is_named():
    model = network()
    mask(model)
    (text,) = learn(model, "fused", after=[torch.optim.SGD([model[2].weight], lr=0.1)])
    assert "1 of them, first '2.bias'" in text


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "resting": lambda p: torch.optim.SGD(p, lr=0.0),
    "foreach": lambda p: torch.optim.Adam(p, lr=0.1, foreach=True),
    "fused": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),  # raises no version
    "data": lambda p: Data(p, {}),
}


class Data(torch.optim.Optimizer):
    """Writes behind autograd's back, as older optimizers do."""

    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]:
            parameter.data.sub_(parameter.grad.data, alpha=0.1)


@given(st.sampled_from(sorted(OPTIMIZERS)), st.sampled_from(["fused", "attached", "closure"]), st.booleans(),
       st.integers(1, 3))  # fmt: skip
def test_no_alarm_where_another_optimizer_steps_in_any_order(kind, way, first, passes):
    model = network()
    mask(model)
    other = [OPTIMIZERS[kind](list(model[2].parameters()))]
    assert learn(model, way, *((other, ()) if first else ((), other)), passes=passes) == []


@pytest.mark.parametrize("way", WAYS[:2])
def test_no_alarm_with_the_optimizers_of_the_masking(way):
    model = network()
    masking, optimizers = mask(model), None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizers = masking.optimizers(lr=1.0, in_backward=way == "in backward")
        for step in range(LAST):
            backward(model, step)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()


def test_no_alarm_without_gradients():
    model = network()
    mask(model)
    model[2].requires_grad_(False)
    assert learn(model, "fused") == []


def test_no_alarm_for_a_gradient_that_an_earlier_backward_left():
    """The masks learn from a loss on the features; the classifier keeps what was there before."""
    model = network()
    masking = mask(model)
    backward(model, 0)
    optimizer = masking.optimizer(lr=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(LAST):
            optimizer.zero_grad()
            backward(model[:2], step)
            optimizer.step()
    assert model[2].weight.grad is not None


def test_no_alarm_where_a_learning_rate_is_looked_for():
    model = network()
    masking = mask(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_lr(masking, lambda: backward(model, 0), flip_rate=0.01, steps=8) > 0


@pytest.mark.parametrize("change", [copy.deepcopy, lambda model: model.to(torch.float64).to(torch.float32)])
def test_a_copy_is_watched_anew(change):
    model = network()
    mask(model)
    assert learn(model, "fused", count=2) == []
    assert len(learn(change(model), "fused")) == 1


def test_a_sparse_gradient_is_one_too():
    model = nn.Sequential(nn.Embedding(5, 3, sparse=True), nn.Linear(3, 12))
    actions = {"0.weight": "train", "1.weight": "mask"}
    optimizer = mask(model, lambda name, parameter: actions.get(name, "freeze")).optimizer(lr=0.1)

    def train():
        for step in range(LAST):
            model.zero_grad()
            model(torch.tensor([step % 5, 1])).square().sum().backward()
            optimizer.step()

    with pytest.warns(UserWarning, match=r"1 of them, first '0\.weight'"):
        train()


def test_after_the_first_steps_nobody_looks():
    model = network()
    masking = mask(model)
    learn(model, "fused", after=[torch.optim.SGD(model[2].parameters(), lr=0.1)], count=2)
    assert masking.watch.names == ()
    assert masking.watch._seen == {}
