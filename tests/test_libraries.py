"""Networks of timm in sizes that they were not made for, and the width of what comes out of them."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from submasking.worlds import libraries

TRANSFORMER = "vit_tiny_patch16_224"


def weights_of(folder, name, **options):
    torch.manual_seed(0)
    path = folder / "weights.safetensors"
    save_file(timm.create_model(name, num_classes=3, **options).state_dict(), path)
    return path


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "ghostnet_050", "test_efficientnet", "test_resnet"])
def test_the_width_is_that_of_the_features(tmp_path, name):
    backbone = libraries.build(f"timm:{name}", weights_of(tmp_path, name), size=64)
    assert backbone.trunk(torch.zeros(1, 3, 64, 64)).shape == (1, backbone.width)
    assert backbone.options == {}


@pytest.mark.parametrize(("made_for", "size"), [(None, 96), (None, 64), (64, 64), (96, 96)])
def test_a_transformer_takes_images_of_another_size(tmp_path, made_for, size):
    few, made = {"depth": 1}, {"img_size": made_for} if made_for else {}
    path = weights_of(tmp_path, TRANSFORMER, **few, **made)
    backbone = libraries.build(TRANSFORMER, path, size=size, options=few)
    assert backbone.trunk(torch.zeros(1, 3, size, size)).shape == (1, backbone.width)
    assert backbone.options == few | (made or {"dynamic_img_size": True})
    again = libraries.build(TRANSFORMER, path, size=size, options=backbone.options)
    assert again.fingerprint == backbone.fingerprint


@pytest.mark.parametrize(("name", "size"), [("test_vit", 100), ("mixer_s32_224", 96)])
def test_a_size_that_a_network_cannot_take_is_refused_in_one_line(tmp_path, name, size):
    with pytest.raises(ValueError, match=f"cannot take images of {size} x {size}") as refused:
        libraries.build(f"timm:{name}", weights_of(tmp_path, name), size=size)
    assert "\n" not in str(refused.value)
