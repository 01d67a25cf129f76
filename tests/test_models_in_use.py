"""A model with a task of a bank in it, or a part or copy of it, is no backbone; what helps is said, and does help."""

import copy
import io

import pytest
import torch
from test_one_after_another import IMAGES, network, tasks  # noqa: F401
from torch import nn

from submasking import Bank, mask


def used(task, name="both"):
    bank = Bank(network())
    bank.add(name, task)
    bank.use(name)
    return bank


def reloaded(model):
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


COPIES = {"copied": copy.deepcopy, "stored": reloaded, "part copied": lambda model: copy.deepcopy(model[0])}
SAME = {
    "itself": lambda model: model,
    "in a shell": nn.Sequential,
    "a part": lambda model: model[0],
    "parts": lambda model: model[:5],
}
OVER = {"mask": lambda model: mask(model, "weights"), "Bank": Bank}


@pytest.mark.parametrize("name", ["both", "masks alone"])
@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("change", COPIES | SAME)
def test_a_model_in_use_is_neither_masked_nor_a_backbone_until_what_is_said_was_done(change, over, name, tasks):  # noqa: F811
    bank, derive = used(tasks[name][0], name), (COPIES | SAME)[change]
    derived, before = derive(bank.model), copy.deepcopy(bank.model.state_dict())
    said = "bank first" if over == "Bank" else r"call bank\.release\(\) first"
    said = rf"the task '{name}' of a.* bank (is|are) in (it|them); .*{said}, and of a copy make a new one after that"
    with pytest.raises(ValueError, match=said):
        OVER[over](derived)
    assert all(torch.equal(value, before[key]) for key, value in bank.model.state_dict().items())
    bank.release()
    if change in COPIES:
        with pytest.raises(ValueError, match="of a copy make a new one after that"):
            OVER[over](derived)
        derived = derive(bank.model)
    OVER[over](derived)


def test_a_bank_does_not_write_into_a_model_that_was_masked_since(tasks):  # noqa: F811
    bank = used(tasks["both"][0])
    part = bank.release()[0]
    for masked in (part, bank.model):
        masking = mask(masked, "weights")
        before = copy.deepcopy(bank.model.state_dict())
        for switch in (bank.release, lambda: bank.use("both")):
            with pytest.raises(ValueError, match="must stay plain; somebody has masked it since; unbake it"):
                switch()
        assert all(torch.equal(value, before[key]) for key, value in bank.model.state_dict().items())
        masking.unbake()
        assert torch.equal(bank.use("both")(IMAGES), tasks["both"][1])
        bank.release()


def without(model):
    model[5] = nn.Identity()


def other(model):
    model[5] = nn.Linear(6, 9)


def no_bias(model):
    model[5] = nn.Linear(6, 4, bias=False)


def no_statistics(model):
    model[1] = nn.BatchNorm2d(6, track_running_stats=False)


def other_filters(model):
    model[0] = nn.Conv2d(3, 6, 5)


LOST = {
    without: "'5.weight' is gone",
    other: r"'5.weight' has shape \(9, 6\) now",
    no_bias: "'5.bias' is gone",
    no_statistics: "'1.running_mean' is gone",
    other_filters: r"'0.weight' has shape \(6, 3, 5, 5\) now",
}


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("lose", LOST)
def test_a_tensor_lost_in_use_is_named_and_nothing_is_done_until_it_is_back(lose, swapped, tasks):  # noqa: F811
    bank = used(tasks["both"][0])
    if swapped:  # a classifier of other classes is in the place of the model's
        bank.put("more", bank.masks("both"), state={"5.weight": torch.ones(3, 6), "5.bias": torch.ones(3)})
        bank.use("more")
    current = bank.current
    lose(bank.model)
    before = copy.deepcopy(bank.model.state_dict())
    if swapped and lose is other:  # of any shape, since the task has one of its own: somebody's classifier
        with pytest.raises(ValueError, match=r"keep its weights; '5\.weight' was loaded, trained or edited since"):
            bank.use("more")
        assert all(torch.equal(value, before[key]) for key, value in bank.model.state_dict().items())
    else:
        for switch in (lambda: bank.use("both"), bank.release, lambda: bank.remove(current)):
            with pytest.raises(ValueError, match=rf"keep its tensors; {LOST[lose]}; give .* again, and call release"):
                switch()
        assert all(torch.equal(value, before[key]) for key, value in bank.model.state_dict().items())
    assert bank.current == current
    assert current in bank.tasks
    fresh = network()
    for place in (0, 1, 5):  # what was lost, or more
        bank.model[place] = fresh[place]
    bank.release()
    assert all(torch.equal(value, network().state_dict()[key]) for key, value in bank.model.state_dict().items())
    assert torch.equal(bank.use("both")(IMAGES), tasks["both"][1])
    bank.remove("both")
    Bank(bank.model)


@pytest.mark.parametrize("lose", LOST)
def test_where_no_task_is_in_use_a_new_bank_over_what_is_left_helps(lose, tasks):  # noqa: F811
    bank = used(tasks["both"][0])
    bank.release()
    lose(bank.model)
    for switch in (lambda: bank.use("both"), bank.release):
        with pytest.raises(ValueError, match=f"keep its tensors; {LOST[lose]}; undo that, or make a new Bank over it"):
            switch()
    bank.remove("both")
    Bank(bank.model)


@pytest.mark.parametrize("in_use", [False, True])
def test_what_is_said_of_weights_that_somebody_tuned_helps(in_use, tasks):  # noqa: F811
    bank = used(tasks["both"][0])
    if not in_use:
        bank.release()
    with torch.no_grad():
        bank.model[5].weight.add_(1.0)
    with pytest.raises(
        ValueError, match="keep a copy of its state_dict" if in_use else "or make a new Bank over these"
    ):
        bank.use("both")
    kept, model = copy.deepcopy(bank.model.state_dict()), bank.model
    if in_use:
        model = network()
        model.load_state_dict(kept)
    assert all(torch.equal(value, kept[key]) for key, value in Bank(model).release().state_dict().items())
    bank.release()
    assert torch.equal(bank.use("both")(IMAGES), tasks["both"][1])
