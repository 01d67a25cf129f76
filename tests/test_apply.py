"""`submasking apply`: what goes to a plain checkpoint and back is the same task, or is refused with all as it was."""

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from submasking import mask, maskfile
from submasking.commands.cli import main

MODEL = "test_resnet"


def network():
    torch.manual_seed(0)
    model = timm.create_model(MODEL, num_classes=0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
    return model.eval()


@pytest.fixture
def place(tmp_path):
    """A folder with the weights of the backbone."""
    save_file(network().state_dict(), tmp_path / "weights.safetensors")
    return tmp_path


def saved(place, select, rescale="none"):
    """A task in that folder, and what its model says of some images."""
    model = network()
    masking = mask(model, select, rescale=rescale)
    masking.load_masks({name: torch.rand(theta.shape) > 0.2 for name, theta in masking.frozen().items()})
    with torch.no_grad():
        for name in masking.trained:
            masking.parameter(name).add_(0.3)
        next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d)).running_mean.add_(0.2)
    maskfile.save(place / "task.safetensors", model, architecture=f"timm:{MODEL}")
    return model(images())


def images():
    return torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)


def apply(place, source, out, *more, weights="weights"):
    given = [place / f"{source}.safetensors", "--out", place / f"{out}.safetensors"]
    return main(["apply", *map(str, given), *more, "--weights", str(place / f"{weights}.safetensors")])


def beside(name, parameter):
    return "mask" if parameter.dim() == 4 else "train"


@pytest.mark.parametrize("rescale", ["none", "variance"])
@pytest.mark.parametrize("select", ["weights", "resnet", beside])
def test_there_and_back_is_the_same_task(select, rescale, place):
    told = saved(place, select, rescale)
    assert apply(place, "task", "baked") == 0
    assert apply(place, "baked", "back", "--back") == 0
    fresh = network()
    maskfile.load(place / "back.safetensors").apply(fresh)
    assert torch.equal(fresh(images()), told)


def trained_on(tensors):
    return {name: value * 1.1 if value.dim() == 4 else value for name, value in tensors.items()}


def trained_bias(tensors):
    return {name: value + 0.1 if name.endswith("bias") else value for name, value in tensors.items()}


def without(tensors):
    return dict(list(tensors.items())[1:])


def with_more(tensors):
    return tensors | {"another": torch.ones(2)}


@pytest.mark.parametrize("change", [trained_on, trained_bias, without, with_more])
@pytest.mark.parametrize("rescale", ["none", "variance"])
def test_what_no_mask_makes_does_not_go_back(change, rescale, place, capsys):
    saved(place, "weights", rescale)
    assert apply(place, "task", "baked") == 0
    with safe_open(place / "baked.safetensors", "pt") as file:
        metadata = file.metadata()
    save_file(change(load_file(place / "baked.safetensors")), place / "changed.safetensors", metadata)
    assert apply(place, "changed", "back", "--back") == 1
    assert "a baked checkpoint must " in capsys.readouterr().err
    assert not (place / "back.safetensors").exists()


def more(tensors):
    return {name: value + 0.1 if value.is_floating_point() else value for name, value in tensors.items()}


def tuned(tensors):
    """Fine-tuned in the last layer alone, by one number."""
    last = [name for name, value in tensors.items() if value.dim() == 4][-1]
    tensors[last].view(-1)[0] += 0.01
    return tensors


def norms_seen_more(tensors):
    return {name: value + 0.1 if "running" in name else value for name, value in tensors.items()}


def another_start(tensors):
    torch.manual_seed(1)
    return timm.create_model(MODEL, num_classes=0).state_dict()


def half(tensors):
    return {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}


def baked(tensors):
    return None


@pytest.mark.parametrize("others", [more, tuned, norms_seen_more, another_start, half, baked])
@pytest.mark.parametrize("rescale", ["none", "variance"])
def test_it_goes_back_over_its_own_weights_only(others, rescale, place, capsys):
    saved(place, beside, rescale)
    assert apply(place, "task", "baked") == 0
    if tensors := others(network().state_dict()):
        save_file(tensors, place / "baked over.safetensors")
    assert apply(place, "baked", "back", "--back", weights="baked over" if tensors else "baked") == 1
    assert capsys.readouterr().err.endswith("pass the --weights that it was baked over\n")
    assert not (place / "back.safetensors").exists()


@pytest.mark.parametrize(("out", "said"), [("weights", "than --weights"), ("task", "than the file")])
@pytest.mark.parametrize("linked", [False, True])
def test_the_output_never_takes_the_place_of_an_input(out, said, linked, place, capsys):
    saved(place, "weights")
    if linked:
        (place / "link.safetensors").symlink_to(place / f"{out}.safetensors")
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    assert apply(place, "task", "link" if linked else out) == 1
    assert said in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
