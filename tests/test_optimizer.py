import copy
import io
import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import literal_mask, mask_in_forward
from torch import nn

from submasking import Threshold, TopK, mask
from submasking.masking.optimizer import update
from submasking.tasks import maskfile

SETTINGS = [
    (Threshold(0.0), "none"),
    (Threshold(-0.3), "none"),
    (Threshold(0.2), "variance"),
    (TopK(0.6), "none"),
    (TopK(0.6), "variance"),
]


def network(dtype=torch.float64) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 5 * 5, 3)]
    return nn.Sequential(*layers).to(dtype)


def batches(count: int, dtype=torch.float64):
    random = torch.Generator().manual_seed(1)
    for _ in range(count):
        images = torch.randn(6, 3, 5, 5, generator=random, dtype=dtype)
        yield images.to(memory_format=torch.channels_last), torch.randint(0, 3, (6,), generator=random)


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, count: int, dtype=torch.float64) -> None:
    for images, labels in batches(count, dtype):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


def literal(criterion, rescale, count=50, lr=3.0, momentum=0.9):
    model = network()
    names = ("0.weight", "4.weight")
    scores = mask_in_forward(model, names, lambda s: literal_mask(s, criterion), rescale)
    learn(model, torch.optim.SGD(scores.values(), lr=lr, momentum=momentum), count)
    return {name: literal_mask(score.detach(), criterion) for name, score in scores.items()}


