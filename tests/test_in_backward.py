"""The optimizer in backward: the masks of the ordinary one with fewer gradients held, and its limits are told."""

import copy
import gc
import pickle

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from submasking import Monitor, find_lr, mask, of


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 3))


def images(seed: int = 0) -> torch.Tensor:
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(seed))


def loss(model: nn.Module, seed: int = 0) -> torch.Tensor:
    return model(images(seed)).square().mean()


def trained(in_backward: bool, backward, steps: int = 12):
    model = network()
    masking = mask(model, "weights")
    optimizer = masking.optimizer(lr=30.0, in_backward=in_backward)
    monitor = Monitor(masking, optimizer, every=3)
    for step in range(steps):
        optimizer.zero_grad()
        backward(model, step)
        optimizer.step()
    return masking, monitor


def once(model, step):
    loss(model, step).backward()


def several_forwards(model, step):
    torch.stack([loss(model, step), loss(model, step + 100), loss(model, step + 200)]).sum().backward()


def checkpointed(model, step):
    both = [checkpoint(model, images(seed), use_reentrant=False) for seed in (step, step + 100)]
    torch.cat(both).square().mean().backward()


@pytest.mark.parametrize("backward", [once, several_forwards, checkpointed])
def test_masks_and_readings_are_those_of_the_ordinary_optimizer(backward):
    (expected, watched), (found, monitor) = (trained(way, backward) for way in (False, True))
    assert 0 < expected.sparsity() < 1
    for name, scores in expected.scores().items():
        assert torch.equal(found.scores()[name], scores)
        assert torch.equal(found.parameter(name), expected.parameter(name))
    assert monitor.readings == watched.readings
    assert any(reading.flip_rate for reading in monitor.readings)


def test_gradients_of_masked_weights_are_gone_after_backward():
    model = network()
    optimizer = mask(model, "weights").optimizer(in_backward=True)
    before = model[0].weight.clone()
    for _ in range(9):
        loss(model).backward()
        optimizer.step()
    assert not torch.equal(model[0].weight, before)
    assert all(parameter.grad is None for name, parameter in model.named_parameters() if name.endswith("weight"))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_a_copy_learns_by_itself(copied):
    model = network()
    optimizer = mask(model, "weights").optimizer(lr=30.0, in_backward=True)
    once(model, 0)
    optimizer.step()
    twin, its = copied((model, optimizer))
    before = {name: scores.clone() for name, scores in of(model).scores().items()}
    for each, own in ((twin, its), (model, optimizer)):
        own.load_state_dict(own.state_dict())
        once(each, 1)
        own.step()
        for name, scores in of(model).scores().items():
            assert torch.equal(scores, before[name]) is (each is twin)
    for name, scores in of(model).scores().items():
        assert torch.equal(of(twin).scores()[name], scores)


def test_baked_models_and_dropped_optimizers_are_left_alone():
    model = network()
    masking = mask(model, "weights")
    optimizer = masking.optimizer(lr=30.0, in_backward=True)
    masking.bake()
    once(model, 0)
    assert model[0].weight.grad is not None
    model.zero_grad()
    masking = mask(model, "weights")
    dropped = masking.optimizer(lr=30.0, in_backward=True)
    del dropped, optimizer
    gc.collect()
    once(model, 0)
    assert model[0].weight.grad is not None


def test_what_it_cannot_do_is_refused(monkeypatch):
    model = network()
    masking = mask(model, "weights")
    optimizer = masking.optimizer(in_backward=True)
    once(model, 0)
    with pytest.raises(ValueError, match=r"must have one backward per step; a second one reached '4\.weight'"):
        once(model, 1)
    optimizer.step()
    other = masking.optimizer(in_backward=True)
    with pytest.raises(ValueError, match=r"another optimizer in backward took that of '4\.weight'"):
        once(model, 1)
    del other
    optimizer.step()
    with pytest.raises(ValueError, match=r"that of '4\.weight' holds NaN"):
        (loss(model) * float("nan")).backward()
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="must train in one process; got 2"):
        once(model, 1)


def test_a_learning_rate_is_looked_for_before_it_is_made():
    model = network()
    masking = mask(model, "weights")
    optimizer = masking.optimizer(in_backward=True)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="one backward per step"):
        find_lr(masking, lambda: loss(model).backward(), flip_rate=1e-2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert optimizer.param_groups
