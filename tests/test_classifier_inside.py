"""A task whose classifier is a part of the model, as in the README, at the command line."""

import json

import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from submasking import mask, maskfile
from submasking.commands.cli import main
from submasking.worlds import libraries

MODELS = ("timm:test_resnet", "timm:test_vit", "timm:test_convnext", "torchvision:shufflenet_v2_x0_5")
NAMES = ["one", "two", "three"]
SIZE = 160


def made(name):
    library, _, own = name.rpartition(":")
    torch.manual_seed(0)
    if library == "torchvision":
        return torchvision.models.get_model(own, weights=None, num_classes=len(NAMES)).eval()
    return timm.create_model(own, num_classes=len(NAMES)).eval()


def saved(place, name, *, classes=NAMES, options=None):
    """A task that the library has saved, with weights of the network that has another classifier; its model."""
    model = made(name)
    start = {key: value.clone() for key, value in model.state_dict().items()}
    save_file(start, place / "weights.safetensors")
    masking = mask(model)
    with torch.no_grad():
        for parameter in masking.trained:
            masking.parameter(parameter).normal_()
    masking.load_masks({key: torch.rand(theta.shape) > 0.1 for key, theta in masking.frozen().items()})
    told = {"architecture": name, "preprocessing": {"size": SIZE}, "options": options}
    maskfile.save(place / "task.safetensors", model, classes=classes, **told)
    return model


def command(place, verb, file, *more):
    return main([verb, str(place / file), *map(str, more), "--weights", str(place / "weights.safetensors")])


def image(place):
    Image.new("RGB", (SIZE, SIZE), (200, 30, 90)).save(place / "image.png")
    return place / "image.png"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", [None, {"num_classes": 3}])
def test_predict_says_what_the_model_says(tmp_path, name, options, capsys):
    model = saved(tmp_path, name, options=options)
    assert command(tmp_path, "predict", "task.safetensors", image(tmp_path), "--top", 3, "--json") == 0
    found = json.loads(capsys.readouterr().out)["classes"]
    network = libraries.build(name, tmp_path / "weights.safetensors")
    colour = torch.tensor([200, 30, 90])[:, None, None] / 255
    with torch.no_grad():
        shares = model(network.normalise(colour.expand(1, 3, SIZE, SIZE))).softmax(1)[0]
    assert [found[each] for each in NAMES] == pytest.approx(shares.tolist(), abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_apply_writes_the_whole_model_and_takes_it_back(tmp_path, name):
    model = saved(tmp_path, name)
    assert command(tmp_path, "apply", "task.safetensors", "--out", tmp_path / "baked.safetensors") == 0
    plain = made(name)
    plain.load_state_dict(load_file(tmp_path / "baked.safetensors"))
    images = torch.linspace(-1, 1, 3 * SIZE**2).view(1, 3, SIZE, SIZE)
    assert torch.allclose(plain(images), model(images), atol=1e-5)
    back = tmp_path / "back.safetensors"
    assert command(tmp_path, "apply", "baked.safetensors", "--back", "--out", back) == 0
    one, other = maskfile.load(tmp_path / "task.safetensors"), maskfile.load(back)
    assert (one.digest, one.trained, one.classes) == (other.digest, other.trained, other.classes)
    assert all(torch.equal(one.state[key], other.state[key]) for key in one.state)


def test_without_names_only_these_are_asked_for(tmp_path, capsys):
    saved(tmp_path, MODELS[0], classes=())
    assert command(tmp_path, "predict", "task.safetensors", image(tmp_path)) == 1
    assert capsys.readouterr().err.endswith("has one inside its model and 0 names; save it anew with classes=\n")


@pytest.mark.parametrize("verb", [("predict", "image.png"), ("apply", "--out", "baked.safetensors")])
def test_a_classifier_of_several_layers_is_for_python(tmp_path, verb, capsys):
    model = made(MODELS[0])
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    model.fc = nn.Sequential(nn.Linear(model.num_features, 8), nn.ReLU(), nn.Linear(8, 3))
    mask(model, lambda name, parameter: "train" if name.startswith("fc.") else "mask")
    maskfile.save(tmp_path / "task.safetensors", model, classes=NAMES, architecture=MODELS[0])
    assert command(tmp_path, verb[0], "task.safetensors", *verb[1:-1], tmp_path / verb[-1]) == 1
    assert "is neither; lay the task on from Python" in capsys.readouterr().err
    assert not (tmp_path / "baked.safetensors").exists()


@pytest.mark.parametrize(("name", "layer"), [("timm:test_resnet", "fc"), ("timm:test_vit", "head")])
def test_a_layer_of_the_model_is_no_head_on_it(tmp_path, name, layer):
    model = made(name)
    mask(model)
    with pytest.raises(ValueError, match=f"the model's own '{layer}.weight'; leave head= out"):
        maskfile.save(
            tmp_path / "task.safetensors", model, head=model.get_submodule(layer), preprocessing={"size": SIZE}
        )


@pytest.mark.parametrize("name", [*MODELS, "efficientnet-lite0"])
def test_the_number_of_classes_is_no_option_of_a_backbone(tmp_path, name):
    with pytest.raises(ValueError, match="got num_classes; leave it out"):
        libraries.build(name, tmp_path / "weights.safetensors", options={"num_classes": 3})


@pytest.mark.parametrize("name", [*MODELS[1:3], "timm:test_nfnet"])
def test_a_head_goes_there_and_back_beside_what_the_backbone_calls_so(tmp_path, name):
    model = made(name)
    model.reset_classifier(0)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    masking = mask(model)
    masking.load_masks({key: torch.rand(theta.shape) > 0.1 for key, theta in masking.frozen().items()})
    told = {"architecture": name, "preprocessing": {"size": SIZE}, "classes": NAMES}
    one = maskfile.save(tmp_path / "task.safetensors", model, head=nn.Linear(model.num_features, 3), **told)
    back = tmp_path / "back.safetensors"
    assert command(tmp_path, "apply", "task.safetensors", "--out", tmp_path / "baked.safetensors") == 0
    assert command(tmp_path, "apply", "baked.safetensors", "--back", "--out", back) == 0
    other = maskfile.load(back)
    assert one.digest == other.digest
    assert all(torch.equal(one.head_state[key], other.head_state[key]) for key in one.head_state)
