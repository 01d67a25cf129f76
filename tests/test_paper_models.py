"""The paper's networks: published counts and addresses, and weights read from files in the exact published form."""

import hashlib
from dataclasses import replace

import open_clip
import pytest
import timm
import torch
import torchvision
from paper_weights import scripted, swav

from submasking.masking.selection import resolve
from submasking.records.names import MODELS
from submasking.tasks.heads import CosineHead
from submasking.worlds import libraries
from submasking.worlds.paper import models, weights

# with a classifier for 1,000 classes, as torchvision's documentation and CLIP's paper count them
WITH_CLASSIFIER = {"rn18-timm": 11_689_512, "rn50-timm": 25_557_032, "rn50-torch": 25_557_032, "rn50-swav": 25_557_032}


def shapes(model):
    """The true network without its numbers."""
    with torch.device("meta"):
        return models.networks(model)[0].eval()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_WEIGHTS", str(tmp_path))
    return tmp_path


def counted(network, select):
    decisions = resolve(select, network)
    return sum(value.numel() for name, value in network.named_parameters() if decisions[name].action == "mask")


def put(folder, monkeypatch, model, write):
    """Write a file under its published name, and let its hash be the published one."""
    chosen = weights.NETWORKS[model]
    path = folder / chosen.file.name
    write(path)
    if chosen.file.digest:
        found = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()[: len(chosen.file.digest) - len("sha256:")]
        chosen = replace(chosen, file=replace(chosen.file, digest=found))
        monkeypatch.setitem(weights.NETWORKS, model, chosen)
    return path


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(7)
    return torchvision.models.resnet50().eval()


def test_they_are_the_papers_six():
    assert tuple(weights.NETWORKS) == MODELS


@pytest.mark.parametrize("model", MODELS)
def test_counts_are_the_published_ones(model):
    trunk, chosen = shapes(model), weights.NETWORKS[model]
    whole = sum(value.numel() for value in trunk.parameters())
    assert whole == chosen.parameters
    if model in WITH_CLASSIFIER:
        assert whole + 1000 * (chosen.width + 1) == WITH_CLASSIFIER[model]
    assert counted(trunk, chosen.preset) == chosen.masked
    if chosen.preset == "resnet":
        assert counted(trunk, "faithful") == chosen.faithful


def test_the_masked_weights_of_a_resnet_50_are_those_that_the_paper_stores():
    assert {weights.NETWORKS[name].masked for name in ("rn50-timm", "rn50-torch", "rn50-swav")} == {23_454_912}
    assert {weights.NETWORKS[name].faithful for name in ("rn50-timm", "rn50-torch", "rn50-swav")} == {23_462_592}


@pytest.mark.parametrize("model", MODELS)
def test_features_have_the_width_that_is_said(model):
    features = shapes(model)(torch.empty(1, 3, 224, 224, device="meta"))
    assert features.shape == (1, weights.NETWORKS[model].width)


def test_addresses_and_preprocessing_are_those_that_the_libraries_know():
    torch50 = torchvision.models.ResNet50_Weights.IMAGENET1K_V1
    assert weights.NETWORKS["rn50-torch"].file.address == torch50.url
    assert weights.NETWORKS["rn50-torch"].file.size / 2**20 == pytest.approx(torch50.meta["_file_size"], abs=1e-3)
    for model, tag in (("rn18-timm", "resnet18.tv_in1k"), ("rn50-timm", "resnet50.a1_in1k")):
        chosen, known = weights.NETWORKS[model], timm.models.get_pretrained_cfg(tag)
        assert chosen.file.name == known.url.rpartition("/")[2]
        assert (chosen.interpolation, chosen.crop, chosen.statistics) == (
            known.interpolation, known.crop_pct, (known.mean, known.std),
        )  # fmt: skip
    for model in ("rn50-clip", "vitb32-clip"):
        chosen = weights.NETWORKS[model]
        name = chosen.architecture.partition(":")[2]
        known = open_clip.get_pretrained_cfg(name, "openai")
        assert chosen.file.address == known["url"]
        assert (chosen.statistics, chosen.interpolation) == ((known["mean"], known["std"]), known["interpolation"])


def test_torchvisions_weights_make_torchvisions_features(folder, monkeypatch, resnet):
    put(folder, monkeypatch, "rn50-torch", lambda path: torch.save(resnet.state_dict(), path))
    backbone = models.load("rn50-torch")
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(resnet.fc(backbone.trunk(images)), resnet(images), atol=1e-4)
    assert backbone.weights == "resnet50-0676ba61.pth"
    assert backbone.name == "rn50-torch"