@pytest.mark.parametrize(("criterion", "rescale"), SETTINGS)
@pytest.mark.parametrize("way", ["fused", "in backward", "attached"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_fifty_steps_give_the_masks_of_the_literal_reference(criterion, rescale, way, layout):
    model = network().to(memory_format=layout)
    masking = mask(model, "weights", criterion, rescale=rescale)
    if way in ("fused", "in backward"):
        optimizer = masking.optimizer(lr=3.0, in_backward=way == "in backward")
    else:
        optimizer = masking.attach(torch.optim.SGD(masking.scores().values(), lr=3.0, momentum=0.9))
    learn(model, optimizer, 50)
    expected = literal(criterion, rescale)
    assert 0.0 < masking.sparsity() < 1.0
    assert all(torch.equal(found, expected[name]) for name, found in masking.masks().items())


def test_weights_are_frozen_weights_under_the_mask_after_every_step():
    model = network(torch.float32)
    masking = mask(model, "weights")
    frozen = {name: theta.clone() for name, theta in masking.frozen().items()}
    optimizer = masking.optimizer(lr=3.0)
    for images, labels in batches(5, torch.float32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        for name, on in masking.masks().items():
            assert torch.equal(model.get_parameter(name), frozen[name] * on)


@given(st.floats(0.01, 30.0), st.floats(0.0, 0.99), st.integers(0, 1000))
def test_one_step_is_that_of_torch_sgd(lr, momentum, seed):
    scores = {}
    for way in ("fused", "attached"):
        torch.manual_seed(seed)
        model = nn.Linear(5, 4, bias=False)
        masking = mask(model, "weights", init="normal", seed=seed)
        if way == "fused":
            optimizer = masking.optimizer(lr, momentum)
        else:
            optimizer = masking.attach(torch.optim.SGD(masking.scores().values(), lr, momentum))
        for _ in range(3):
            model(torch.ones(2, 5)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        scores[way] = masking.scores()["weight"]
    torch.testing.assert_close(scores["fused"], scores["attached"], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_compiled_update_gives_the_same_masks_and_compiles_at_most_twice():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    found = []
    for compiled in (False, True):
        model = network(torch.float32)
        masking = mask(model, "weights")
        optimizer = masking.optimizer(lr=3.0, compiled=compiled)
        for step, (images, labels) in enumerate(batches(6, torch.float32)):
            optimizer.param_groups[0]["lr"] = 3.0 - 0.1 * step
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        assert optimizer.compiled is compiled
        found.append(masking.masks())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    # one for the first learning rate, one for any other
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2


@pytest.mark.parametrize("rescale", ["none", "variance"])
def test_update_is_one_graph(rescale):
    torch.manual_seed(0)
    tensors = [torch.randn(50) for _ in range(5)]
    twins = [tensor.clone() for tensor in tensors]
    for held, way in ((tensors, update), (twins, torch.compile(update, fullgraph=True, backend="eager"))):
        effective = held[2] * (held[3] > 0)
        held[0].copy_(effective / (held[3] > 0).float().mean().sqrt() if rescale == "variance" else effective)
        way(*held, torch.tensor(3.0), 0.9, Threshold(), rescale)
    for found, expected in zip(twins, tensors, strict=True):
        torch.testing.assert_close(found, expected)


def test_updates_are_compiled_when_told_and_possible():
    assert not mask(network(), "weights").optimizer().compiled
    assert mask(network(), "weights").optimizer(compiled=True).compiled
    assert not mask(network(), "weights", TopK(0.5)).optimizer(compiled=True).compiled


@pytest.mark.parametrize("compiled", [False, True])
def test_autograd_notices_weights_that_changed_between_forward_and_backward(compiled):
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    optimizer = mask(model, "weights").optimizer(compiled=compiled)
    early = model(torch.ones(1, 4)).sum()
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        early.backward()


def test_without_a_compiler_it_warns_once_and_goes_on(monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no compiler here\nand much else")

    monkeypatch.setattr("submasking.masking.optimizer._compiled", lambda: broken)
    model = network()
    masking = mask(model, "weights")
    optimizer = masking.optimizer(lr=3.0, compiled=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        learn(model, optimizer, 50)
    assert [str(w.message) for w in caught] == ["masks are updated without a compiler, which gave: no compiler here"]
    expected = literal(Threshold(0.0), "none")
    assert all(torch.equal(found, expected[name]) for name, found in masking.masks().items())


def test_training_resumes_exactly_from_state_dicts():
    model = network()
    optimizer = mask(model, "weights").optimizer(lr=3.0)
    learn(model, optimizer, 10)
    saved = io.BytesIO()
    torch.save((model.state_dict(), optimizer.state_dict()), saved)
    again = network()
    masking = mask(again, "weights")
    other = masking.optimizer(lr=1.0)
    saved.seek(0)
    states = torch.load(saved)
    again.load_state_dict(states[0])
    other.load_state_dict(states[1])
    learn(model, optimizer, 10)
    learn(again, other, 10)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_momentum_keeps_float32_through_a_state_dict_of_a_bfloat16_model():
    model = network(torch.bfloat16)
    masking = mask(model, "weights")
    optimizer = masking.optimizer(lr=3.0)
    learn(model, optimizer, 2, torch.bfloat16)
    before = [state["momentum_buffer"].clone() for state in optimizer.state.values()]
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    after = [state["momentum_buffer"] for state in optimizer.state.values()]
    assert all(a.dtype == torch.float32 and torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_parameters_without_gradient_stay_as_they_are():
    model = network()
    masking = mask(model, "weights")
    before = {name: scores.clone() for name, scores in masking.scores().items()}
    with pytest.warns(UserWarning, match="none of the masked parameters has one"):
        masking.optimizer(lr=3.0).step()
    assert all(torch.equal(scores, before[name]) for name, scores in masking.scores().items())


def test_closure_is_evaluated():
    model = network()
    masking = mask(model, "weights")
    (images, _), optimizer = next(iter(batches(1))), masking.optimizer(lr=300.0)

    def closure():
        loss = model(images).square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() > 0
    assert masking.sparsity() > 0


def test_gradients_that_are_not_finite_are_refused_before_anything_changes():
    model = network()
    masking = mask(model, "weights")
    optimizer = masking.optimizer()
    (model(torch.full((2, 3, 5, 5), float("nan"), dtype=torch.float64))).sum().backward()
    with pytest.raises(ValueError, match=r"gradients must be finite; that of '0.weight' holds NaN or infinity; look"):
        optimizer.step()
    assert all((scores == 1).all() for scores in masking.scores().values())


@given(
    st.integers(0, 20), st.sampled_from([math.nan, math.inf, -math.inf]), st.booleans(),
    st.sampled_from(["none", "variance"]),
)  # fmt: skip
def test_a_gradient_that_is_not_finite_in_any_tensor_changes_nothing(which, value, attached, rescale):
    model = network()
    masking = mask(model, "weights", rescale=rescale)
    optimizer = masking.attach(torch.optim.SGD(masking.scores().values(), lr=9.0)) if attached else masking.optimizer()
    (model(torch.ones(2, 3, 5, 5, dtype=torch.float64)) ** 2).sum().backward()
    name = list(masking.scores())[which % len(masking.targets)]
    masking.parameter(name).grad.view(-1)[which % masking.parameter(name).numel()] = value
    with pytest.raises(ValueError, match=f"that of {name!r} holds NaN or infinity"):
        optimizer.step()
    assert all((scores == 1).all() for scores in masking.scores().values())
    assert not masking.inexact()


BETWEEN = {
    "nothing": lambda masking, model: None,
    "scores by hand": lambda masking, model: (next(iter(masking.scores().values()))[0].sub_(9.0), masking.apply()),
    "other scores": lambda masking, model: masking.load_masks({n: m.flip(0) for n, m in masking.masks().items()}),
    "load": lambda masking, model: model.load_state_dict(copy.deepcopy(model.state_dict())),
    "cast": lambda masking, model: model.double().float(),
}


@given(st.lists(st.sampled_from(list(BETWEEN)), max_size=4), st.sampled_from([Threshold(0.1), TopK(0.6)]))
def test_what_weights_were_divided_by_is_known_from_the_last_step_or_looked_up(between, criterion):
    """The optimizer that remembers it gives the bits of one that looks it up at each step."""
    found = []
    for forgets in (False, True):
        model = network(torch.float32)
        masking = mask(model, "weights", criterion, rescale="variance")
        optimizer = masking.optimizer(lr=0.5)
        for name in ["nothing", *between, "nothing"]:
            with torch.no_grad():
                BETWEEN[name](masking, model)
            if forgets:
                optimizer._alphas.clear()
            learn(model, optimizer, 2, torch.float32)
        found.append([*masking.scores().values(), *model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert len(optimizer._alphas) == 2


def test_a_compiler_that_breaks_within_a_step_leaves_the_step_as_it_is(monkeypatch):
    """What was summed up for a compiled step is not taken for what a plain one needs."""
    calls = []

    def broken(*arguments):
        if calls:
            raise RuntimeError("no compiler any more")
        calls.append(update(*arguments))

    found = []
    for compiled in (False, True):
        model = network(torch.float32)
        masking = mask(model, "weights", rescale="variance")
        monkeypatch.setattr("submasking.masking.optimizer._compiled", lambda: broken)
        optimizer = masking.optimizer(lr=1.0, compiled=compiled)
        with warnings.catch_warnings(action="ignore"):
            learn(model, optimizer, 1, torch.float32)
        assert (len(calls), optimizer.compiled) == (compiled, False)
        found.append(torch.cat([scores.flatten() for scores in masking.scores().values()]))
    torch.testing.assert_close(*found)


def test_scores_that_are_none_are_no_task(tmp_path):
    model = network()
    masking = mask(model, "weights")
    name, scores = list(masking.scores().items())[-1]
    scores.view(-1)[0] = math.nan
    masking.apply()
    with pytest.raises(ValueError, match=f"the scores of {name!r} and 0 others hold NaN, from which no mask follows"):
        maskfile.save(tmp_path / "task", masking)


def test_gradients_are_clipped_scaled_and_cleared_as_ever():
    """Clipping, a GradScaler with a power of two and both ways to clear gradients leave the masks what they were."""
    found = []
    for scaled in (False, True):
        model = network(torch.float32)
        masking = mask(model, "weights")
        optimizer = masking.optimizer(lr=30.0)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8, enabled=scaled)
        for images, labels in batches(6, torch.float32):
            optimizer.zero_grad(set_to_none=not scaled)
            scaler.scale(nn.functional.cross_entropy(model(images), labels)).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        found.append(masking.masks())
        assert masking.sparsity() > 0
    assert all(torch.equal(on, found[1][name]) for name, on in found[0].items())


def test_a_step_that_the_scaler_skips_changes_nothing():
    model = network(torch.float32)
    masking = mask(model, "weights")
    optimizer, scaler = masking.optimizer(lr=30.0), torch.amp.GradScaler("cpu", init_scale=2.0**8)
    scaler.scale(model(torch.ones(2, 3, 5, 5)).square().sum() * float("inf")).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**7
    assert all((scores == 1).all() for scores in masking.scores().values())


@pytest.mark.parametrize("way", ["fused", "attached"])
def test_sparse_gradients_of_an_embedding_count(way):
    torch.manual_seed(0)
    model = nn.Embedding(5, 3, sparse=True)
    masking = mask(model, "weights")
    optimizer = masking.optimizer(lr=100.0)
    if way == "attached":
        optimizer = masking.attach(torch.optim.SGD(masking.scores().values(), lr=100.0, momentum=0.9))
    model(torch.tensor([1, 2, 2])).square().sum().backward()
    optimizer.step()
    assert [bool(row.all()) for row in masking.masks()["weight"]] == [True, False, False, True, True]


def test_a_second_parameter_group_is_refused():
    model = network()
    optimizer = mask(model, "weights").optimizer()
    with pytest.raises(ValueError, match=r"must have one group, the masked parameters; got another; give trained"):
        optimizer.add_param_group({"params": [model[1].weight]})


@pytest.mark.parametrize("end", ["bake", "unbake"])
def test_an_optimizer_leaves_a_baked_model_alone(end):
    model = network()
    masking = mask(model, "weights")
    optimizer = masking.optimizer(lr=3.0)
    learn(model, optimizer, 2)
    getattr(masking, end)()
    with pytest.raises(ValueError, match=r"this one was baked or unbaked; to go on with its masks"):
        learn(model, optimizer, 1)
    with pytest.raises(ValueError, match="this one was baked or unbaked"):
        masking.apply()


def test_replaced_parameters_are_noticed():
    model = network()
    masking = mask(model, "weights")
    optimizer = masking.optimizer()
    model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    with pytest.raises(ValueError, match=r"'0.weight' was replaced since; call masking.optimizer again"):
        optimizer.step()


@pytest.mark.parametrize(("argument", "value"), [("lr", -1.0), ("lr", float("nan")), ("momentum", 1.0)])
def test_arguments_out_of_range_are_refused(argument, value):
    with pytest.raises(ValueError, match=rf"{argument} must .*; got .*; the paper uses"):
        mask(network(), "weights").optimizer(**{argument: value})
