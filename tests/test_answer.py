"""A task says on a network what it said where it was saved, or is refused: weights do not tell an activation."""

import copy
import json
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from submasking import Bank, mask, maskfile
from submasking.masking.structure import hooked, unhooked
from submasking.tasks import answer, container, stored
from submasking.tasks.maskfile import MaskFileError

LIKE = {"size": 12}  # pixels


class Net(nn.Module):
    """Takes pictures of any size; what lies between its tensors is given."""

    def __init__(self, act=nn.functional.relu, pool="mean", stride=1, classes=0):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3, stride=stride)
        self.norm, self.fc = nn.BatchNorm2d(8), nn.Linear(16, classes) if classes else nn.Identity()
        self.act, self.pool = act, pool

    def forward(self, images):
        found = self.act(self.second(self.act(self.norm(self.first(images)))))
        return self.fc(found.amax((2, 3)) if self.pool == "max" else found.mean((2, 3)))


class Gray(Net):
    """Takes pictures of one channel."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3)


OTHERS = {
    "activation": {"act": nn.functional.silu},
    "no activation": {"act": lambda x: x},
    "pooling": {"pool": "max"},
    "stride": {"stride": 2},
}


def saved(path, *, steps=2, preprocessing=LIKE, rescale="none", norms="adapt", **built):
    model = Net(**built)
    masking = mask(model, "weights", init="normal", rescale=rescale, norms=norms)
    optimizer, generator = masking.optimizer(lr=0.3), torch.Generator().manual_seed(3)
    for _ in range(steps):
        (model(torch.randn(8, 3, 12, 12, generator=generator)) ** 2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return maskfile.save(path, masking, preprocessing=preprocessing), masking


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("rescale", ["none", "variance"])
def test_a_network_with_the_same_tensors_is_refused_where_it_computes_something_else(tmp_path, name, rescale):
    file, _ = saved(tmp_path / "task", rescale=rescale)
    other = Net(**OTHERS[name])
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(MaskFileError, match=r"same tensors, but .*% of their length away: another activation, stride"):
        file.apply(other)
    bank = Bank(other)
    with pytest.raises(MaskFileError, match="another activation"):
        bank.add("task", file)
    assert not bank.tasks
    assert before.keys() == other.state_dict().keys()
    assert all(torch.equal(value, before[key]) for key, value in other.state_dict().items())
    file.apply(Net())


@settings(max_examples=10)
@given(st.integers(0, 3), st.sampled_from(["none", "variance"]), st.sampled_from(["adapt", "freeze"]), st.booleans())
def test_the_network_itself_is_taken_in_train_mode_masked_or_in_a_bank(tmp_path_factory, steps, rescale, norms, train):
    file, masking = saved(tmp_path_factory.mktemp("t") / "task", steps=steps, rescale=rescale, norms=norms)
    assert file.backbone["said"]["size"] == LIKE["size"], masking.sparsity()
    model = Net().train(train)
    bank = Bank(copy.deepcopy(model))
    bank.add("task", file)
    handle = file.apply(model)
    file.apply(handle.model)  # once more, over itself
    assert model.training == train
    images = torch.randn(2, 3, 12, 12)
    assert torch.equal(model.eval()(images), masking.model.eval()(images))
    assert torch.equal(bank.use("task").eval()(images), model(images))


def test_other_weights_of_half_the_precision_are_still_the_task(tmp_path):
    model = Net().bfloat16()
    masking = mask(model, "weights")
    file = maskfile.save(tmp_path / "task", masking, preprocessing=LIKE)
    file.apply(Net().bfloat16())


def halves(layer):
    for parameter in layer.parameters():
        nn.init.constant_(parameter, 0.5)
    return layer


@pytest.mark.parametrize(
    ("model", "preprocessing"),
    [
        (lambda: Gray(), LIKE),  # takes other pictures
        (lambda: nn.Sequential(halves(nn.Linear(4, 2))), {}),
        (lambda: nn.Sequential(halves(nn.Linear(4, 2))), LIKE),  # takes no pictures
        (lambda: nn.Sequential(halves(nn.Conv2d(3, 4, 3))), LIKE),  # gives no features
        (lambda: Net(act=lambda x: x * torch.rand(())), LIKE),  # never says the same twice
        (lambda: Net(act=lambda x: x * 0), LIKE),  # says nothing
        (lambda: Net(act=lambda x: x / 0 * 0), LIKE),
    ],
)
def test_what_cannot_be_told_is_left_out(tmp_path, model, preprocessing):
    file = maskfile.save(tmp_path / "task", mask(model(), "weights"), preprocessing=preprocessing)
    assert file.backbone["said"] == {}
    file.apply(model())


def test_a_file_of_before_has_no_answer(tmp_path):
    saved(tmp_path / "task")
    content = container.read(tmp_path / "task")
    del content.description["backbone"]["said"]
    assert stored.parsed(content, 1)[0].backbone["said"] == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 10**9, "numbers": [1.0]},
        {"size": 0, "numbers": [1.0]},
        {"size": True, "numbers": [1.0]},
        {"size": 9, "numbers": []},
        {"size": 9, "numbers": [1.0] * 9},
        {"size": 9, "numbers": [float("inf")]},
        {"size": 9, "numbers": ["1"]},
        {"size": 9},
        ["size"],
    ],
)
def test_a_stranger_s_answer_is_refused(tmp_path, wrong):
    saved(tmp_path / "task")
    content = container.read(tmp_path / "task")
    content.description["backbone"]["said"] = wrong
    with pytest.raises((ValueError, KeyError, TypeError)):
        stored.parsed(content, 1)


def test_the_picture_is_the_same_everywhere():
    assert answer.picture(2).flatten().tolist()[:3] == [-0.7466675043106079, -0.45567288994789124, 0.3712083101272583]
    assert -1 <= float(answer.picture(64).min()) < -0.99
    assert abs(float(answer.picture(64).mean())) < 0.01


def times(factor):
    return lambda *given: given[-1] * factor


HOOKS = {
    "after": lambda model: model.second.register_forward_hook(times(-1.0)),
    "before": lambda model: model.norm.register_forward_pre_hook(lambda module, given: (given[0] * 3,)),
    "at the top": lambda model: model.register_forward_hook(times(2.0)),
    "a forward of its own": lambda model: setattr(model.first, "forward", lambda images: images.new_ones(1, 8, 4, 4)),
}


@pytest.mark.parametrize("name", HOOKS)
def test_hooks_that_came_after_masking_and_change_the_network_are_refused(tmp_path, name):
    model = Net()
    masking = mask(model, "weights")
    HOOKS[name](model)
    before = model.eval()(torch.ones(1, 3, 12, 12))
    for one in (masking, mask_of(copy.deepcopy(model))):
        with pytest.raises(ValueError, match="came after masking and change its features; take them off"):
            maskfile.save(tmp_path / "task", one, preprocessing=LIKE)
    assert not (tmp_path / "task").exists()
    assert torch.equal(model(torch.ones(1, 3, 12, 12)), before)


def mask_of(model):
    from submasking.masking.masks import of

    return of(model)


def test_hooks_that_only_look_are_let_pass_and_those_of_before_are_the_network(tmp_path):
    model, seen = Net(), []
    model.first.register_forward_hook(times(2.0))
    masking = mask(model, "weights")
    model.second.register_forward_hook(lambda module, given, found: seen.append(found.shape))
    file = maskfile.save(tmp_path / "task", masking, preprocessing=LIKE)
    assert seen
    with pytest.raises(MaskFileError, match="same tensors"):
        file.apply(Net())


def test_hooks_of_which_nothing_can_be_told_are_warned_of(tmp_path):
    model = Gray()
    masking = mask(model, "weights")
    model.register_forward_hook(times(2.0))
    with pytest.warns(UserWarning, match="a task is stored without hooks; this model has 1 forward hooks"):
        maskfile.save(tmp_path / "task", masking)


@given(st.lists(st.sampled_from(["_forward_hooks", "_forward_pre_hooks", "forward"]), max_size=6), st.integers(0, 6))
def test_without_hooks_and_back_everything_is_in_its_order(kinds, first):
    model, called = Net(), []

    def put(kind, number):
        module = model.second
        if kind == "forward":
            own = type(module).forward
            module.forward = lambda images: (called.append(number), own(module, images))[1]
        elif kind == "_forward_hooks":
            module.register_forward_hook(lambda *unused: called.append(number), prepend=number % 2 == 0)
        else:
            module.register_forward_pre_hook(lambda *unused: called.append(number), prepend=number % 2 == 0)

    for number, kind in enumerate(kinds[:first]):
        put(kind, number)
    known = hooked(model)
    for number, kind in enumerate(kinds[first:], 50):
        put(kind, number)
    images = torch.ones(1, 3, 12, 12)
    model(images)
    before = called.copy()
    called.clear()
    with unhooked(model, hooked(model) - known):
        model(images)
    if "forward" not in kinds[:first] or "forward" not in kinds[first:]:  # else the place was taken before
        assert set(called) == {number for number in before if number < 50}
    called.clear()
    model(images)
    assert called == before


def test_a_bank_does_not_take_a_task_whose_hooks_it_would_lose():
    model = Net()
    model.pretrained_cfg = {"input_size": (3, 12, 12)}  # as a network of timm says it
    bank, masking = Bank(copy.deepcopy(model)), mask(model, "weights")
    handle = model.second.register_forward_hook(times(-1.0))
    with pytest.raises(ValueError, match="came after masking"):
        bank.take("task", masking)
    handle.remove()
    bank.take("task", masking)


def test_the_description_is_what_the_page_says(tmp_path):
    file, _ = saved(tmp_path / "task")
    text = json.dumps(file.backbone["said"])
    assert len(text) < 150
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert maskfile.load(tmp_path / "task").backbone["said"] == file.backbone["said"]
