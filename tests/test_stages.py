"""Frozen first stages: the two parts are the network, and keeping what the first gives changes no bit of a training."""

import copy
import dataclasses

import open_clip
import pytest
import timm
import torch
import torchvision
from torch import nn

from submasking.learning import augment, versions
from submasking.learning.adapt import adapt
from submasking.learning.backbone import Backbone
from submasking.learning.images import ImageSet
from submasking.learning.stages import Split
from submasking.masking.criteria import TopK
from submasking.records.profiles import Optimisation, Swav

SIZE = 32
NETWORKS = {
    "timm ResNet": (
        lambda: timm.create_model("resnet10t", channels=(8, 16, 24, 32), stem_width=8, num_classes=0),
        "layer3",
    ),
    "timm MobileNetV2": (lambda: timm.create_model("mobilenetv2_035", num_classes=0), "blocks.3"),
    "timm EfficientNet": (lambda: timm.create_model("test_efficientnet", num_classes=0), "blocks.2"),
    "timm ConvNeXt": (lambda: timm.create_model("convnext_atto", depths=(1, 1, 1, 1), num_classes=0), "stages.2"),
    "torchvision ResNet": (lambda: _torchvision("resnet18", "fc"), "layer2"),
    "torchvision MobileNetV2": (lambda: _torchvision("mobilenet_v2", "classifier"), "features.7"),
    "torchvision EfficientNet": (lambda: _torchvision("efficientnet_b0", "classifier"), "features.4"),
    "open_clip ResNet": (lambda: open_clip.model.CLIP(64, _VISION, _TEXT).visual, "layer3"),
}
_VISION = open_clip.model.CLIPVisionCfg(layers=(1, 1, 1, 1), width=16, head_width=64, image_size=SIZE)
_TEXT = open_clip.model.CLIPTextCfg(width=64, heads=4, layers=1)


def _torchvision(name, classifier):
    network = torchvision.models.get_model(name)
    setattr(network, classifier, nn.Identity())
    return network


def built(name):
    """A network with norm statistics that are not those of a new one."""
    torch.manual_seed(0)
    network = NETWORKS[name][0]()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return network.eval().to(memory_format=torch.channels_last)


def backbone(name):
    trunk = built(name)
    width = trunk(torch.zeros(1, 3, SIZE, SIZE)).shape[1]
    return Backbone(trunk, width, "auto", (0.5,) * 3, (0.5,) * 3, SIZE)


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (37, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(37) % 3, ("a", "b", "c"), "noise")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_two_parts_are_the_network(name):
    trunk, start = built(name), NETWORKS[name][1]
    images = torch.randn(5, 3, SIZE, SIZE)
    wanted = trunk(images.contiguous(memory_format=torch.channels_last))
    split = Split(trunk, start, SIZE)
    activations = split.early(images)
    assert activations.shape[1:] == split.shape
    assert torch.allclose(split.late(activations), wanted, atol=1e-5)
    assert torch.allclose(trunk(images.contiguous(memory_format=torch.channels_last)), wanted, atol=1e-6)
    named = [name for name, _ in trunk.named_parameters()]
    first = next(index for index, name in enumerate(named) if name.startswith(f"{start}."))
    assert split.frozen == set(named[:first])


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_gives_the_same_bits_in_any_batch(name):
    split, images = Split(built(name), NETWORKS[name][1], SIZE), torch.randn(70, 3, SIZE, SIZE)
    whole = split.early(images)
    order = torch.randperm(70)
    assert torch.equal(split.early(images[order]), whole[order])
    assert torch.equal(torch.cat([split.early(part) for part in images.split(9)]), whole)


def training(backbone, images, method, start, count, kept, **more):
    torch.manual_seed(0)  # of stochastic depth, which some networks have
    plan = Optimisation(lr={"FS": 50.0, "FFT": 0.05}[method], epochs=3, head_lr=0.1)
    return adapt(
        backbone, images, method, plan, from_stage=start, versions=count, cache_bytes=kept, batch_size=8, seed=1,
        progress=False, **more,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["FS", "FFT"])
