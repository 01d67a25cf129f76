"""What somebody says of a network of their own: it is what the library has, and else what was said, and known by it."""

from dataclasses import replace

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from submasking.commands.cli import main
from submasking.experiments import grid, notebooks
from submasking.experiments.photographs import Settings
from submasking.experiments.run import Run
from submasking.worlds import backbones, origin, told

SAID = "pad_type=same, bn_eps=0.001, mean=0.5, std=0.1/0.2/0.3"


@pytest.fixture
def weights(tmp_path):
    def made(name):
        torch.manual_seed(0)
        file = tmp_path / f"{name}.safetensors"
        save_file(timm.create_model(name, num_classes=0).state_dict(), file)
        return str(file)

    return made


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet10t", "test_vit"])
def test_a_network_is_what_its_library_has_where_nothing_else_is_said(weights, name):
    """As `submasking mask` builds it, too, normalisation included."""
    file = weights(name)
    backbone = backbones.load(name, "images", weights=file, size=32)
    plain = timm.create_model(name, num_classes=0, **({"img_size": 32} if name == "test_vit" else {})).eval()
    config = timm.data.resolve_model_data_config(plain)
    assert (backbone.mean, backbone.std) == (tuple(config["mean"]), tuple(config["std"]))
    assert str(backbone.trunk) == str(plain)
    assert origin.of(name, "images", file) == {"architecture": name, "weights": f"{name}.safetensors"}


def test_what_is_said_is_done_and_is_in_the_recipe(weights):
    file = weights("mobilenetv2_035")
    backbone = backbones.load("mobilenetv2_035", "images", weights=file, size=32, options=SAID)
    assert (backbone.mean, backbone.std) == ((0.5,) * 3, (0.1, 0.2, 0.3))
    assert {m.eps for m in backbone.trunk.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.001}
    assert "Same" in str(backbone.trunk)
    recipe = origin.of("mobilenetv2_035", "images", file, options=SAID)
    assert recipe["create_model"] == {"pad_type": "same", "bn_eps": 0.001}
    assert backbone.options == recipe["create_model"]


@given(st.permutations(["pad_type=same", "mean=0.5", "std=0.1/0.2/0.3", "drop_rate=0", "flag=true", "name=a b"]))
def test_the_order_in_which_things_are_said_is_nothing(said):
    assert told.of(" , ".join(said) + ",") == {
        "create_model": {"pad_type": "same", "drop_rate": 0, "flag": True, "name": "a b"},
        "mean": (0.5, 0.5, 0.5),
        "std": (0.1, 0.2, 0.3),
    }
    assert told.of("") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pad_type", "must be NAME=VALUE, split by commas; got 'pad_type'"),
        ("=same", "must be NAME=VALUE"),
        ("a=", "must be NAME=VALUE"),
        ("a=1,a=2", "each thing once; got 'a' twice"),
        ("mean=0.1/0.2", "mean must be a finite number, or three split by slashes; got '0.1/0.2'"),
        ("mean=nan", "mean must be a finite number"),
        ("mean=[1,2,3]", r"must be NAME=VALUE, split by commas; got '2'"),
        ("std=0", "std must be a finite number above 0"),
        ("std=true", "std must be a finite number above 0"),
        ("std=1/2/inf", "std must be a finite number above 0"),
    ],
)
def test_what_is_said_otherwise_is_refused_before_anything_is_built(text, message):
    with pytest.raises(ValueError, match=message):
        Run("images", "resnet10t", "photos", "LP", options=text)
    with pytest.raises(ValueError, match=message):
        Settings("photos", "resnet10t", "", "layer3", 32, 9, 9, 1, 1, 1, 1, options=text)


