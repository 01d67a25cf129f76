"""Optimizers over the scores: any of torch's, with and without a closure."""

import copy

import pytest
import torch
from references import literal_mask, mask_in_forward
from torch import nn

from submasking import Threshold, mask
from submasking.masking.selection import random_part


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def loss(model: nn.Module) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    images = torch.randn(8, 6, generator=random, dtype=torch.float64)
    return nn.functional.cross_entropy(model(images), torch.randint(0, 3, (8,), generator=random))


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
    for _ in range(count):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.AdamW])
def test_any_torch_optimizer_trains_the_scores(kind):
    model = network()
    masking = mask(model, "weights")
    learn(model, masking.attach(kind(masking.scores().values(), lr=0.2)), 12)
    assert masking.sparsity() > 0


@pytest.mark.parametrize(("kind", "lr"), [(torch.optim.SGD, 20.0), (torch.optim.Adam, 0.5), (torch.optim.AdamW, 0.5)])
def test_weight_decay_switches_off_nothing_outside_a_partial_mask(kind, lr):
    model = network()
    masking = mask(model, random_part("weights", 0.5))
    outside = {name: scores.isposinf() for name, scores in masking.scores().items()}
    optimizer = masking.attach(kind(masking.scores().values(), lr=lr, weight_decay=0.01))
    learn(model, optimizer, 12)
    for name, on in masking.masks().items():
        assert on[outside[name]].all()
        assert not masking.scores()[name].isnan().any()
    assert masking.sparsity() > 0


@pytest.mark.parametrize("zeroed", ["scores", "all"])
def test_closures_give_the_scores_of_the_literal_reference(zeroed):
    """LBFGS evaluates the closure many times a step, each time under the masks of the scores it has then."""
    found = []
    for literal in (False, True):
        model = network()
        if literal:
            scores = mask_in_forward(
                model, ["0.weight", "2.weight"], lambda s: literal_mask(s, Threshold(0.98)), start=1.0
            )
            optimizer = torch.optim.LBFGS(scores.values(), lr=0.5, max_iter=6)
        else:
            masking = mask(model, "weights", Threshold(0.98))
            scores = masking.scores()
            optimizer = masking.attach(torch.optim.LBFGS(scores.values(), lr=0.5, max_iter=6))

        def closure(model=model, optimizer=optimizer):
            optimizer.zero_grad()
            if zeroed == "all":
                model.zero_grad()
            value = loss(model)
            value.backward()
            return value

        for _ in range(3):
            optimizer.step(closure=closure)
        found.append({name: score.detach() for name, score in scores.items()})
    assert 0 < masking.sparsity() < 1
    for name, score in found[0].items():
        assert torch.equal(score, found[1][name])


def test_groups_have_learning_rates_of_their_own():
    model = network()
    masking = mask(model, "weights")
    first, second = masking.scores().values()
    groups = [{"params": [first], "lr": 0.0}, {"params": [second]}]
    learn(model, masking.attach(torch.optim.SGD(groups, lr=30.0)), 5)
    assert (first == 1).all()
    assert masking.sparsities()["2.weight"] > 0


def test_all_scores_must_be_held():
    masking = mask(network(), "weights")
    with pytest.raises(ValueError, match=r"must hold every score tensor; it lacks 1, first '2.weight'; make it over"):
        masking.attach(torch.optim.SGD([masking.scores()["0.weight"]], lr=1.0))


@pytest.mark.parametrize("change", ["cast", "assigned"])
def test_scores_that_were_replaced_are_noticed(change):
    model = network()
    masking = mask(model, "weights")
    optimizer = masking.attach(torch.optim.SGD(masking.scores().values(), lr=30.0))
    if change == "cast":
        model.float().double()
    else:
        model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    with pytest.raises(ValueError, match=r"it lacks 2, first '0.weight'; .* anew when the model was moved, cast or"):
        learn(model, optimizer, 1)


def test_a_baked_model_is_left_alone():
    model = network()
    masking = mask(model, "weights")
    optimizer = masking.attach(torch.optim.SGD(masking.scores().values(), lr=30.0))
    masking.bake()
    with pytest.raises(ValueError, match="this one was baked or unbaked"):
        learn(model, optimizer, 1)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_batch_that_is_discarded_stays_discarded(set_to_none):
    moved = []
    for discarded in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 3)
        masking = mask(model, "weights")
        optimizer = masking.attach(torch.optim.SGD(masking.scores().values(), lr=1.0))
        first, second = torch.randn(2, 5, 4)
        if discarded:
            model(first).square().sum().backward()
            optimizer.zero_grad(set_to_none=set_to_none)
        model(second).square().sum().backward()
        optimizer.step()
        moved.append(masking.scores()["weight"].clone())
    assert torch.equal(*moved)


@pytest.mark.parametrize("attached", [True, False])
def test_a_step_without_any_gradient_is_said_once(attached):
    model = torch.nn.Linear(4, 3)
    masking = mask(model, "weights")
    scores = masking.scores().values()
    optimizer = masking.attach(torch.optim.SGD(scores, lr=1.0)) if attached else masking.optimizer()
    with pytest.warns(UserWarning, match="none of the masked parameters has one"):
        optimizer.step()
    optimizer.step()  # a second warning would be an error