@pytest.mark.parametrize("name", ["timm ResNet", "timm MobileNetV2", "torchvision EfficientNet", "open_clip ResNet"])
def test_keeping_activations_changes_no_bit(name, method, images):
    origin, start = backbone(name), NETWORKS[name][1]
    before = copy.deepcopy(origin.trunk.state_dict())
    kept, anew = (training(origin, images, method, start, 2, most) for most in (2**30, 0))
    assert kept.history.loss == anew.history.loss
    after = kept.trunk.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in anew.trunk.state_dict().items())
    assert all(torch.equal(value, kept.head.state_dict()[name]) for name, value in anew.head.state_dict().items())
    if method == "FS":
        masks = kept.masking.masks()
        assert all(torch.equal(mask, masks[name]) for name, mask in anew.masking.masks().items())
        assert 0 < kept.masking.sparsity() < 1
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    split = Split(kept.trunk if method == "FFT" else kept.masking.bake(), start, SIZE)
    untouched = {id(tensor) for stage in split.stages for tensor in (*stage.parameters(), *stage.buffers())}
    named = dict(split.trunk.named_parameters()) | dict(split.trunk.named_buffers())
    assert changed
    assert not {name for name in changed if id(named[name]) in untouched}
    assert all(torch.equal(value, origin.trunk.state_dict()[name]) for name, value in before.items())


def test_what_is_frozen_learns_nothing_without_versions_or_labels(images):
    origin = backbone("timm ResNet")
    swav = Swav(crops=(2,), sizes=(SIZE,), dimensions=8, prototypes=4, queue=0)
    for method, more in (("FS", {}), ("SSFT", {"swav": swav})):
        plan = Optimisation(lr=1.0, epochs=1)
        made = adapt(origin, images, method, plan, from_stage="layer3", batch_size=8, progress=False, **more)
        now = made.trunk.state_dict()
        changed = {name for name, value in origin.trunk.state_dict().items() if not torch.equal(value, now[name])}
        assert changed
        assert all(name.startswith(("layer3.", "layer4.")) for name in changed)


def test_versions_are_seen_in_turn_and_are_the_augmented_images(images):
    pool = versions.joined(images, 3, augment.PHOTOS, seed=5)
    assert len(pool) == 3 * 37
    assert torch.equal(pool.labels, images.labels.repeat(3))
    assert not torch.equal(pool.images[:37], pool.images[37:74])
    again = versions.joined(images, 3, augment.PHOTOS, seed=5)
    assert torch.equal(again.images, pool.images)
    untouched = versions.joined(images, 1, augment.Style(jittered=0.0, grey=0.0))
    assert torch.equal(untouched.images, images.images)
    numbers = torch.arange(3 * 37)
    loader = versions.Versions(images, numbers, lambda chosen: chosen, 8, seed=0)
    epochs = [list(loader) for _ in range(8)]
    for epoch in epochs:
        chosen = torch.cat([batch for batch, _ in epoch])
        labels = torch.cat([labels for _, labels in epoch])
        assert sorted((chosen % 37).tolist()) == list(range(37))
        assert torch.equal(labels, images.labels[chosen % 37])
    seen = torch.cat([batch for epoch in epochs for batch, _ in epoch])
    assert len(seen.unique()) > 2 * 37


