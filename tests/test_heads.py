"""A head that does not take the features of its network is refused before it is stored, laid on, or taken in."""

import copy
from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

from submasking import Bank, mask, maskfile
from submasking.tasks.heads import measured_width

SIZES = {"size": 12}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(400, 5))


def task_with(width, path, **given):
    """A mask file whose head takes features of this length: `save` would refuse most."""
    task = maskfile.save(path, mask_of(network()), head=nn.Linear(5, 2), classes=["a", "b"], **given)
    return replace(task, head_state={"weight": torch.zeros(2, width), "bias": torch.zeros(2)})


def mask_of(model):
    return mask(model, "weights")


def contents(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("width", [4, 6, 99])
def test_a_head_of_another_width_is_refused_before_anything_changes(width, tmp_path):
    task = task_with(width, tmp_path / "task", preprocessing=SIZES)
    model = network().train()
    model[1].eval()
    before, said = contents(model), f"it takes {width}, there are 5"
    with pytest.raises(maskfile.MaskFileError, match=said):
        task.apply(model)
    bank = Bank(model)
    with pytest.raises(maskfile.MaskFileError, match=said):
        bank.add("task", task)
    assert not bank.tasks
    masking = mask_of(model)
    maskfile.save(tmp_path / "kept", masking)
    content = (tmp_path / "kept").read_bytes()
    with pytest.raises(ValueError, match=said):
        maskfile.save(tmp_path / "kept", masking, head=nn.Linear(width, 2), preprocessing=SIZES)
    assert (tmp_path / "kept").read_bytes() == content
    masking.unbake()
    assert same(contents(model), before)
    assert [module.training for module in model] == [True, False, True, True]


@pytest.mark.parametrize("preprocessing", [{}, {"size": 13}, {"size": "12"}, {"size": True}, {"size": [12, 13]}])
def test_where_the_width_cannot_be_told_nothing_is_said(preprocessing, tmp_path):
    task_with(7, tmp_path / "task", preprocessing=preprocessing).apply(network())


def test_a_network_of_timm_knows_the_size_of_its_images(tmp_path):
    model = timm.create_model("resnet10t", num_classes=0)
    bank, masking = Bank(copy.deepcopy(model)), mask(model)
    with pytest.raises(ValueError, match="it takes 99, there are 512"):
        maskfile.save(tmp_path / "task", masking, head=nn.Linear(99, 2))
    with pytest.raises(ValueError, match="it takes 99, there are 512"):
        bank.take("task", masking, head=nn.Linear(99, 2))


@pytest.mark.parametrize(
    ("model", "width"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 4),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), None),
        (nn.Sequential(nn.Embedding(3, 4)), None),
        (nn.Sequential(nn.Flatten()), None),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).to("meta"), 400),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).bfloat16(), 400),
    ],
)
def test_the_width_is_that_of_a_batch_of_features_or_not_known(model, width):
    assert measured_width(model, SIZES) == width
