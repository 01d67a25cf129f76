"""What is said where a preset masks little, or much is trained."""

import warnings

import pytest
import timm
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from submasking import mask
from submasking.masking.selection import PRESETS, resolve
from submasking.masking.shares import shares, warn_of_shares


def said(act) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    assert all(warning.filename == __file__ for warning in caught)  # the caller's own line is shown
    return [str(warning.message) for warning in caught]


def vit() -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", depth=2, num_classes=10)


def test_a_preset_that_hardly_fits_says_so_and_what_to_do():
    assert said(lambda: mask(vit())) == []
    (text,) = said(lambda: mask(vit(), "resnet"))
    assert "'resnet' masks 13.7% of 1,075,776" in text
    assert "use select='auto' or 'weights'" in text
    assert "\n" not in text


def test_auto_does_not_recommend_itself():
    model = nn.Sequential(nn.Embedding(100, 4), nn.Linear(4, 4), nn.ReLU())
    (text,) = said(lambda: mask(model))
    assert "'auto' masks 3.8% of 420" in text
    assert "use 'weights', or a selection of your own" in text


def test_a_selection_of_ones_own_may_mask_little():
    assert said(lambda: mask(vit(), PRESETS["resnet"])) == []


def test_much_that_is_trained_is_told_with_its_size():
    with torch.device("meta"):
        model = torchvision.models.vgg11(num_classes=10)
    (text,) = said(lambda: warn_of_shares("resnet", shares(resolve("resnet", model), model), stacklevel=1))
    assert "they are 119,586,826 (92.8% of all), 478.3 MB a task" in text
    assert "select='auto' trains the last layer" in text
    assert said(lambda: warn_of_shares("auto", shares(resolve("auto", model), model), stacklevel=1)) == []


@pytest.mark.parametrize(("width", "number"), [(300, 1), (100, 0)])
def test_much_that_is_trained_by_a_selection_of_ones_own_is_told_too_if_it_is_worth_a_word(width, number):
    model = nn.Sequential(nn.Linear(width, width), nn.Linear(width, width).bfloat16())
    texts = said(lambda: mask(model, lambda name, parameter: "mask" if name == "0.weight" else "train"))
    assert len(texts) == number
    assert all("they are 90,600 (50.2% of all), 0.2 MB a task; freeze or mask some" in text for text in texts)


@given(st.lists(st.sampled_from(["mask", "train", "freeze"]), min_size=1), st.sampled_from([torch.half, torch.float]))
def test_shares_count_every_parameter_once(actions, dtype):
    model = nn.ParameterList([torch.zeros(number + 1, dtype=dtype) for number in range(len(actions))])
    found = shares(resolve(lambda name, parameter: actions[int(name)], model), model)
    sizes = {action: sum(n + 1 for n, one in enumerate(actions) if one == action) for action in ("mask", "train")}
    assert (found.masked, found.trained) == (sizes["mask"], sizes["train"])
    assert sum(found[:3]) == sum(parameter.numel() for parameter in model)
    assert found.trained_bytes == found.trained * dtype.itemsize


def test_a_handle_shows_what_it_does():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    masking = mask(model)
    assert repr(masking) == "Masking of Sequential: 108 masked (85.7%), 10 trained (7.9%), 8 frozen (6.3%)"
    masking.bake()
    assert repr(masking).startswith("Masking of Sequential: 108 masked")