class Skipping(nn.Module):
    """What the first layer gives is used behind the second as well."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

    def forward(self, images):
        first = self.one(images)
        return self.three(self.two(first) + first).mean((2, 3))


@pytest.mark.parametrize(
    ("network", "start", "said"),
    [
        (lambda: built("timm ResNet"), "layer9", "layer1, layer2, layer3, layer4"),
        (lambda: built("timm ResNet"), "layer3.0.conv2", "layer1, layer2, layer3, layer4"),
        (lambda: built("timm ResNet"), "conv1", "layer1"),
        (lambda: built("timm MobileNetV2"), "blocks.3.1.conv_dw", r"blocks\.2, blocks\.3"),
        (Skipping, "three", "may be split at two"),
        (lambda: timm.create_model("test_vit", num_classes=0), "blocks.1", "cannot be split"),
    ],
)
def test_a_place_where_a_network_cannot_be_split_is_refused(network, start, said):
    trunk = network()
    modes = [module.training for module in trunk.modules()]
    size = 160 if start == "blocks.1" else SIZE
    with pytest.raises(ValueError, match=said) as refused:
        Split(trunk, start, size)
    assert repr(start) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [module.training for module in trunk.modules()] == modes
    assert not any("forward" in module.__dict__ for module in trunk.modules())


def test_a_shared_parameter_is_not_both_frozen_and_learnt():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    Split(network, "2", SIZE)
    network[2].weight = network[0].weight
    with pytest.raises(ValueError, match="from_stage"):
        Split(network, "2", SIZE)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"from_stage": "layer3", "versions": 2, "cache_bytes": 1000},
            "must fit into 1,000 bytes .9.31e-07 GiB., they need 75,776;",
        ),
        ({"versions": -1}, "must be at least 0"),
        ({"from_stage": "nothing"}, "from_stage must name"),
    ],
)
def test_what_cannot_be_is_refused_before_training(images, more, said):
    with pytest.raises(ValueError, match=said):
        adapt(backbone("timm ResNet"), images, "FS", Optimisation(lr=1.0, epochs=1), progress=False, **more)


def test_versions_are_for_labels(images):
    swav = Swav(crops=(2,), sizes=(SIZE,))
    with pytest.raises(ValueError, match="versions must be 0 for SSM"):
        adapt(backbone("timm ResNet"), images, "SSM", Optimisation(lr=1.0, epochs=1), swav=swav, versions=2)


def test_a_training_goes_on_from_a_head(images):
    origin = backbone("timm ResNet")
    start = nn.Linear(origin.width, 3)
    before = copy.deepcopy(start.state_dict())
    plan = Optimisation(lr=0.0, epochs=1, head_lr=0.0)
    made = adapt(origin, images, "FFT", plan, head=start, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in made.head.state_dict().items())
    made = adapt(origin, images, "FFT", Optimisation(lr=0.0, epochs=1), head=start, progress=False)
    assert not torch.equal(made.head.weight, start.weight)
    assert torch.equal(start.weight, before["weight"])
    with pytest.raises(ValueError, match="head must be for a method with labels"):
        adapt(origin, images, "FFT", plan, head=nn.Linear(origin.width, 4), progress=False)


def test_a_checkpoint_of_other_stages_is_refused(images, tmp_path):
    origin, file = backbone("timm ResNet"), tmp_path / "checkpoint"
    training(origin, images, "FS", "layer3", 2, 2**30, checkpoint=file, checkpoint_seconds=0.0)
    assert file.exists()
    with pytest.raises(ValueError, match="another first stage"):
        training(origin, images, "FS", "layer2", 2, 2**30, checkpoint=file)
    with pytest.raises(ValueError, match="another number of versions"):
        training(origin, images, "FS", "layer3", 3, 2**30, checkpoint=file)
    training(origin, images, "FS", "layer3", 2, 0, checkpoint=file)


def test_activations_are_kept_beyond_a_training_and_change_no_bit_of_the_next(images):
    memory = {}
    known, plan = backbone("timm ResNet"), Optimisation(lr=30.0, epochs=1)
    told = {"from_stage": "layer3", "versions": 2, "batch_size": 8, "progress": False}
    first = adapt(known, images, "FS", plan, memory=memory, **told)
    (kept,) = memory.values()
    again = adapt(known, images, "FS", plan, memory=memory, **told)
    assert next(iter(memory.values())) is kept
    for one in (again, adapt(known, images, "FS", plan, **told)):
        assert all(torch.equal(a, b) for a, b in zip(first.trunk.parameters(), one.trunk.parameters(), strict=True))
    adapt(known, images, "FS", plan, memory=memory, **told | {"seed": 1})
    adapt(known, images, "FS", plan, memory=memory, **told | {"from_stage": "layer4"})
    adapt(known, images.subset([*range(8)]), "FS", plan, memory=memory, **told)
    assert len(memory) == 4  # other versions, another stage, other images


@pytest.mark.parametrize("density", [0.25, 0.9])
def test_a_criterion_is_taken_and_belongs_to_a_checkpoint(images, tmp_path, density):
    plan, file = Optimisation(lr=0.3, epochs=1, init="squared"), tmp_path / "checkpoint"
    told = {"batch_size": 8, "progress": False, "checkpoint": file, "checkpoint_seconds": 0.0}
    found = adapt(backbone("timm ResNet"), images, "FS", plan, criterion=TopK(density), **told)
    assert found.masking.sparsity() == pytest.approx(1 - density, abs=0.01)
    plan = dataclasses.replace(plan, epochs=2)
    adapt(backbone("timm ResNet"), images, "FS", plan, criterion=TopK(density), **told)
    with pytest.raises(ValueError, match="another criterion"):
        adapt(backbone("timm ResNet"), images, "FS", plan, **told)


@pytest.mark.parametrize("method", ["FS", "FFT", "FS-none", "SSFT"])
def test_norm_statistics_are_held_where_the_plan_says_so(images, method):
    known = backbone("timm ResNet")
    swav = Swav(crops=(2,), sizes=(SIZE,), dimensions=4, prototypes=3, queue=0)
    for norms in ("freeze", "adapt"):
        plan = Optimisation(lr=0.001, epochs=1, norms=norms)
        found = adapt(known, images, method, plan, swav=swav, batch_size=8, progress=False)
        held = dict(found.trunk.named_buffers())
        moved = [
            n for n, b in known.trunk.named_buffers() if n.endswith("running_mean") and not torch.equal(b, held[n])
        ]
        assert bool(moved) == (norms == "adapt")
