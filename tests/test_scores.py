"""The start from a power of the weights: exactly it, every weight on, and known wherever a mask goes."""

import copy
import math
import pickle
import warnings

import pytest
import torch
from torch import nn

from submasking import Threshold, TopK, mask, maskfile, power
from submasking.learning import augment
from submasking.learning.adapt import adapt
from submasking.learning.backbone import Backbone
from submasking.learning.images import ImageSet
from submasking.masking.scores import initial
from submasking.records import profiles
from submasking.records.profiles import Optimisation

TINY = torch.finfo(torch.float32).tiny


def start(weights, init="squared"):
    return initial(init, weights, 0, "weight")


def linear(weights) -> nn.Linear:
    layer = nn.Linear(weights.shape[1], weights.shape[0], bias=False)
    layer.weight.data = weights
    return layer


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_squared_is_the_square_in_the_precision_of_the_scores(dtype):
    weights = torch.randn(50, 40, generator=torch.Generator().manual_seed(0)).to(dtype)
    wide = weights.double() if dtype == torch.float64 else weights.float()
    assert torch.equal(start(weights), wide * wide)
    assert start(weights).dtype == wide.dtype


@pytest.mark.parametrize(("exponent", "name"), [(0, "constant"), (2, "squared")])
def test_the_named_starts_belong_to_the_family(exponent, name):
    weights = torch.tensor([[0.5, -2.0, 1e-3]])
    assert torch.equal(start(weights, power(exponent)), start(weights, name))
    assert torch.equal(start(weights, power(1)), weights.abs())


def test_weights_too_small_to_square_stay_on_and_do_not_count():
    root = math.sqrt(TINY)
    weights = torch.tensor([[0.0, -0.0, 1e-30, root * 0.99, root * 1.01, -0.5]])
    masking = mask(linear(weights.clone()), "weights", init="squared")
    assert masking.masks()["weight"].all()
    assert masking.scores()["weight"].isposinf().tolist() == [[True, True, True, True, False, False]]
    masking.scores()["weight"][0, -1] = -1.0
    assert masking.sparsity() == 0.5  # one of two


@pytest.mark.parametrize("rescale", ["none", "variance"])
def test_a_pruned_network_is_not_said_to_be_masked(rescale):
    torch.manual_seed(0)
    weights = torch.randn(8, 6) * (torch.rand(8, 6) > 0.5)
    model = linear(weights.clone())
    masking = mask(model, "weights", init="squared", rescale=rescale)
    assert torch.equal(model.weight, weights)  # alpha is 1
    optimizer = masking.optimizer(lr=0.05)
    for _ in range(20):
        model(torch.randn(5, 6)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    off = ~masking.masks()["weight"]
    assert off.any()
    assert not (off & (weights == 0)).any()
    assert masking.sparsity() == pytest.approx(float(off.sum() / (weights != 0).sum()))


@pytest.mark.parametrize("weight", [1e20, math.inf, -math.inf])
def test_a_square_that_overflows_is_refused(weight):
    model = linear(torch.tensor([[1.0, weight]]))
    with pytest.raises(ValueError, match=r"must be finite in torch.float32; power\(2\) of .* is not"):
        mask(model, "weights", init="squared")
    assert isinstance(model.weight, nn.Parameter)
    assert model.weight.requires_grad


@pytest.mark.parametrize("exponent", [-1, math.inf, math.nan, "2", None])
def test_an_exponent_out_of_range_is_refused(exponent):
    with pytest.raises(ValueError, match="exponent of a start must be a finite number from 0; got"):
        power(exponent)


def test_topk_from_squares_begins_with_the_largest_weights():
    weights = torch.tensor([[3.0, -0.1, 0.2, -4.0]])
    assert mask(linear(weights), "weights", TopK(0.5), init="squared").masks()["weight"].tolist() == [[1, 0, 0, 1]]


def test_rates_of_the_constant_start_are_doubted():
    masking = mask(linear(torch.ones(2, 2)), "weights", init="squared")
    with pytest.warns(UserWarning, match="a learning rate is one of fine-tuning; got lr=50; try 0.01"):
        masking.optimizer()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masking.optimizer(lr=0.3)
        mask(linear(torch.ones(2, 2)), "weights").optimizer()


def ones(frozen, random):
    return torch.ones_like(frozen)


@pytest.mark.parametrize(
    ("init", "name"), [("squared", "squared"), (2.5, "2.5"), (power(1.5), "power(1.5)"), (ones, "ones")]
)
def test_the_start_is_known_to_handle_copy_and_file(init, name, tmp_path):
    masking = mask(linear(torch.ones(2, 2)), "weights", init=init)
    assert masking.init == pickle.loads(pickle.dumps(masking)).init == copy.deepcopy(masking).init == name
    task = maskfile.save(tmp_path / "task.safetensors", masking)
    assert task.init == name
    assert task.apply(linear(torch.ones(2, 2))).init == ""  # its scores are not those that were learned


def adapted(plan, method="FS", **options):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    backbone = Backbone(trunk, 4, "weights", (0.5,) * 3, (0.5,) * 3, 8)
    pictures = torch.randint(0, 255, (8, 3, 8, 8), dtype=torch.uint8)
    images = ImageSet(pictures, torch.arange(8) % 2, ("a", "b"), "noise")
    return adapt(backbone, images, method, plan, style=augment.PHOTOS, batch_size=4, progress=False, **options)


def test_adapting_starts_from_the_plan_or_from_what_is_said():
    planned = adapted(Optimisation(lr=0.1, epochs=1, init="squared")).masking
    said = adapted(Optimisation(lr=0.1, epochs=1), init="squared").masking
    other = adapted(Optimisation(lr=0.1, epochs=1)).masking
    assert (planned.init, said.init, other.init) == ("squared", "squared", "constant")
    assert torch.equal(planned.scores()["0.weight"], said.scores()["0.weight"])
    assert not torch.equal(planned.scores()["0.weight"], other.scores()["0.weight"])


def test_a_checkpoint_of_another_start_is_not_continued(tmp_path):
    plan, place = Optimisation(lr=0.1, epochs=2), {"checkpoint": tmp_path / "it", "checkpoint_seconds": 0.0}
    adapted(plan, **place)
    with pytest.raises(ValueError, match="init"):
        adapted(plan, init="squared", **place)


def test_a_recipe_says_its_start_where_it_is_not_the_papers(monkeypatch):
    assert "init" not in profiles.settings("tiny", "FS", "rn18-timm")
    squared = profiles.replace(profiles.TINY, methods={"FS": Optimisation(lr=0.1, epochs=1, init="squared")})
    monkeypatch.setitem(profiles.PROFILES, "tiny", squared)
    assert profiles.settings("tiny", "FS", "rn18-timm")["init"] == "squared"


def test_another_threshold_is_refused_before_anything_changes():
    model = linear(torch.ones(2, 2))
    with pytest.raises(ValueError, match="threshold 0"):
        mask(model, "weights", Threshold(0.5), init="squared")
    mask(model, "weights")
