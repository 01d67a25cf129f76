"""Networks of torchvision, and CLIP's text head for classes of one's own."""

import json

import open_clip
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from submasking.commands.cli import main
from submasking.tasks import maskfile
from submasking.worlds import backbones, libraries, origin

SMALL = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A small CLIP that open_clip knows by name, and a file of its weights."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "small-clip.json").write_text(json.dumps(SMALL))
    open_clip.add_model_config(folder / "small-clip.json")
    torch.manual_seed(0)
    model = open_clip.create_model("small-clip").eval()
    path = folder / "clip.safetensors"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    return model, path


@pytest.fixture
def pictures(tmp_path):
    for split, count in (("train", 4), ("test", 2)):
        for name, colour in (("red fox", (200, 20, 20)), ("blue whale", (20, 20, 200))):
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (40, 40), tuple(value + number for value in colour)).save(folder / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vit_b_32", "googlenet", "shufflenet_v2_x0_5"])
def test_torchvisions_network_gives_what_its_classifier_would_see(tmp_path, name):
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    network = torchvision.models.get_model(name, weights=None, **options).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    backbone = libraries.build(f"torchvision:{name}", tmp_path / "weights.pth", options=options)
    last = [each for each, module in network.named_modules() if isinstance(module, torch.nn.Linear)][-1]
    seen = []
    network.get_submodule(last).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        network(images)
        assert torch.allclose(backbone.trunk(images), seen[0], atol=1e-5)
    assert backbone.width == seen[0].shape[1]
    assert backbone.head == "linear"
    assert backbone.mean == (0.485, 0.456, 0.406)
    assert backbone.trunk.train()(images).shape == (2, backbone.width)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torchvision:resnet", "model must be one of torchvision's, got 'resnet'; did you mean"),
        ("torchvision:squeezenet1_1", "must end in a linear classifier"),
        ("keras:resnet18", "model must be NAME or timm:NAME, torchvision:NAME, open_clip:NAME; got keras:resnet18"),
    ],
)
def test_other_networks_are_refused_in_a_line(tmp_path, name, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")) as error:
        libraries.build(name, tmp_path / "weights.pth")
    assert "\n" not in str(error.value)


def test_a_clip_classifies_by_the_names_of_the_classes(clip):
    model, path = clip
    backbone = libraries.build("open_clip:small-clip", path)
    assert backbone.head == "text"
    assert backbone.logit_scale == pytest.approx(model.logit_scale.item())
    with torch.inference_mode():
        wanted = model.encode_text(open_clip.tokenize(["This is a photo of a red fox"]))
        assert torch.allclose(backbone.text_head(["red fox"]), wanted, atol=1e-5)
        images = torch.rand(2, 3, 32, 32)
        assert torch.allclose(backbone.trunk(images), model.encode_image(images), atol=1e-5)


def test_a_clip_of_the_kind_of_a_residual_network_is_built(tmp_path):
    vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}
    config = SMALL | {"vision_cfg": vision}
    (tmp_path / "small-rn.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "small-rn.json")
    model = open_clip.create_model("small-rn").eval()
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, tmp_path / "w.safetensors")
    backbone = libraries.build("open_clip:small-rn", tmp_path / "w.safetensors")
    assert backbone.size == 32
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(backbone.trunk(images), model.encode_image(images), atol=1e-5)


def test_a_clip_may_have_a_linear_head_and_must_where_its_text_tower_is_missing(clip, tmp_path, capsys):
    model, path = clip
    assert libraries.build("open_clip:small-clip", path, head="linear").head == "linear"
    alone = tmp_path / "visual.pth"
    torch.save(model.visual.state_dict(), alone)
    assert libraries.build("open_clip:small-clip", alone).head == "linear"
    assert capsys.readouterr().err == f"{alone} has no text tower: the head is linear, not text\n"
    assert libraries.build("open_clip:small-clip", alone, head="linear").text is None
    assert capsys.readouterr().err == ""
    with pytest.raises(ValueError, match="head text needs a CLIP of open_clip with its text tower"):
        libraries.build("open_clip:small-clip", alone, head="text")
    with pytest.raises(ValueError, match="head must be one of auto, linear, text; got 'cosine'"):
        libraries.build("open_clip:small-clip", path, head="cosine")


