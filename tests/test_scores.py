"""The start from a power of the weights: exactly it, every weight on, and known wherever a mask goes."""

import copy
import math
import pickle
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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


@pytest.mark.parametrize("weight", [1e20, -1e30])
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


def test_a_recipe_says_its_start(monkeypatch):
    assert profiles.settings("tiny", "FS", "rn18-timm")["init"] == "constant"
    assert profiles.settings("tiny", "FS-squared", "rn18-timm")["init"] == "squared"
    squared = profiles.replace(profiles.TINY, methods={"FS": Optimisation(lr=0.1, epochs=1, init="squared")})
    monkeypatch.setitem(profiles.PROFILES, "tiny", squared)
    assert profiles.settings("tiny", "FS", "rn18-timm")["init"] == "squared"


def test_another_threshold_is_refused_before_anything_changes():
    model = linear(torch.ones(2, 2))
    with pytest.raises(ValueError, match="threshold 0"):
        mask(model, "weights", Threshold(0.5), init="squared")
    mask(model, "weights")


def fine_tuned_through_the_mask(seed, dtype, *, lr, steps, attached=False):
    """A masked network trained by the library, beside it weights trained by torch's SGD through the same network.

    Yields, for each step: scores, frozen weight times fine-tuned weight, and a bound of what rounding may do to either.
    """
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(10, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 4)).to(dtype)
    images, labels = torch.randn(steps, 16, 10, dtype=dtype), torch.randint(4, (steps, 16))
    other = copy.deepcopy(model)
    masking = mask(model, "weights", init="squared")
    learner = masking.optimizer(lr=lr, momentum=0.9)
    if attached:
        learner = masking.attach(torch.optim.SGD(masking.scores().values(), lr=lr, momentum=0.9))
    frozen = {name: value.clone() for name, value in masking.frozen().items()}
    tuned = {name: value.clone().requires_grad_() for name, value in frozen.items()}
    plain = torch.optim.SGD(tuned.values(), lr=lr, momentum=0.9)
    moved = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in frozen.items()}
    bound = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in frozen.items()}
    unit = torch.finfo(dtype).eps / 2
    for step in range(steps):
        nn.functional.cross_entropy(model(images[step]), labels[step]).backward()
        learner.step()
        learner.zero_grad()
        seen = {name: torch.where(frozen[name] * tuned[name] > 0, frozen[name], 0).detach() for name in frozen}
        for value in seen.values():
            value.requires_grad_()
        nn.functional.cross_entropy(torch.func.functional_call(other, seen, images[step]), labels[step]).backward()
        for name, value in tuned.items():
            value.grad = seen[name].grad
            moved[name] = 0.9 * moved[name] + (seen[name].grad * frozen[name]).abs().double()
        plain.step()
        for name, scores in masking.scores().items():
            product = frozen[name].double() * tuned[name].detach().double()
            # the velocity is off by three roundings of each of its terms and steps, the score by one of itself
            bound[name] += unit * (
                2 * lr * moved[name] * (3 * step + 5) + 2 * scores.double().abs() + 2 * product.abs()
            )
        yield {
            name: (scores.double().clone(), frozen[name].double() * tuned[name].detach().double(), bound[name].clone())
            for name, scores in masking.scores().items()
        }


@given(st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64]), st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_library_trains_what_fine_tuning_would(seed, dtype, attached):
    """Until a bit differs scores are theta W within rounding, and a first bit differs only nearer to 0 than that."""
    off = 0
    for values in fine_tuned_through_the_mask(seed, dtype, lr=0.05, steps=30, attached=attached):
        for scores, product, bound in values.values():
            assert ((scores - product).abs() <= bound).all()
            assert not (((scores > 0) != (product > 0)) & (scores.abs() > bound)).any()
            off += int((scores <= 0).sum())
        if any(bool(((scores > 0) != (product > 0)).any()) for scores, product, _ in values.values()):
            return
    assert off > 0


def test_in_double_precision_every_mask_of_a_run_is_that_of_fine_tuning():
    for seed in range(5):
        for values in fine_tuned_through_the_mask(seed, torch.float64, lr=0.05, steps=60):
            assert all(torch.equal(scores > 0, product > 0) for scores, product, _ in values.values())
