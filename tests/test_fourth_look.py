"""What a fourth hostile user found: modules of two names that are looked at, tasks added beside others' questions."""

import copy
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from submasking import Bank, mask, maskfile, of
from submasking.tasks.heads import called, tried

IMAGES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A small network in which some modules may have two names."""

    def __init__(self, twice=(), classes=3, seed=0):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        torch.manual_seed(seed)
        self.fc = nn.Linear(8, classes)
        for name in twice:
            setattr(self, f"a_{name}", getattr(self, name))
            setattr(self, f"z_{name}", nn.Sequential(getattr(self, name)))

    def forward(self, images):
        return self.fc(functional.relu(self.norm(self.conv(images))).mean((2, 3)))


def trained(model):
    masking = mask(model, init="normal")
    random = torch.Generator().manual_seed(1)
    optimizers = masking.optimizers(lr=0.3)
    for _ in range(3):
        labels = torch.randint(0, model.fc.out_features, (8,), generator=random)
        functional.cross_entropy(model(torch.randn(8, 3, 12, 12, generator=random)), labels).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return masking


def state(model):
    held = [(name, id(value), type(value)) for name, value in model.named_parameters(remove_duplicate=False)]
    held += [(name, id(value), type(value)) for name, value in model.named_buffers(remove_duplicate=False)]
    return held, {name: value.clone() for name, value in model.state_dict().items()}


def same(first, second):
    return first[0] == second[0] and all(torch.equal(value, second[1][name]) for name, value in first[1].items())


@given(st.sets(st.sampled_from(["conv", "norm", "fc"])))
def test_a_network_is_only_looked_at_whatever_has_two_names(twice):
    model = Net(twice)
    before = state(model)
    other = {name: value + 1 if value.is_floating_point() else value for name, value in model.state_dict().items()}
    plain = Net()
    plain.load_state_dict({name: other[name] for name in plain.state_dict()})
    with torch.no_grad():
        found = tried(model, IMAGES, {name: other[name] for name in plain.state_dict()})
        assert torch.equal(found, plain.eval()(IMAGES))
    assert same(before, state(model))


def test_a_parameter_of_two_modules_is_put_into_both():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    with torch.no_grad():
        given = {"0.weight": torch.eye(4), "0.bias": torch.zeros(4), "2.bias": torch.ones(4)}
        found = called(model, given, torch.ones(1, 4))
    assert torch.equal(found, torch.full((1, 4), 2.0))
    assert model[2].weight is model[0].weight


@pytest.mark.parametrize("twice", [("norm",), ("fc",), ("conv",), ("conv", "norm", "fc")])
@pytest.mark.parametrize("classes", [3, 5])
def test_a_task_goes_where_another_first_classifier_is(tmp_path, twice, classes):
    """Its classifier, of two names, is no part of the backbone; and all comes back."""
    model = Net(twice, classes, seed=1)
    masking = trained(model)
    maskfile.save(tmp_path / "task", masking)
    with torch.no_grad():
        expected = model.eval()(IMAGES)
        plain = Net(twice, 3, seed=2).eval()
        before, answers = state(plain), plain(IMAGES)
        bank = Bank(plain)
        bank.add("added", tmp_path / "task")
        assert same(before, state(plain))
        bank.take("taken", masking)
        for name in ("added", "taken"):
            assert torch.equal(bank.logits(name, IMAGES), expected)
        bank.release()
        assert torch.equal(plain(IMAGES), answers)
        laid = Net(twice, classes, seed=3).eval()
        answers = laid(IMAGES)
        maskfile.load(tmp_path / "task").apply(laid)
        assert torch.equal(laid(IMAGES), expected)
        of(laid).unbake()
        assert torch.equal(laid(IMAGES), answers)
        assert all(type(parameter) is nn.Parameter for parameter in laid.parameters())


def test_a_classifier_that_is_not_of_two_names_there_is_told(tmp_path):
    maskfile.save(tmp_path / "task", trained(Net(("fc",))))
    with pytest.raises(maskfile.MaskFileError):
        maskfile.load(tmp_path / "task").apply(Net())


@pytest.mark.parametrize("way", ["add", "take"])
def test_tasks_come_and_go_while_another_thread_asks(tmp_path, way):
    first, second = trained(Net()), trained(Net(classes=4))
    files = [maskfile.save(tmp_path / name, masking) for name, masking in (("first", first), ("second", second))]
    bank = Bank(Net())
    bank.add("first", files[0])
    expected, wrong, done = bank.logits("first", IMAGES), [], threading.Event()

    def ask():
        while not done.is_set():
            if not torch.equal(bank.logits("first", IMAGES), expected):
                wrong.append(1)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(30):
            bank.add("second", files[1]) if way == "add" else bank.take("second", second)
            bank.remove("second")
    finally:
        done.set()
        asking.join()
    assert not wrong


class Drawing(Net):
    def forward(self, images):
        return functional.dropout(super().forward(images), 0.5, training=True)


def test_saving_and_laying_on_leave_the_random_state(tmp_path):
    masking, bank, head = mask(Drawing()), Bank(Drawing()), nn.Linear(3, 2)
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    file = maskfile.save(tmp_path / "task", masking, head=head)
    assert file.backbone["said"] == {}
    file.apply(copy.deepcopy(masking.model))
    bank.add("added", file)
    bank.take("taken", masking)
    assert torch.equal(torch.rand(3), wanted)


def test_a_buffer_that_has_grown_is_refused_when_it_is_saved(tmp_path):
    model = Net()
    model.register_buffer("memory", torch.zeros(0, 8))
    masking = mask(model)
    model.memory = torch.ones(20, 8)
    with pytest.raises(
        ValueError, match=r"'memory' was \(0, 8\) when the model was masked and is \(20, 8\); make it as"
    ):
        maskfile.save(tmp_path / "task", masking)
    assert not list(tmp_path.iterdir())


class Never(Net):
    def eval(self):
        raise RuntimeError("not this")


def test_a_network_that_cannot_be_asked_is_saved_all_the_same(tmp_path):
    assert maskfile.save(tmp_path / "task", mask(Never())).backbone["said"] == {}
