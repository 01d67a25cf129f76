import copy
import io
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

import submasking
from submasking import Threshold, TopK, mask, power, recalibrate
from submasking.masking.selection import Decision, largest_part, random_part


class Network(nn.Module):
    """Every kind of parameter: convolutions of each dimension, attention with fused weights, embedding, bare, tied."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv1d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Conv3d(1, 2, 2)
        self.transposed = nn.ConvTranspose2d(4, 3, 2)
        self.norm = nn.BatchNorm2d(3)
        self.words = nn.Embedding(7, 4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.bare = nn.Parameter(torch.randn(4, 4))
        self.out = nn.Linear(4, 7, bias=False)
        self.out.weight = self.words.weight

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.norm(self.transposed(self.two(images)))
        volume = maps[:, :1, None].expand(-1, 1, 2, -1, -1)
        line = self.one(maps.flatten(2)).mean(-1) + self.three(volume).mean((1, 2, 3, 4))[:, None]
        tokens = (line @ self.bare)[:, None] + self.words(torch.arange(3))
        return self.out(self.attention(tokens, tokens, tokens)[0]).mean(1)


def network() -> Network:
    torch.manual_seed(0)
    return Network()


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(2))


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int = 3) -> None:
    for _ in range(count):
        optimizer.zero_grad()
        model(images()).square().sum().backward()
        optimizer.step()


def trained(**options):
    model = network()
    masking = mask(model, "weights", **options)
    optimizer = masking.optimizer(lr=1.0)
    steps(model, optimizer)
    assert 0.0 < masking.sparsity() < 1.0
    return model, masking, optimizer


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(value, right[name]) for name, value in left.items())


def test_masking_keeps_names_and_outputs():
    model = network()
    before, expected = copy.deepcopy(model.state_dict()), model.eval()(images())
    masking = mask(model, "weights")
    assert torch.equal(model(images()), expected)
    assert same({name: value for name, value in model.state_dict().items() if name in before}, before)
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in network().named_parameters()]
    assert masking.sparsity() == 0.0


def test_tied_weights_are_masked_once():
    _, masking, _ = trained()
    names = list(masking.masks())
    assert "words.weight" in names
    assert "out.weight" not in names
    assert masking.model.out.weight is masking.model.words.weight


def test_bake_gives_a_plain_model_with_the_masked_weights():
    model, masking, _ = trained()
    expected, keys = model.eval()(images()), network().state_dict().keys()
    masks = masking.masks()
    plain = masking.bake()
    assert plain is model
    assert model.state_dict().keys() == keys
    assert torch.equal(model(images()), expected)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert same(masking.masks(), masks)
    network().load_state_dict(model.state_dict())


@pytest.mark.parametrize("baked", [False, True])
@pytest.mark.parametrize("rescale", ["none", "variance"])
def test_unbake_restores_everything_bit_for_bit(baked, rescale):
    before = copy.deepcopy(network().state_dict())
    model, masking, _ = trained(rescale=rescale)
    if baked:
        masking.bake()
    assert not same(dict(model.named_parameters()), dict(network().named_parameters()))
    masking.unbake()
    assert same(model.state_dict(), before)
    mask(model, "weights")


EDITS = {
    "added": lambda weights: weights.add_(1.0),
    "not a number": lambda weights: weights.fill_(math.nan),
    "an average": lambda weights: weights.lerp_(torch.ones_like(weights), 0.1),
    "rounded": lambda weights: weights.copy_(weights.half()),
    "switched on": lambda weights: weights.masked_fill_(weights == 0, 1e-3),
}


@pytest.mark.parametrize("rescale", ["none", "variance"])
@pytest.mark.parametrize("edit", EDITS)
def test_unbake_is_the_way_out_that_bake_names_whatever_was_done_to_the_weights(edit, rescale):
    before = copy.deepcopy(network().state_dict())
    model, masking, _ = trained(rescale=rescale)
    with torch.no_grad():
        EDITS[edit](model.get_parameter(masking.targets[0].name))
    with pytest.raises(ValueError, match=r"what is baked must be the weights .* or unbake\(\) for the original ones"):
        masking.bake()
    masking.unbake()
    assert same(model.state_dict(), before)
    mask(model, "weights")


def test_unbake_restores_trained_parameters_too():
    model = network()
    before = copy.deepcopy(model.state_dict())
    masking = mask(model, lambda name, parameter: "train" if name == "bare" else "mask")
    with torch.no_grad():
        model.bare.add_(1.0)
    masking.unbake()
    assert same(model.state_dict(), before)


def test_actions_are_followed():
    model = network()
    actions = {"bare": "train", "two.weight": "mask"}
    masking = mask(model, lambda name, parameter: Decision(actions.get(name, "freeze"), "here"))
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == set(actions)
    assert [(target.name, target.group) for target in masking.targets] == [("two.weight", "here")]


@pytest.mark.parametrize("way", ["deepcopy", "pickle", "torch.save"])
def test_copies_learn_on_their_own_and_alike(way):
    model, masking, optimizer = trained()
    if way == "deepcopy":
        twin, other = copy.deepcopy((model, optimizer))
    elif way == "pickle":
        twin, other = pickle.loads(pickle.dumps((model, optimizer)))
    else:
        saved = io.BytesIO()
        torch.save((model, optimizer), saved)
        saved.seek(0)
        twin, other = torch.load(saved, weights_only=False)
    handle = submasking.of(twin)
    assert handle.model is twin
    assert handle is not masking
    masks = masking.masks()
    steps(twin, other)
    assert same(masking.masks(), masks)
    steps(model, optimizer)
    assert same(model.state_dict(), twin.state_dict())
    assert same(handle.unbake().state_dict(), network().state_dict())


def test_handle_is_found_in_a_larger_model():
    model, masking, _ = trained()
    assert submasking.of(nn.Sequential(nn.Identity(), model)) is masking
    with pytest.raises(ValueError, match=r"must be masked; this Linear is not; call submasking.mask first"):
        submasking.of(nn.Linear(2, 2))


def test_masked_state_dict_restores_masks_in_another_model():
    model, masking, _ = trained(rescale="variance")
    other = network()
    again = mask(other, "weights", rescale="variance", init=5.0)
    other.load_state_dict(model.state_dict())
    assert same(again.masks(), masking.masks())
    assert same(other.state_dict(), model.state_dict())


@pytest.mark.parametrize("rescale", ["none", "variance"])
def test_plain_state_dict_becomes_the_new_frozen_weights(rescale):
    model, masking, _ = trained(rescale=rescale)
    masks = masking.masks()
    torch.manual_seed(9)
    fresh = Network()
    model.load_state_dict(fresh.state_dict())
    assert same(masking.masks(), masks)
    assert same(masking.frozen(), {name: fresh.get_parameter(name) for name in masks})
    expected = copy.deepcopy(model.state_dict())
    masking.apply()
    assert same(model.state_dict(), expected)


def test_plain_state_dict_loads_through_a_larger_model():
    model = nn.Sequential(nn.Linear(3, 3))
    masking = mask(model[0], "weights")
    masking.scores()["weight"][0] = -1.0
    model.load_state_dict({"0.weight": torch.ones(3, 3), "0.bias": torch.zeros(3)})
    assert torch.equal(model[0].weight[:, 0], torch.tensor([0.0, 1.0, 1.0]))


def test_scores_alone_move_the_weights():
    """Three float32 tensors per mask are a lot to store: scores from one model, backbone from another."""
    model, masking, _ = trained(rescale="variance")
    other = network()
    again = mask(other, "weights", rescale="variance")
    other.load_state_dict({n: v for n, v in model.state_dict().items() if n.endswith("_scores")}, strict=False)
    assert same(again.masks(), masking.masks())
    assert same({n: other.get_parameter(n) for n in masking.masks()}, dict(_masked(model, masking)))


def _masked(model, masking):
    return ((name, model.get_parameter(name)) for name in masking.masks())


def test_scores_loaded_without_weights_follow_the_threshold_of_the_model_they_are_loaded_into():
    model, masking, _ = trained()
    other = network()
    again = mask(other, "weights", Threshold(0.9))
    weights = {*masking.scores(), "out.weight"}  # which is tied
    other.load_state_dict({name: value for name, value in model.state_dict().items() if name not in weights})
    assert again.sparsity() > masking.sparsity()
    assert same(dict(_masked(other, again)), {n: again.frozen()[n] * on for n, on in again.masks().items()})


def test_a_checkpoint_that_lacks_or_misshapes_a_weight_is_refused_by_torch():
    model, _, _ = trained()
    plain = network().state_dict()
    del plain["bare"]
    with pytest.raises(RuntimeError, match=r'Missing key.*"bare", "bare_frozen", "bare_scores"'):
        model.load_state_dict(plain)
    assert model.load_state_dict(plain, strict=False).missing_keys == ["bare", "bare_frozen", "bare_scores"]
    with pytest.raises(RuntimeError, match="size mismatch for bare"):
        model.load_state_dict(network().state_dict() | {"bare": torch.ones(2)})


def test_a_tied_weight_is_loaded_under_either_name():
    model, masking, _ = trained()
    masking.scores()["words.weight"][0] = -1.0
    model.load_state_dict({"out.weight": torch.ones(7, 4)}, strict=False)
    assert model.words.weight is model.out.weight
    assert (model.words.weight[0] == 0).all()
    assert (masking.frozen()["words.weight"] == 1).all()
    twin = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    assert twin.words.weight is twin.out.weight


def test_moving_to_another_dtype_moves_weights_and_scores():
    model, masking, _ = trained()
    masks = masking.masks()
    model.to(torch.float64)
    assert {value.dtype for value in [*masking.frozen().values(), *masking.scores().values()]} == {torch.float64}
    assert same(masking.masks(), masks)
    assert model(images().double()).dtype == torch.float64


@pytest.mark.parametrize("cast", ["before", "after"])
def test_bfloat16_model_learns_with_float32_scores(cast):
    model = network()
    if cast == "before":
        model.to(torch.bfloat16)
    masking = mask(model, "weights")
    if cast == "after":
        model.to(torch.bfloat16)
    optimizer = masking.optimizer(lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        model(images().bfloat16()).square().sum().backward()
        optimizer.step()
    assert {scores.dtype for scores in masking.scores().values()} == {torch.float32}
    assert masking.sparsity() > 0


def test_autocast_learns():
    model = network()
    masking = mask(model, "weights")
    optimizer = masking.optimizer(lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(images()).square().sum()
        loss.backward()
        optimizer.step()
    assert 0 < masking.sparsity() < 1


def _masks_after(gather) -> dict:
    model = network().eval().double()
    masking = mask(model, "weights")
    optimizer = masking.optimizer(lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        gather(model)
        optimizer.step()
    assert masking.sparsity() > 0
    return masking.masks()


def test_several_forwards_accumulation_and_checkpointing_give_the_same_masks():
    data = images().double()
    halves = data.split(2)

    def whole(model):
        model(data).square().sum().backward()

    def several_forwards(model):
        sum(model(half).square().sum() for half in halves).backward()

    def accumulated(model):
        for half in halves:
            model(half).square().sum().backward()

    def checkpointed(model):
        checkpoint(model, data, use_reentrant=False).square().sum().backward()

    def checkpointed_reentrantly(model):
        checkpoint(model, data.clone().requires_grad_(), use_reentrant=True).square().sum().backward()

    expected = _masks_after(whole)
    for gather in (several_forwards, accumulated, checkpointed, checkpointed_reentrantly):
        assert same(_masks_after(gather), expected)


def test_forward_compiles_without_a_graph_break():
    model, masking, optimizer = trained()
    model.eval()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images()), model(images()))
    masks = masking.masks()
    steps(compiled, optimizer)
    assert not same(masking.masks(), masks)
    torch.testing.assert_close(compiled(images()), model(images()))


def test_memory_format_is_kept():
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    masking = mask(model, "weights", init="normal")
    strides = model.weight.stride()
    model(images()).sum().backward()
    masking.optimizer().step()
    held = [model.weight, *masking.frozen().values(), *masking.scores().values()]
    assert {value.stride() for value in held} == {strides}


def test_train_and_eval_pass_through():
    model, _, _ = trained()
    assert not model.eval().norm.training
    assert model.train().norm.training


def test_frozen_norms_keep_their_statistics_until_baked():
    model = network()
    masking = mask(model, "weights", norms="freeze")
    mean = model.norm.running_mean.clone()
    steps(model.train(), masking.optimizer(lr=1.0))
    assert torch.equal(model.norm.running_mean, mean)
    twin = copy.deepcopy(model).train()
    assert not twin.norm.training
    assert not pickle.loads(pickle.dumps(model)).train().norm.training
    masking.bake()
    assert model.train().norm.training


def test_recalibration_averages_the_batches():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    batches = [images(), images() * 3]
    recalibrate(model, batches)
    expected = torch.stack([model[0](batch).mean((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(model[1].running_mean, expected)
    assert model[1].momentum == 0.1
    assert model.training
    with pytest.raises(ValueError, match="needs at least one batch; got none; pass a list"):
        recalibrate(model, [])


def test_loaded_masks_are_the_masks():
    masks = trained()[1].masks()
    other = network()
    again = mask(other, "weights", Threshold(0.7))
    again.load_masks(masks)
    assert same(again.masks(), masks)
    assert all(torch.equal(other.get_parameter(n), network().get_parameter(n) * on) for n, on in masks.items())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda masks: masks.pop("bare"), "must name exactly the .* masked parameters; got .*'bare'"),
        (lambda masks: masks.update(nobody=torch.ones(1)), "must name exactly the .*'nobody'; masking.masks"),
        (
            lambda masks: masks.update(bare=torch.ones(2) > 0),
            r"'bare' is \(4, 4\), got \(2,\); was it made for another",
        ),
    ],
)
def test_masks_of_another_model_are_refused(spoil, message):
    masking = mask(network(), "weights")
    masks = masking.masks()
    spoil(masks)
    with pytest.raises(ValueError, match=message):
        masking.load_masks(masks)


def test_masks_the_criterion_cannot_give_are_refused():
    masking = mask(nn.Linear(4, 4), "weights", TopK(0.5))
    with pytest.raises(ValueError, match=r"TopK\(density=0.5\) must be able to give .* keeps 16 of 16"):
        masking.load_masks({"weight": torch.ones(4, 4, dtype=torch.bool)})
    masking.load_masks({"weight": torch.arange(16).view(4, 4) % 2 == 0})
    assert masking.sparsity() == 0.5


@given(st.floats(0.05, 1.0), st.sampled_from([random_part, largest_part]))
def test_partial_masks_leave_the_other_weights_on(share, narrow):
    torch.manual_seed(0)
    model = nn.Linear(8, 8)
    masking = mask(model, narrow("weights", share))
    maskable = round(share * 64)
    assert int(masking.scores()["weight"].isfinite().sum()) == maskable
    optimizer = masking.optimizer(lr=1e6)
    (model(torch.randn(4, 8)) * torch.randn(8)).sum().backward()
    optimizer.step()
    off = ~masking.masks()["weight"]
    assert not (off & masking.scores()["weight"].isinf()).any()
    assert masking.sparsity() == (int(off.sum()) / maskable if maskable else 0.0)


def test_partial_masks_store_nothing_but_scores():
    state = nn.Linear(8, 8)
    mask(state, random_part("weights", 0.5))
    assert set(state.state_dict()) == {"weight", "bias", "weight_frozen", "weight_scores"}


def test_recalibration_that_fails_changes_nothing():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.InstanceNorm2d(4, track_running_stats=True))
    model(images())
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="got none"):
        recalibrate(model, [])
    with pytest.raises(RuntimeError, match="expected input"):
        recalibrate(model, [images(), torch.ones(2, 7, 3, 3)])
    assert same(model.state_dict(), before)
    assert model[1].momentum == 0.1
    assert model[1].training


def test_instance_norms_that_track_statistics_follow_the_policy_too():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.InstanceNorm2d(4, track_running_stats=True))
    mask(model, "weights", norms="freeze")
    before = model[1].running_mean.clone()
    model.train()(images())
    assert torch.equal(model[1].running_mean, before)


@pytest.mark.parametrize("init", ["constant", "normal", "kaiming", "magnitude", "squared", power(1.5), 2.5])
def test_initial_scores_depend_on_seed_and_name_only(init):
    first = mask(network(), "weights", init=init, seed=3).scores()
    again = mask(network(), lambda n, p: "mask" if n == "bare" else "freeze", init=init, seed=3).scores()
    assert torch.equal(first["bare"], again["bare"])
    other = mask(network(), "weights", init=init, seed=4).scores()["bare"]
    assert torch.equal(first["bare"], other) == (init not in ("normal", "kaiming"))


def test_initial_scores_follow_their_rules():
    scores = mask(network(), "weights", init="kaiming").scores()["two.weight"]
    assert 0.8 / 27**0.5 < scores.abs().max() <= 1 / 27**0.5
    masking = mask(network(), "weights", init="magnitude")
    for name, values in masking.scores().items():
        torch.testing.assert_close(values, masking.frozen()[name].abs() / masking.frozen()[name].abs().mean())
    masking = mask(network(), "weights", init="squared")
    for name, values in masking.scores().items():
        assert torch.equal(values, masking.frozen()[name] * masking.frozen()[name])
    assert (mask(network(), "weights", init=2.5).scores()["bare"] == 2.5).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"select": lambda n, p: "freeze"},
            "must mask at least one parameter; .* masks none of .*; 'weights' fits any",
        ),
        ({"select": "bert"}, "select must be one of auto, resnet, vit, .* or a callable; got 'bert'"),
        ({"select": lambda n, p: "prune"}, "answers mask, train or freeze; got 'prune' for 'bare'"),
        ({"rescale": "std"}, "rescale must be one of none, variance; got 'std'; the draft uses 'none'"),
        ({"norms": "keep"}, "norms must be one of adapt, freeze; got 'keep'; the paper lets them adapt"),
        ({"init": "ones"}, "init must be one of constant, .* a number or a callable; got 'ones'"),
        ({"init": float("inf")}, "the initial score must be a finite number; got inf; the paper uses 1"),
        (
            {"init": "squared", "criterion": Threshold(0.1)},
            "must have the threshold 0; got 'squared' and mu = 0.1; use",
        ),
        ({"init": power(1.5), "criterion": Threshold(-1)}, r"threshold 0; got power\(1.5\) and mu = -1; use Threshold"),
        ({"init": 0.5, "criterion": Threshold(0.5)}, "must lie above the threshold, .*; got S0 = 0.5 and mu = 0.5"),
    ],
)
def test_bad_arguments_are_refused_and_leave_the_model_alone(arguments, message):
    model = network()
    with pytest.raises(ValueError, match=message):
        mask(model, **({"select": "weights"} | arguments))
    assert same(model.state_dict(), network().state_dict())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_masked_model_is_not_masked_again():
    model = network()
    mask(model.attention, "weights")
    with pytest.raises(ValueError, match="can be masked once; this one, or a part of it, already is; bake or unbake"):
        mask(model, "weights")
    with pytest.raises(ValueError, match="can be masked once"):
        mask(model.attention.out_proj, "weights")


def test_only_floating_point_parameters_are_masked():
    model = nn.Linear(2, 2)
    model.codes = nn.Parameter(torch.ones(2, 2, dtype=torch.int8), requires_grad=False)
    with pytest.raises(ValueError, match=r"only floating-point parameters .*'codes' is torch.int8; freeze it"):
        mask(model, "weights")
    mask(model, lambda name, parameter: "mask" if name == "weight" else "freeze")


def test_a_baked_handle_refuses_to_learn():
    _, masking, _ = trained()
    masking.bake()
    for act in (masking.optimizer, masking.bake, lambda: masking.load_masks({})):
        with pytest.raises(ValueError, match=r"must be masked; this one was baked or unbaked; to go on with its masks"):
            act()


def test_sparsities_count_what_is_off():
    model = nn.Linear(4, 4)
    masking = mask(model, lambda name, parameter: "mask")
    masking.scores()["weight"][0] = -1.0
    masking.apply()
    assert masking.sparsities() == {"weight": 0.25, "bias": 0.0}
    assert masking.sparsity() == 4 / 20
    assert (model.weight[0] == 0).all()


def _first(name, parameter):
    return Decision("mask" if name == "0.weight" else "freeze")


@pytest.mark.parametrize("rescale", ["none", "variance"])
def test_an_average_of_models_is_not_silently_turned_into_masks(rescale):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    masking = submasking.mask(model, select=_first, init="normal", rescale=rescale)
    average = torch.optim.swa_utils.AveragedModel(model, use_buffers=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    average.update_parameters(model)
    model.load_state_dict(average.module.state_dict())  # of a single model it is the model
    with torch.no_grad():
        masking.scores()["0.weight"].neg_()
    masking.apply()
    average.update_parameters(model)
    state = average.module.state_dict()
    now = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"'0.weight' is not, as in an average of models"):
        model.load_state_dict(state)
    assert all(torch.equal(value, now[name]) for name, value in model.state_dict().items())
    half = {name: value.bfloat16() if name.endswith("0.weight") else value for name, value in before.items()}
    model.load_state_dict(half)
    assert torch.equal(model(torch.ones(1, 6)), model(torch.ones(1, 6)))
