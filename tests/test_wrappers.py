"""What wraps a model before it is masked, or shards it, is refused in one line; what wraps it after keeps its names."""

import copy

import pytest
import torch
from torch import nn

from submasking import Bank, mask, maskfile, of


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


WRAPPERS = {
    "compiled": torch.compile,
    "DataParallel": nn.DataParallel,
    "in a shell": lambda m: nn.Sequential(nn.DataParallel(m)),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapped_model_is_refused_before_anything_changes(wrap):
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="must be masked before it is wrapped"):
        mask(wrap(model))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.state_dict().keys() == before.keys()


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_model_that_is_wrapped_after_masking_saves_under_its_own_names(wrap, tmp_path):
    model = network()
    mask(model)
    maskfile.save(tmp_path / "task", wrap(model))
    fresh = network()
    maskfile.load(tmp_path / "task").apply(fresh)
    with pytest.raises(ValueError, match=r"names of this model begin with .* as of a wrapper"):
        maskfile.load(tmp_path / "task").apply(wrap(network()))


@pytest.mark.parametrize("prefix", ["module.", "model.", "a.b."])
def test_a_task_that_was_saved_from_a_shell_says_so(prefix, tmp_path):
    class Shell(nn.Module):
        def __init__(self, inner):
            super().__init__()
            path = prefix.rstrip(".").split(".")
            for name in reversed(path[1:]):
                inner, outer = nn.Module(), inner
                inner.add_module(name, outer)
            self.add_module(path[0], inner)

    shell = Shell(network())
    mask(shell)
    maskfile.save(tmp_path / "task", shell)
    with pytest.raises(ValueError, match=f"names in the task begin with '{prefix}'"):
        maskfile.load(tmp_path / "task").apply(network())


@pytest.mark.parametrize("change", ["double", "layout", "assign"])
@pytest.mark.parametrize("used", [False, True])
def test_a_bank_follows_its_model(change, used, tmp_path):
    model = network()
    masking = mask(model, "weights")
    masking.load_masks({name: torch.rand(theta.shape) > 0.4 for name, theta in masking.frozen().items()})
    maskfile.save(tmp_path / "task", masking)
    images = torch.randn(2, 3, 6, 6)
    wanted, plain = model.eval()(images), network().eval()(images)
    backbone = network().eval()
    bank = Bank(backbone)
    bank.add("task", tmp_path / "task")
    if used:
        bank.use("task")
    kind = torch.float64 if change == "double" else torch.float32
    if change == "layout":
        backbone.to(memory_format=torch.channels_last)
    elif change == "assign":
        backbone.load_state_dict({k: v.clone() for k, v in backbone.state_dict().items()}, assign=True)
    else:
        backbone.double()
    torch.testing.assert_close(bank.use("task")(images.to(kind)), wanted.to(kind), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(bank.release()(images.to(kind)), plain.to(kind), atol=1e-5, rtol=1e-5)
    backbone.float()
    assert all(torch.equal(value, network().state_dict()[name]) for name, value in bank.release().state_dict().items())


def test_a_bank_refuses_weights_that_somebody_changed_until_it_is_released(tmp_path):
    model = network()
    mask(model, "weights")
    maskfile.save(tmp_path / "task", model)
    backbone = network()
    bank = Bank(backbone)
    bank.add("task", tmp_path / "task")
    bank.use("task")
    with torch.no_grad():
        backbone[0].weight.add_(1.0)
    with pytest.raises(ValueError, match="loaded, trained or edited"):
        bank.use("task")
    bank.release()
    bank.use("task")


def test_tasks_with_different_numbers_of_classes_live_in_one_bank(tmp_path):
    outputs, images = {}, torch.randn(2, 3, 6, 6)
    for classes in (2, 3, 7):
        model = network()
        model[4] = nn.Linear(4, classes)
        masking = mask(model)
        masking.load_masks({name: torch.rand(theta.shape) > 0.4 for name, theta in masking.frozen().items()})
        maskfile.save(tmp_path / str(classes), model)
        outputs[classes] = model.eval()(images)
    bank = Bank(network().eval())
    plain = bank.model(images)
    for classes in outputs:
        bank.add(str(classes), tmp_path / str(classes))
    for classes in (3, 7, 2, 3):
        assert torch.equal(bank.use(str(classes))(images), outputs[classes])
    assert torch.equal(bank.release()(images), plain)


def sync(model):
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def fresh_norm(model):
    model[1] = nn.BatchNorm2d(4)
    return model


@pytest.mark.parametrize("change", [sync, fresh_norm, lambda m: copy.deepcopy(sync(m))])
def test_norms_that_replace_frozen_ones_are_frozen_too(change):
    model = network()
    mask(model, norms="freeze")
    changed = change(model)
    shell = nn.Sequential(changed).train()
    assert changed.training
    assert not changed[1].training
    of(changed).bake()
    shell.train()
    assert changed[1].training


def test_norms_that_adapt_still_do_after_a_conversion():
    model = network()
    mask(model)
    assert sync(model).train()[1].training
