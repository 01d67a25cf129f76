import json

import pytest
import timm
import torch
from open_clip import model
from open_clip.tokenizer import SimpleTokenizer
from safetensors import safe_open
from safetensors.torch import save_file

from submasking.records.names import DATASET_STAND_INS, MODELS
from submasking.tasks.fingerprint import fingerprint
from submasking.worlds import backbones, networks, origin, pretrain
from submasking.worlds import datasets as data

pytestmark = pytest.mark.usefixtures("smoke_results")


def _load(model, **options):
    return backbones.load(model, "smoke", progress=False, **options)


def _file(results, model):
    return results / "smoke" / "backbones" / f"{model}-0.safetensors"


@pytest.mark.parametrize("model", MODELS)
def test_a_backbone_is_what_it_says(model):
    backbone = _load(model)
    images = data.load("smoke", "cifar10", "test").images[:3].float() / 255
    with torch.no_grad():
        features = backbone.trunk(backbone.normalise(images))
    assert features.shape == (3, backbone.width)
    assert features.isfinite().all()
    assert not backbone.trunk.training
    assert backbone.name == model
    assert backbone.stand_in
    assert backbone.fingerprint == fingerprint(backbone.trunk.state_dict())
    assert (backbone.preset == "vit") == (model == "vitb32-clip")


def test_the_six_backbones_differ():
    assert len({_load(model).fingerprint for model in MODELS}) == 6
    assert len({_load(model).weights for model in MODELS}) == 6


def test_a_second_load_reads_the_file(monkeypatch):
    first = _load("rn50-swav")
    monkeypatch.setattr(pretrain, "pretrain", None)  # training again would fail
    assert _load("rn50-swav").fingerprint == first.fingerprint


@pytest.mark.parametrize("model", ["rn18-timm", "rn50-swav"])
def test_the_same_recipe_gives_the_same_weights(model, smoke_results, tmp_path, monkeypatch):
    first = _load(model)
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    assert _load(model).fingerprint == first.fingerprint


def test_pretraining_leaves_the_global_randomness_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path))
    before = torch.get_rng_state()
    _load("rn18-timm")
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_of_another_recipe_or_damaged_ones_are_made_again(smoke_results):
    first, file = _load("rn18-timm"), _file(smoke_results, "rn18-timm")
    with safe_open(file, framework="pt") as stored:
        recipe = json.loads(stored.metadata()["recipe"])
        tensors = {name: torch.zeros_like(stored.get_tensor(name)) for name in list(stored.keys())}
    assert recipe["architecture"] == "resnet18-small"
    save_file(tensors, file, metadata={"recipe": json.dumps(recipe | {"lr": 9.0})})
    assert _load("rn18-timm").fingerprint == first.fingerprint
    file.write_bytes(b"damaged")
    assert _load("rn18-timm").fingerprint == first.fingerprint


def test_recipes_tell_models_and_profiles_apart():
    recipes = [json.dumps(origin.of(model, name)) for model in MODELS for name in ("smoke", "tiny")]
    assert len(set(recipes)) == len(recipes)


def test_supervised_pretraining_learns():
    told = origin.of("rn18-timm", "smoke") | {"epochs": 20, "batch_size": 16, "lr": 0.02, "style": "plain"}
    letters = data.load("smoke", data.SOURCE, "train")
    trunk = networks.trunk(told["architecture"], 24).eval()
    tensors = pretrain.pretrain(told, letters, progress=False)
    pixels = pretrain.normalise(letters.images.float() / 255)

    def separation():
        with torch.no_grad():
            features = torch.nn.functional.normalize(trunk(pixels), dim=1)
        means = torch.stack([features[letters.labels == label].mean(0) for label in range(8)])
        return ((features @ means.T).argmax(1) == letters.labels).float().mean()

    untrained = separation()
    trunk.load_state_dict({name.removeprefix("trunk."): tensor for name, tensor in tensors.items()})
    assert separation() > max(untrained, torch.tensor(0.8))