TEXT = ("token_embedding.weight", "positional_embedding", "ln_final.weight", "text_projection",
        "transformer.resblocks.0.attn.in_proj_weight")  # fmt: skip


@pytest.mark.parametrize(
    "before", ["", pytest.param("module.", marks=pytest.mark.slow), pytest.param("model.clip.", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", [*TEXT, "logit_scale"])
@pytest.mark.parametrize("damage", ["missing", "short", "alone", "not finite"])
def test_a_damaged_text_tower_is_refused_and_a_linear_head_does_without(clip, tmp_path, before, name, damage):
    model, path = clip
    tensors, broken = dict(model.state_dict()), tmp_path / "broken.pth"
    if damage == "missing":
        del tensors[name]
    elif damage == "alone":  # of all the tower this is left
        tensors = {each: value for each, value in tensors.items() if each.startswith("visual.") or each == name}
    else:
        tensors[name] = tensors[name].reshape(-1)[:-1] if damage == "short" else tensors[name] * float("nan")
    torch.save({before + each: value for each, value in tensors.items()}, broken)
    if (name, damage) == ("logit_scale", "alone"):  # no part of the tower
        assert libraries.build("open_clip:small-clip", broken).head == "linear"
        return
    for head in ("auto", "text"):
        with pytest.raises(ValueError, match="a text tower must be whole or absent") as error:
            libraries.build("open_clip:small-clip", broken, head=head)
        assert "\n" not in str(error.value)
        assert name in str(error.value) or damage == "alone"
    assert "--head linear" in str(error.value)
    whole = libraries.build("open_clip:small-clip", path)
    assert libraries.build("open_clip:small-clip", broken, head="linear").fingerprint == whole.fingerprint


def test_a_damaged_image_network_is_what_is_said(clip, tmp_path):
    tensors = dict(clip[0].state_dict())
    del tensors["visual.conv1.weight"], tensors["ln_final.weight"]
    torch.save(tensors, tmp_path / "broken.pth")
    with pytest.raises(ValueError, match=r"weights must fit the architecture, .*conv1\.weight is missing"):
        libraries.build("open_clip:small-clip", tmp_path / "broken.pth")


@pytest.mark.parametrize("head", ["auto", "linear"])
def test_a_mask_is_trained_saved_and_predicts_with_either_head(clip, pictures, tmp_path, capsys, head):
    out = tmp_path / "task.safetensors"
    model = ["--model", "open_clip:small-clip", "--weights", str(clip[1])]
    train = ["mask", str(pictures), *model, "--out", str(out), "--epochs", "2", "--head", head, "--quiet"]
    assert main([*train, "--batch-size", "4", "--device", "cpu", "--select", "vit"]) == 0
    task = maskfile.load(out)
    assert task.head_kind == ("cosine" if head == "auto" else "linear")
    assert task.classes == ("blue whale", "red fox")
    capsys.readouterr()
    shown = pictures / "test" / "red fox" / "0.png"
    assert main(["predict", str(out), str(shown), "--weights", str(clip[1])]) == 0
    assert any(name in capsys.readouterr().out for name in task.classes)


def test_profile_images_takes_any_library_and_what_it_brings(clip, monkeypatch):
    backbone = backbones.load("open_clip:small-clip", "images", weights=str(clip[1]), size=32)
    assert (backbone.head, backbone.mean) == ("text", (0.48145466, 0.4578275, 0.40821073))
    assert origin.of("open_clip:small-clip", "images", str(clip[1])) == {
        "architecture": "open_clip:small-clip",
        "weights": "clip.safetensors",
    }
    asked = []
    monkeypatch.setattr(libraries, "build", lambda *given, **more: asked.append((given, more)))
    backbones.load("torchvision:resnet18", "images")
    nothing = {"options": None, "mean": None, "std": None}
    assert asked == [(("torchvision:resnet18", None), {"size": 64} | nothing)]
    assert origin.of("torchvision:resnet18", "images")["weights"] == "pretrained"