def test_swavs_file_is_read_as_it_was_published(folder, monkeypatch, resnet):
    path = put(
        folder, monkeypatch, "rn50-swav",
        lambda path: torch.save(swav(resnet), path, _use_new_zipfile_serialization=False),
    )  # fmt: skip
    backbone = models.load("rn50-swav")
    assert torch.equal(backbone.trunk.conv1.weight, resnet.conv1.weight)
    again = libraries.build(backbone.architecture, path)  # as `submasking predict` builds it for a mask file
    assert again.fingerprint == backbone.fingerprint


def test_another_resnet_is_not_taken_for_swavs(folder, monkeypatch):
    put(folder, monkeypatch, "rn50-swav", lambda path: torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path))
    with pytest.raises(ValueError, match=r"holds projection_head\.0\.weight \(2048, 2048\), but it has none"):
        models.load("rn50-swav")


@pytest.mark.parametrize("model", ["rn50-clip", "vitb32-clip"])
def test_openais_file_fills_both_towers(folder, monkeypatch, model):
    """With towers of the true form, but of fewer and narrower layers."""
    torch.manual_seed(3)
    name = weights.NETWORKS[model].architecture.partition(":")[2]
    config = open_clip.get_model_config(name) | {"embed_dim": 32}
    convolutional = isinstance(config["vision_cfg"]["layers"], list)
    config["vision_cfg"] |= {"layers": [1, 1, 1, 1], "width": 8} if convolutional else {"layers": 1, "width": 64}
    config["text_cfg"] |= {"width": 32, "heads": 2, "layers": 1}
    monkeypatch.setattr(open_clip, "get_model_config", lambda _: config)
    monkeypatch.setitem(weights.NETWORKS, model, replace(weights.NETWORKS[model], width=32))
    clip = open_clip.model.CLIP(**config).eval()
    clip.load_state_dict({k: v.half().float() if v.is_floating_point() else v for k, v in clip.state_dict().items()})
    put(folder, monkeypatch, model, lambda path: scripted(clip, path))
    backbone = models.load(model)
    images, classes = torch.rand(1, 3, 224, 224), ["tabby cat", "annual crop land"]
    with torch.inference_mode():
        assert torch.allclose(backbone.trunk(images), clip.encode_image(images), atol=1e-4)
        tokens = open_clip.tokenize([f"This is a photo of a {name}" for name in classes])
        wanted = clip.encode_text(tokens)
        assert torch.allclose(backbone.text_head(classes), wanted, atol=1e-4)
        head = CosineHead(backbone.text_head(classes), backbone.logit_scale)
        assert head(torch.rand(1, backbone.width)).shape == (1, 2)
    assert backbone.head == "text"
    assert backbone.logit_scale == pytest.approx(clip.logit_scale.half().item())


def test_the_faithful_choice_is_clips_statistics_and_the_norms_of_the_downsampling_path():
    own = models.untrained("rn18-timm")
    faithful = models.untrained("rn18-timm", selection="name", statistics="clip")
    assert (own.mean, own.std) == weights.IMAGENET
    assert (faithful.mean, faithful.std) == weights.OPENAI
    assert (own.preset, faithful.preset) == ("resnet", "faithful")


def test_random_weights_are_the_same_again_and_disturb_no_other_randomness():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    one, two = (models.untrained("rn18-timm", seed=1).trunk.conv1.weight for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_missing_file_is_one_line_with_name_size_and_place(folder):
    with pytest.raises(ValueError, match=r"swav_800ep_pretrain\.pth\.tar \(about 113 MB\) must be in") as refused:
        models.load("rn50-swav", download=False)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_damaged_file_is_refused_by_its_hash(folder):
    (folder / "resnet18-f37072fd.pth").write_bytes(b"half of it")
    with pytest.raises(ValueError, match="must have the sha256 f37072fd"):
        models.load("rn18-timm")


def test_a_folder_that_is_not_there_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("SUBMASKING_WEIGHTS", str(tmp_path / "typo"))
    with pytest.raises(ValueError, match="SUBMASKING_WEIGHTS must name a folder"):
        models.load("rn18-timm")


def test_an_unknown_model_is_refused_with_the_known():
    with pytest.raises(ValueError, match="rn18-timm, rn50-timm"):
        models.load("rn34")
