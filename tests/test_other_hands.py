"""What other hands do to a masked model: other criteria, untied weights, numbers of the wrong kind. Never silently."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from submasking import Threshold, TopK, mask, maskfile


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(216, 4)).eval()


IMAGES = torch.linspace(-1, 1, 2 * 3 * 64).view(2, 3, 8, 8)
WAYS = {
    "threshold": {},
    "higher threshold": {"criterion": Threshold(0.3)},
    "top half": {"criterion": TopK(0.5)},
    "top tenth": {"criterion": TopK(0.1)},
    "rescaled": {"rescale": "variance"},
}


def masked(way, init="normal"):
    model = network()
    mask(model, "weights", init=init, **WAYS[way])
    return model


@pytest.mark.parametrize("loaded", WAYS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_state_is_loaded_under_its_own_criterion_and_rescale_alone(way, loaded, kind):
    state = {
        name: value.to(kind) if value.is_floating_point() else value for name, value in masked(way).state_dict().items()
    }
    model = masked(loaded)
    before = copy.deepcopy(model.state_dict())
    if way == loaded:
        model.load_state_dict(state)
        torch.testing.assert_close(
            model(IMAGES), masked(way)(IMAGES), atol=0.1 if kind == torch.bfloat16 else 0, rtol=0
        )
        return
    with pytest.raises(ValueError, match="is not, as in an average of models, or under another criterion or rescale"):
        model.load_state_dict(state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x).relu())


def untied(model):
    model.second.weight = nn.Parameter(model.first.weight.detach().clone())


def assigned(model):
    model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)


@pytest.mark.parametrize("change", [untied, assigned])
def test_tied_weights_that_are_tied_no_more_are_not_stored(change, tmp_path):
    model = Tied()
    mask(model, "weights")
    change(model)
    with pytest.raises(ValueError, match=r"'second\.weight' was tied to 'first\.weight', and is not any more"):
        maskfile.save(tmp_path / "task", model)
    model.second.weight = model.first.weight
    maskfile.save(tmp_path / "task", model)


@pytest.mark.parametrize(
    "criterion",
    [
        Threshold,
        torch.sigmoid,
        lambda scores: (scores > 0).float(),
        lambda scores: scores.sum() > 0,
        lambda scores: None,
    ],
)
def test_what_is_no_criterion_is_refused_before_anything_changes(criterion):
    model = network()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"a criterion must make a bool mask|must be a callable scores -> mask"):
        mask(model, criterion=criterion)
    assert model.state_dict().keys() == before.keys()
    assert all(parameter.requires_grad for parameter in model.parameters())
    mask(model)


@pytest.mark.parametrize(
    "wrong", [torch.Tensor.float, torch.Tensor.int, torch.Tensor.numpy, torch.Tensor.tolist], ids=lambda f: f.__name__
)
def test_only_bool_tensors_are_masks(wrong):
    masking = mask(network())
    before = masking.masks()
    with pytest.raises(ValueError, match=r"a mask must be a bool tensor; that of '0\.weight' is"):
        masking.load_masks({name: wrong(on) for name, on in before.items()})
    assert all(torch.equal(on, before[name]) for name, on in masking.masks().items())


@pytest.mark.parametrize("lr", [-1, math.nan, math.inf, 1e40, "50"])
def test_a_learning_rate_is_a_finite_number(lr):
    masking = mask(network())
    with pytest.raises(ValueError, match="lr must be finite"):
        masking.optimizer(lr)
    if not isinstance(lr, str):
        with pytest.raises(ValueError, match="trained_lr and weight_decay must be finite"):
            masking.optimizers(trained_lr=lr)
        with pytest.raises(ValueError, match="trained_lr and weight_decay must be finite"):
            masking.optimizers(weight_decay=lr)


def optimizer_of(masking, way):
    if way == "attached":
        optimizer = torch.optim.SGD(masking.scores().values(), lr=1e-3)
        masking.attach(optimizer)
        return optimizer
    return masking.optimizer(lr=1e-3, in_backward=way == "in backward")


def trained(model, optimizer):
    model(IMAGES).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


PRUNINGS = {
    "smallest": lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
    "random": lambda layer: prune.random_unstructured(layer, "weight", 5),
    "channels": lambda layer: prune.ln_structured(layer, "weight", 0.5, n=2, dim=0),
}


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("rescale", ["none", "variance"])
@pytest.mark.parametrize("how", PRUNINGS)
@pytest.mark.parametrize("way", ["own", "in backward", "attached"])
def test_weights_that_were_pruned_are_not_brought_back_in_silence(way, how, rescale, before):
    model = network()
    masking = mask(model, "weights", rescale=rescale)
    optimizer = optimizer_of(masking, way)
    for _ in range(before):
        trained(model, optimizer)
    PRUNINGS[how](model[3])
    prune.remove(model[3], "weight")
    pruned = model[3].weight.detach().clone()
    scores = masking.scores()["3.weight"].clone()
    with pytest.raises(
        ValueError, match=r"masks alone may switch weights off; \d+ of '3\.weight' that are on were set"
    ):
        trained(model, optimizer)
    assert torch.equal(model[3].weight, pruned)
    assert torch.equal(masking.scores()["3.weight"], scores)
    masking.apply()  # what was asked for
    assert not torch.equal(model[3].weight, pruned)
    optimizer = optimizer_of(masking, way)
    optimizer.zero_grad()
    trained(model, optimizer)


def elsewhere(model):
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


MOVES = {
    "moved": elsewhere,
    "channels last": lambda model: model.to(memory_format=torch.channels_last),
    "double": lambda model: model.double(),
    "loaded": lambda model: model.load_state_dict(copy.deepcopy(model.state_dict())),
}


@pytest.mark.parametrize("rescale", ["none", "variance"])
@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("way", ["own", "attached"])
def test_weights_that_lie_elsewhere_are_trained_on(way, move, rescale):
    model = network()
    masking = mask(model, "weights", rescale=rescale, init="normal")
    MOVES[move](model)
    optimizer = optimizer_of(masking, way)
    before = {name: scores.clone() for name, scores in masking.scores().items()}
    model(IMAGES.to(model[0].weight.dtype)).square().sum().backward()
    optimizer.step()
    assert any(not torch.equal(scores, before[name]) for name, scores in masking.scores().items())


def test_a_model_that_is_pruned_after_bake_stays_pruned():
    model = network()
    masking = mask(model, "weights")
    trained(model, masking.optimizer(lr=1e-3))
    plain = masking.bake()
    prune.l1_unstructured(plain[3], "weight", 0.5)
    prune.remove(plain[3], "weight")
    again = mask(plain, "weights")
    trained(plain, again.optimizer(lr=1e-3))
    assert (plain[3].weight == 0).sum() >= plain[3].weight.numel() // 2
