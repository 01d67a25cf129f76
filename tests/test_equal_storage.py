"""Accuracy against bytes: forms say what they hold, rivals begin where the backbone is, a front is a front."""

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_maskfile import small

from submasking.experiments.analyses import equal_storage, forms, rivals
from submasking.experiments.analyses.forms import EXACT, ROUNDED, SIGNS, Task, stored
from submasking.learning.backbone import Backbone
from submasking.report import equal_storage as report
from submasking.tasks.heads import linear_head
from submasking.worlds import networks


def tuned(seed):
    """A small network whose every parameter has moved a little."""
    before, torch_seed = small(), torch.Generator().manual_seed(seed)
    after = copy.deepcopy(before)
    with torch.no_grad():
        for value in after.parameters():
            value.add_(0.01 * torch.randn(value.shape, generator=torch_seed))
    names = tuple(name for name, _ in after.named_parameters())
    return Task(after, linear_head(6, 3, seed=seed), names, dict(before.named_parameters()))


def state(task):
    return {name: value.clone() for part in (task.trunk, task.head) for name, value in part.state_dict().items()}


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_fewer_bits_take_fewer_bytes_and_the_network_is_what_it_was_in_the_end(seed):
    task = tuned(seed)
    before, sizes = state(task), {}
    for form, size in stored(task, (EXACT, *ROUNDED, SIGNS), lambda trunk: None):
        sizes[form] = size
        if form == EXACT:
            assert all(torch.equal(value, before[name]) for name, value in state(task).items())
    assert all(torch.equal(value, before[name]) for name, value in state(task).items())
    assert all(sizes[more].learned >= sizes[fewer].learned for more, fewer in pairwise((EXACT, *ROUNDED)))
    assert sizes[SIGNS].learned == sum(-(-v.numel() // 8) + 4 for v in task.trunk.parameters())
    assert sizes["10 bits"].beside < sizes[EXACT].beside


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([*ROUNDED]))
def test_a_rounded_difference_is_off_by_half_a_step_at_most(seed, form):
    task = tuned(seed)
    exact = {name: value.detach().clone() for name, value in task.trunk.named_parameters()}
    for _ in stored(task, (form,), lambda trunk: None):
        for name, value in task.trunk.named_parameters():
            size = (exact[name] - task.before[name]).square().mean().sqrt()
            assert (value - exact[name]).abs().max() <= 0.5 * size / 2 ** ROUNDED[form] + 1e-6


def test_signs_move_every_weight_of_a_tensor_by_as_much():
    task = tuned(0)
    for _ in stored(task, (SIGNS,), lambda trunk: None):
        for name, value in task.trunk.named_parameters():
            moved = (value - task.before[name]).abs()
            assert torch.allclose(moved, moved.mean(), rtol=1e-3, atol=1e-7)


def test_statistics_are_settled_only_where_weights_move_far():
    called = []
    done = [form for form, _ in stored(tuned(1), (EXACT, "10 bits", "1 bit", SIGNS), lambda trunk: called.append(1))]
    assert len(done) == 4
    assert len(called) == 2


def backbone(architecture):
    torch.manual_seed(0)
    trunk = networks.clip(architecture, 24)[0] if architecture == "clip-vit" else networks.trunk(architecture, 24)
    preset = "vit" if architecture == "clip-vit" else "resnet"
    return Backbone(trunk.eval(), 128, preset, (0.5,) * 3, (0.25,) * 3, 24)


@pytest.mark.parametrize("architecture", ["resnet18-small", "clip-vit"])
@pytest.mark.parametrize("way", rivals.RIVALS)
def test_a_rival_begins_where_the_backbone_is_and_learns_little(architecture, way):
    plain = backbone(architecture)
    start, select = rivals.prepared(plain, rivals.RIVALS[way], seed=3)
    images = torch.randn(2, 3, 24, 24)
    with torch.inference_mode():
        assert torch.allclose(start.trunk.eval()(images), plain.trunk(images), atol=1e-5)
    learns = {name: value for name, value in start.trunk.named_parameters() if select(name, value) == "mask"}
    assert 0 < sum(value.numel() for value in learns.values()) < 0.2 * sum(v.numel() for v in plain.trunk.parameters())
    if way == "biases":
        assert all(name.endswith("bias") for name in learns)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_one_bit_is_a_sign_and_a_mean_size_and_lets_the_gradient_through(seed, count):
    weight = torch.randn(count, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    made = rivals.OneBit()(weight)
    assert torch.allclose(made, weight.sign() * weight.abs().mean(), atol=1e-6)
    (made * torch.arange(count)).sum().backward()
    assert torch.equal(weight.grad, torch.arange(count).float())


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20)), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats_and_all_else_is_beaten_by_it(pairs):
    rows = [{"model": "a", "dataset": "b", "bytes": size, "accuracy": right / 20} for size, right in pairs]
    ahead = [row for row in rows if not any(equal_storage._beats(other, row) for other in rows)]
    assert ahead
    for row in rows:
        assert row in ahead or any(equal_storage._beats(one, row) for one in ahead)


def tables():
    ways = {"LP": 0.4, "norms": 0.6, "biases": 0.55, "LoRA": 0.6, "one-bit LoRA": 0.5, "FS": 0.65, "FFT": 0.7}
    points = [
        {"model": model, "dataset": name, "way": way, "form": form, "accuracy": right + 0.01 * place, "low": low,
         "high": 0.9, "seeds": 2, "images": 9, "learned_bytes": 10, "beside_bytes": 5,
         "bytes": 900 * (place + 1) + 100 * (form == EXACT), "front": form == "10 bits"}
        for model in ("rn18-timm", "vitb32-clip") for name, low in (("dtd", 0.2), ("all", None))
        for place, (way, right) in enumerate(ways.items()) for form in (EXACT, "10 bits")
    ]  # fmt: skip
    return {"points": points}


@pytest.mark.parametrize("name", report.FIGURES)
@pytest.mark.parametrize("dark", [False, True])
def test_every_figure_is_drawn_with_a_mark_for_each_form(name, dark):
    figure = report.FIGURES[name](tables(), dark=dark)
    assert len(figure.axes) == (2 if name == "front" else 1)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {label for label, *_ in report.LOOKS.values()}


def test_the_answer_names_the_front_from_the_cheapest_on():
    told = report.answer(tables())
    assert told.index("linear probe") < told.index("masks (10 bits)") < told.index("difference of fine-tuning")
    assert "are on the front" in told
    assert forms.BITS == 10
