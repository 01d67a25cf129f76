"""The optimizers of a whole training: masks, what is trained beside them, and a head outside."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from submasking import MaskSGD, MaskSGDInBackward, mask


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def held(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


@given(st.lists(st.sampled_from(["mask", "train", "freeze"]), min_size=3, max_size=3), st.booleans())
def test_every_parameter_that_learns_is_held_once(actions, head):
    model, outside = network(), nn.Linear(3, 2)
    said = dict(zip(["0.bias", "2.weight", "2.bias"], actions, strict=True))
    masking = mask(model, lambda name, parameter: said.get(name, "mask"))
    found = masking.optimizers(also=outside if head else None)
    learning = {id(p) for p in model.parameters() if p.requires_grad} | {id(p) for p in outside.parameters() if head}
    assert set().union(*map(held, found)) == learning
    assert sum(len(held(optimizer)) for optimizer in found) == len(learning)
    assert len(found) == (2 if head or "train" in actions else 1)


def test_a_loop_over_them_trains_all():
    model, head = network(), nn.Linear(3, 2)
    masking = mask(model)
    before = [parameter.detach().clone() for parameter in (*model[2].parameters(), *head.parameters())]
    optimizers = masking.optimizers(lr=100.0, also=head)
    for _ in range(3):
        head(model(torch.ones(4, 6))).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert masking.sparsity() > 0
    for old, new in zip(before, (*model[2].parameters(), *head.parameters()), strict=True):
        assert not torch.equal(old, new)
        assert new.grad is None


def test_settings_go_where_they_belong():
    masking = mask(network())
    masks, trained = masking.optimizers(7.0, trained_lr=0.3, momentum=0.5, weight_decay=0.01, in_backward=True)
    assert isinstance(masks, MaskSGDInBackward)
    assert masks.param_groups[0]["lr"] == 7.0
    assert masks.param_groups[0]["momentum"] == trained.param_groups[0]["momentum"] == 0.5
    assert (trained.param_groups[0]["lr"], trained.param_groups[0]["weight_decay"]) == (0.3, 0.01)
    assert type(masking.optimizers()[0]) is MaskSGD
    assert masking.optimizers()[0].param_groups[0]["lr"] == 50.0


def test_what_needs_no_gradient_is_left_out():
    model, head = network(), nn.Linear(3, 2).requires_grad_(False)
    masking = mask(model)
    model[2].requires_grad_(False)
    assert len(masking.optimizers(also=head)) == 1


def test_a_part_of_the_model_is_not_trained_twice_and_its_masked_weights_not_at_all():
    model = network()
    masking = mask(model)
    assert held(masking.optimizers(also=model[2])[1]) == {id(parameter) for parameter in model[2].parameters()}
    with pytest.raises(ValueError, match=r"also must be a module outside .*; got Sequential with masked parameters"):
        masking.optimizers(also=model)


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"trained_lr": -1.0}, {"momentum": 1.0}, {"weight_decay": -1.0}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must|Invalid"):
        mask(network()).optimizers(**wrong)
