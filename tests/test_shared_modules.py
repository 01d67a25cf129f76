"""A module, or a parameter, that a model has under two names is stored once and laid on again."""

import copy

import pytest
import torch
from torch import nn

from submasking import Bank, mask
from submasking.tasks import maskfile


class Shared(nn.Module):
    """A block, a norm and a classifier, each of them in two places."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.fc = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
        self.again, self.after, self.classifier = self.first, self.norm, self.fc

    def forward(self, x):
        return self.classifier(self.after(self.again(self.norm(self.first(x)))))


class Tied(nn.Module):
    """Two layers with one weight, which is trained."""

    def __init__(self):
        super().__init__()
        self.masked, self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.two(self.one(self.masked(x)))


def stacked():
    return nn.Sequential(*[nn.Linear(8, 8)] * 3)


def in_two_places(name, parameter):
    if name in ("first.weight", "0.weight", "masked.weight"):
        return "mask"
    return "train" if name.startswith(("fc.", "one.")) else "freeze"


@pytest.mark.parametrize(
    ("network", "select"),
    [
        (stacked, in_two_places), (Shared, in_two_places), (Tied, in_two_places), (stacked, "weights"),
        (Shared, "weights"), (Tied, "weights"), (Shared, "auto"), (Tied, "auto"),
    ],
)  # fmt: skip
def test_what_has_two_names_is_saved_laid_on_and_taken(network, select, tmp_path):
    torch.manual_seed(0)
    model, x = network(), torch.randn(16, 8)
    plain = copy.deepcopy(model).eval()
    masking = mask(model, select)
    for optimizer in masking.optimizers(lr=20.0, trained_lr=0.1):
        for _ in range(3):
            model.train()(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    wanted = model.eval()(x)
    task = maskfile.save(tmp_path / "task.safetensors", model)
    laid = copy.deepcopy(plain)
    maskfile.load(tmp_path / "task.safetensors").apply(laid)
    assert torch.equal(laid(x), wanted)
    untouched = plain(x)
    bank = Bank(plain)
    bank.add("file", task)
    bank.take("model", masking)
    for name in ("file", "model", "file"):
        assert torch.equal(bank.use(name)(x), wanted)
    assert torch.equal(bank.release()(x), untouched)
    bank.use("model")
    plain.double()
    torch.testing.assert_close(bank.use("model")(x.double()).float(), wanted)
    assert torch.equal(bank.release().float()(x), untouched)


@pytest.mark.parametrize(
    ("masks", "state"),
    [
        (("again.weight",), ()), (("first.weight", "again.weight"), ()), (("first.weight",), ("classifier.weight",)),
        (("first.weight",), ("after.running_mean",)),
    ],
)  # fmt: skip
def test_a_second_name_is_refused_and_the_first_is_named(masks, state):
    model = Shared()
    bank, held = Bank(model), model.state_dict()
    ones = {name: torch.ones(8, 8, dtype=torch.bool) for name in masks}
    with pytest.raises(ValueError, match=r"must have its first; .* too; pass it as that"):
        bank.put("task", ones, state={name: held[name] for name in state})
    assert not bank.tasks
