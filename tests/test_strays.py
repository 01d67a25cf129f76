"""Optimizers that look as if they learnt masks and do not: said once, and what they leave is not handed out."""

import warnings

import pytest
import torch
from torch import nn

import submasking
from submasking.masking import strays


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))


def steps(model, optimizers, count=strays.PATIENCE + 2):
    images, labels = torch.randn(6, 3, 8, 8), torch.tensor([0, 1, 2, 3, 0, 1])
    for _ in range(count):
        nn.functional.cross_entropy(model(images), labels).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
def test_an_optimizer_over_the_masked_weights_is_told_of_and_its_weights_are_not_baked(model, kind):
    masking = submasking.mask(model, "weights")
    before = {name: value.clone() for name, value in masking.frozen().items()}
    with pytest.warns(UserWarning, match=r"holds 2 masked parameters, first '0.weight', whose weights it changes"):
        steps(model, [kind(model.parameters(), lr=0.01)])
    with pytest.raises(ValueError, match=r"what is baked must be the weights under their masks; 2 of 2"):
        masking.bake()
    assert not masking.baked
    masking.apply()
    baked = masking.bake()
    assert all(torch.equal(baked.get_parameter(name), value) for name, value in before.items())


def test_an_optimizer_over_scores_that_was_not_attached_is_told_of(model):
    masking = submasking.mask(model, "weights")
    with pytest.warns(UserWarning, match=r"holds scores, which get no gradients before masking.attach"):
        steps(model, [torch.optim.Adam(masking.scores().values(), lr=0.5)])


def test_who_learns_masks_hears_nothing(model):
    images = torch.randn(6, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = submasking.mask(model, "weights")
        steps(model, [first.optimizer(lr=1.0)])
        first.unbake()
        second = submasking.mask(model, "weights")
        theirs = torch.optim.SGD(second.scores().values(), lr=1.0)
        second.attach(theirs)
        steps(model, [theirs])
        second.bake()
        plain = nn.Linear(4, 4)  # another model's optimizer, beside a masked one
        submasking.mask(nn.Sequential(nn.Linear(3, 3)), "weights")
        steps(nn.Sequential(model, plain), [torch.optim.SGD(plain.parameters(), lr=0.1)])
    assert torch.isfinite(model(images)).all()


def test_an_average_of_models_is_not_baked(model):
    masking = submasking.mask(model, "weights")
    average = torch.optim.swa_utils.AveragedModel(model, avg_fn=lambda old, new, count: old + (new - old) / (count + 1))
    average.update_parameters(model)
    steps(model, [masking.optimizer(lr=50.0)])
    average.update_parameters(model)
    copy = submasking.of(average.module)
    assert copy.inexact()
    with pytest.raises(ValueError, match="an average of models"):
        copy.bake()