def test_runs_of_which_another_thing_was_said_are_others(tmp_path, weights, monkeypatch):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path / "results"))
    (tmp_path / "photos" / "train").mkdir(parents=True)
    run = Run("images", "resnet10t", str(tmp_path / "photos"), "LP", weights=weights("resnet10t"))
    others = [replace(run, options=options) for options in ("mean=0.5", "mean=0.4", "drop_rate=0.1")]
    same = replace(run, options="mean=0.5/0.5/0.5,")
    assert len({each.record_file for each in (run, *others)}) == 4
    assert same.record_file == others[0].record_file
    assert same.recipe() == others[0].recipe()


@pytest.mark.parametrize("what", ["arch", "weights", "options"])
@pytest.mark.parametrize("profile", ["tiny", "smoke", "paper"])
def test_a_network_of_one_s_own_is_not_passed_over_in_other_profiles(what, profile):
    with pytest.raises(ValueError, match=f"^{what} is for profile images, .*got it with profile '{profile}'; add -p"):
        grid.network(profile, "rn18-timm", **{what: "mean=0.5"})
    assert grid.network("images", "one", arch="two", weights="w", options="a=1") == "two"
    assert grid.network(profile, "rn18-timm") == "rn18-timm"
    if what != "arch":
        with pytest.raises(ValueError, match=f"{what} is for profile images"):
            Run(profile, "rn18-timm", "cifar10", "LP", **{what: "mean=0.5"})


@pytest.mark.parametrize("name", ["submasking", "compression", "invariance", "photographs"])
def test_notebooks_about_a_network_of_one_s_own_take_what_is_said_of_it(name):
    assert notebooks.known_parameters(name)["options"] == ("str", "")
    text = notebooks.path(name).read_text(encoding="utf-8")
    assert name == "photographs" or "grid.network(profile, model, arch, weights, options)" in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grid.seeds("0,1,0", "tiny"), "seeds must be named once each; got 0 twice"),
        (lambda: grid.chosen("LP,FS,LP", ("LP", "FS"), "methods"), "methods must be named once each; got LP twice"),
        (lambda: grid.seeds(str(2**63), "tiny"), "a seed must be a whole number of at most 63 bits"),
        (lambda: Run("tiny", "rn18-timm", "cifar10", "LP", seed=-(2**64)), "at most 63 bits"),
        (lambda: notebooks.coerce("dataset", "str", ["cifar10", "dtd"]), "by commas, such as cifar10,dtd"),
    ],
)
def test_what_is_named_twice_or_out_of_range_is_told_before_any_run(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_results_that_go_where_no_folder_can_be_name_the_variable(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path / "file"))
    assert main(["run", "submasking", "-p", "profile", "smoke"]) == 1
    assert "set SUBMASKING_RESULTS to another folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["predict", "task", ""], ["inspect", ""], ["mask", "", "--model", "x", "--out", "y"], ["share", "a", ""]]
)
def test_an_empty_path_is_not_the_folder_where_one_is(words, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert "must be a path, got an empty text; is a variable not set?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "meant"), [("False", False), ("True", True), ("None", None), ("false", False), ("null", None), ("1", 1)]
)
def test_values_are_as_python_or_json_writes_them(text, meant):
    assert told.value(text) is meant or told.value(text) == meant == 1
    assert told.of(f"qkv_bias={text}") == {"create_model": {"qkv_bias": meant}}


@pytest.mark.parametrize("text", ["no", "Yes", "on", "OFF"])
def test_a_switch_in_other_words_is_refused(text):
    with pytest.raises(ValueError, match=f"must be true or false, got '{text}'"):
        told.of(f"qkv_bias={text}")


@pytest.mark.parametrize("text", ["mean=124", "std=58", "mean=0.5/0.5/127", "mean=-1", "std=1e-9", "std=0.2/1.5/0.2"])
def test_values_of_images_from_0_to_255_are_refused(text):
    with pytest.raises(ValueError, match=r"must be of images in .* divide by 255"):
        told.of(text)


@pytest.mark.parametrize("text", ["mean=0", "std=0.00392", "mean=1", "std=1", "mean=0.485/0.456/0.406"])
def test_values_of_images_from_0_to_1_are_taken(text):
    assert len(told.of(text)[text.partition("=")[0]]) == 3
