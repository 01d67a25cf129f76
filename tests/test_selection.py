import pickle

import open_clip
import pytest
import timm
import torch
import torchvision
from torch import nn

from submasking import mask
from submasking.masking.selection import by_name, decide, first_layers, group_of, largest_part, random_part


def chosen(model: nn.Module, select) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"mask": set(), "train": set(), "freeze": set()}
    for name, parameter in model.named_parameters():
        found[decide(select, name, parameter).action].add(name)
    return found


def size(model: nn.Module, names: set[str]) -> int:
    return sum(model.get_parameter(name).numel() for name in names)


@pytest.fixture(scope="module")
def resnet50() -> nn.Module:
    with torch.device("meta"):
        return timm.create_model("resnet50", num_classes=10)


def test_resnet_masks_every_convolution_and_trains_the_head(resnet50):
    found = chosen(resnet50, "resnet")
    assert size(resnet50, found["mask"]) == 23_454_912
    assert found["train"] == {"fc.weight", "fc.bias"}
    assert "layer1.0.downsample.0.weight" in found["mask"]
    assert "bn1.weight" in found["freeze"]


def test_faithful_masks_the_norms_of_the_downsampling_path_too(resnet50):
    found = chosen(resnet50, "faithful")
    assert size(resnet50, found["mask"]) == 23_454_912 + 7_680
    assert size(resnet50, found["mask"] - chosen(resnet50, "resnet")["mask"]) == 7_680


def vision_transformers():
    size = {"image_size": 32, "patch_size": 16}
    text = {"context_length": 8, "vocab_size": 32, "width": 32, "heads": 2, "layers": 2}
    torchvisions = torchvision.models.VisionTransformer(**size, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16)
    return {
        "timm": timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=10),
        "torchvision": torchvisions,
        "open_clip": open_clip.CLIP(16, {**size, "layers": 2, "width": 64}, text).visual,
    }


@pytest.mark.parametrize("source", ["timm", "torchvision", "open_clip"])
def test_vit_masks_all_of_attention_and_mlp_and_nothing_else(source):
    model = vision_transformers()[source]
    found = chosen(model, "vit")
    blocks = [m for m in model.modules() if isinstance(m, (nn.MultiheadAttention, nn.Linear))]
    linear = {id(p) for m in blocks for p in m.parameters()}
    heads = {id(p) for name, p in model.named_parameters() if name.startswith("head")}
    names = {name for name, parameter in model.named_parameters() if id(parameter) in linear - heads}
    assert found["mask"] == names
    assert len(names) == 2 * 8
    assert not any("norm" in name or "ln_" in name or "embed" in name or "conv1" in name for name in found["mask"])


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("layer1.0.conv1.weight", "layer1"),
        ("blocks.3.attn.qkv.weight", "blocks.3"),
        ("visual.transformer.resblocks.11.mlp.c_fc.bias", "visual.transformer.resblocks.11"),
        ("fc.weight", "fc"),
        ("bare", "bare"),
    ],
)
def test_groups_follow_the_blocks(name, group):
    assert group_of(name) == group


def test_patterns_select_by_name():
    model = timm.create_model("test_resnet", num_classes=3)
    found = chosen(model, by_name(model, mask=["layer1.*.conv?.weight"], train=["fc.*"]))
    assert found["mask"]
    assert all(name.startswith("layer1.") and ".conv" in name for name in found["mask"])
    assert found["train"] == {"fc.weight", "fc.bias"}


def test_a_pattern_that_matches_nothing_is_refused():
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"'conv.weight' matches none of 2; names look like 'weight'"):
        by_name(model, mask=["weight", "conv.weight"])
    with pytest.raises(ValueError, match=r"patterns come in a list; got 'weight' and \(\)"):
        by_name(model, mask="weight")


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_first_layers_hold_the_share_and_no_more_than_one_tensor_above(share):
    model = timm.create_model("test_resnet", num_classes=3)
    names = [name for name, _ in model.named_parameters() if name in chosen(model, "resnet")["mask"]]
    found = chosen(model, first_layers(model, "resnet", share))["mask"]
    assert names[: len(found)] == [name for name in names if name in found]
    wanted = share * size(model, set(names))
    assert size(model, found) >= wanted > size(model, found - {names[len(found) - 1]})
    assert chosen(model, first_layers(model, "resnet", share))["train"] == {"fc.weight", "fc.bias"}


def test_largest_part_is_the_largest_by_magnitude():
    model = nn.Linear(10, 10)
    maskable = mask(model, largest_part("weights", 0.3)).scores()["weight"].isfinite()
    assert maskable.sum() == 30
    assert model.weight[maskable].abs().min() >= model.weight[~maskable].abs().max()


def test_random_part_depends_on_the_seed_only():
    parts = []
    for seed, width in ((0, 1.0), (0, 2.0), (1, 1.0)):
        model = nn.Linear(10, 10)
        with torch.no_grad():
            model.weight.mul_(width)
        parts.append(mask(model, random_part("weights", 0.3, seed)).scores()["weight"].isfinite())
    assert torch.equal(parts[0], parts[1])
    assert not torch.equal(parts[0], parts[2])


def test_partly_masked_models_pickle():
    model = nn.Linear(4, 4)
    mask(model, random_part("weights", 0.5))
    assert pickle.loads(pickle.dumps(model))._submasking.sparsity() == 0.0


@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_shares_outside_their_range_are_refused(share):
    for narrow in (random_part, largest_part):
        with pytest.raises(ValueError, match=r"share must be in \(0, 1\]; got .*; 0.5 takes half"):
            narrow("weights", share)
    with pytest.raises(ValueError, match="share must be"):
        first_layers(nn.Linear(2, 2), "weights", share)
