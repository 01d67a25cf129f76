"""Guessing without names: every task that is known to give logits, by a head or by a classifier inside the model."""

import copy
import itertools

import pytest
import timm
import torch
from torch import nn

from submasking import Bank, mask, maskfile


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))


def of_timm():
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=4)


class Named(nn.Module):
    """A network that uses its classifier by name."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head, self.body = nn.Linear(6, 4), plain()[:4]

    def forward(self, x):
        return self.head(self.body(x))


NETWORKS = {"plain": plain, "of timm": of_timm, "named": Named}
IMAGES = torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)
TASKS = {
    "classifier": ("auto", None),
    "head": ("weights", lambda: nn.Linear(4, 2)),
    "both": ("auto", lambda: nn.Linear(4, 3)),
    "neither": ("weights", None),
}


def taken(build, kinds):
    bank = Bank(build().eval())
    for kind in kinds:
        select, head = TASKS[kind]
        bank.take(kind, mask(build().eval(), select), head=head and head())
    return bank


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize(
    "kinds", [kinds for n in (1, 2) for kinds in itertools.permutations(("classifier", "both"), n)], ids=str
)
def test_a_classifier_inside_the_model_is_guessed_by_and_needs_no_head(build, kinds):
    bank = taken(build, kinds)
    assert bank.guess(IMAGES) == bank.guess(IMAGES, kinds)
    assert bank.guess(IMAGES).keys() == set(kinds)


@pytest.mark.parametrize("kinds", [("head", "neither"), ("neither", "head"), ("head",)], ids=str)
def test_what_may_give_features_is_guessed_by_where_it_is_named(kinds):
    bank = taken(plain, kinds)
    assert bank.guess(IMAGES).keys() == {"head"}
    assert bank.guess(IMAGES, kinds).keys() == set(kinds)


def test_a_guess_among_none_says_what_can_be_named_and_that_helps():
    bank = Bank(plain().eval())
    with pytest.raises(ValueError, match="a classifier of the model that they train; got none; add tasks first"):
        bank.guess(IMAGES)
    bank = taken(plain, ("neither",))
    for tasks in (None, []):
        with pytest.raises(ValueError, match="got none; name some of neither as tasks="):
            bank.guess(IMAGES, tasks)
    assert list(bank.guess(IMAGES, tasks=["neither"])) == ["neither"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda model: model.fc, "this has the model's own 'fc.weight'; leave head= out"),
        (
            lambda model: copy.deepcopy(model.fc),
            "takes 96, there are 4; the task needs .*, or none where they are logits",
        ),
    ],
)
def test_a_head_on_logits_is_refused_and_the_task_is_taken_without_it(given, said, tmp_path):
    model = of_timm().eval()
    masking, head = mask(model), given(model)
    bank = Bank(of_timm().eval())
    with pytest.raises(ValueError, match=said):
        bank.take("task", masking, head=head, classes=list("abcd"))
    with pytest.raises(ValueError, match=said):
        maskfile.save(tmp_path / "task", masking, head=head, classes=list("abcd"))
    bank.take("task", masking, classes=list("abcd"))
    bank.add("saved", maskfile.save(tmp_path / "task", masking, classes=list("abcd")))
    assert bank.guess(IMAGES).keys() == {"task", "saved"}
    assert torch.equal(bank.logits("saved", IMAGES), model(IMAGES))