def test_text_head_embeds_every_class_by_its_name():
    backbone = _load("vitb32-clip")
    head = backbone.text_head(("DIGIT ONE", "DIGIT TWO", "DIGIT ONE"))
    assert head.shape == (3, backbone.width)
    assert torch.equal(head[0], head[2])
    assert not torch.allclose(head[0], head[1])
    assert not head.requires_grad
    assert backbone.logit_scale > 0
    assert _load("rn18-timm").text_head(("DIGIT ONE",)) is None


def test_text_tower_equals_open_clips_own():
    torch.manual_seed(0)
    whole = model.CLIP(
        networks.CLIP_WIDTH,
        model.CLIPVisionCfg(image_size=24, **networks.VISION["clip-vit"]),
        model.CLIPTextCfg(**networks.TEXT),
    )
    tokens = networks.tokenize(("LATIN SMALL LETTER A", "BOX DRAWINGS LIGHT ARC DOWN AND RIGHT"))
    assert torch.allclose(networks.TextTower(whole)(tokens), whole.encode_text(tokens), atol=1e-6)


def test_no_caption_is_cut_short():
    names = [name for dataset in DATASET_STAND_INS for name in data.load("tiny", dataset, "test").classes]
    names += data.render(data.SOURCE, "test", 10, 8).classes
    wide = SimpleTokenizer(context_length=77)(names)
    assert int((wide != 0).sum(1).max()) <= networks.CONTEXT


def test_unknown_names_list_those_there_are():
    with pytest.raises(ValueError, match="rn18-timm, rn50-timm"):
        _load("nonsense")
    with pytest.raises(ValueError, match="resnet18-small"):
        networks.trunk("resnet19", 24)
    with pytest.raises(ValueError, match="tiny"):
        backbones.load("rn18-timm", "small")


def _weights(tmp_path, change=lambda tensors: tensors):
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", pretrained=False, num_classes=10)
    file = tmp_path / "weights.safetensors"
    save_file(change({name: tensor.contiguous() for name, tensor in network.state_dict().items()}), file)
    return network, str(file)


def test_local_weights_are_loaded_into_timms_architecture(tmp_path):
    network, file = _weights(
        tmp_path, lambda tensors: {name: tensor for name, tensor in tensors.items() if "num_batches" not in name}
    )
    backbone = backbones.load("test_resnet", "images", weights=file)
    network.reset_classifier(0)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = network.eval()(images * 2 - 1)
        assert torch.allclose(backbone.trunk(backbone.normalise(images)), expected, atol=1e-5)
    assert (backbone.weights, backbone.stand_in) == ("weights.safetensors", "")
    assert origin.of("test_resnet", "images", file)["weights"] == "weights.safetensors"


def test_local_weights_that_do_not_fit_are_refused(tmp_path):
    def shorten(tensors):
        return tensors | {"conv1.0.weight": tensors["conv1.0.weight"][:, :1].contiguous()}

    _, file = _weights(tmp_path, shorten)
    with pytest.raises(
        ValueError, match=r"conv1\.0\.weight is .*pass weights of this architecture, or check the model's name"
    ):
        backbones.load("test_resnet", "images", weights=file)
    _, file = _weights(tmp_path, lambda tensors: {"fc.weight": tensors["fc.weight"]})
    with pytest.raises(ValueError, match=r"is missing; .* more"):
        backbones.load("test_resnet", "images", weights=file)


def test_wrong_names_and_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"did you mean .*resnet"):
        backbones.load("resnet5O", "images", weights="x")
    with pytest.raises(ValueError, match="there is none"):
        backbones.load("test_resnet", "images", weights=str(tmp_path / "none"))
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(ValueError, match=r"readable file of weights .* is text"):
        backbones.load("test_resnet", "images", weights=str(tmp_path / "text"))
