"""A task is stored only of the network that was masked: replaced modules are named."""

import pytest
import torch
from torch import nn
from torch.ao.quantization import fuse_modules, quantize_dynamic
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing
from torch.nn.utils import fusion

from submasking import Bank, mask, maskfile


class Net(nn.Module):
    """A convolution, a norm, an activation, a dropout and a classifier, all under names."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.norm, self.act = nn.Sequential(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.pool, self.drop, self.fc = nn.AdaptiveAvgPool2d(2), nn.Dropout(0.1), nn.Linear(16, 3)

    def forward(self, images):
        return self.fc(self.drop(self.pool(self.act(self.norm(self.stem(images))))).flatten(1))


def put(**modules):
    def change(model):
        for name, module in modules.items():
            setattr(model, name, module)
        return model

    return change


def set_eps(model):
    model.norm.eps = 0.1
    return model


def fused(model):
    model.eval()
    model.stem[0] = fusion.fuse_conv_bn_eval(model.stem[0], model.norm)
    model.norm = nn.Identity()
    return model


OTHER = {
    "activation": (put(act=nn.GELU()), "first 'act'"),
    "activation with another setting": (put(act=nn.LeakyReLU(0.5)), "first 'act'"),
    "no activation": (put(act=nn.Identity()), "first 'act'"),
    "pooling": (put(pool=nn.AdaptiveMaxPool2d(2)), "first 'pool'"),
    "another norm": (put(norm=nn.GroupNorm(2, 4)), "first 'norm'"),
    "a norm with another eps": (set_eps, "first 'norm'"),
    "a module more": (put(extra=nn.Sequential()), "first 'extra'"),
    "a deeper classifier": (put(fc=nn.Sequential(nn.Linear(16, 3))), "first 'fc'"),
    "fused": (fused, "first 'norm'"),
    "fused by torch.ao": (lambda m: fuse_modules(m.eval(), ["stem.0", "norm", "act"]), "first 'stem.0'"),
    "quantised": (lambda m: quantize_dynamic(m, {nn.Linear}), "is no tensor, as after quantisation"),
}


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated", "ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("what", OTHER)
def test_a_network_with_other_modules_is_not_stored(what, tmp_path):
    change, said = OTHER[what]
    model = Net()
    mask(model)
    changed = change(model)
    with pytest.raises(ValueError, match=f"must be what the model computes; .*{said}"):
        maskfile.save(tmp_path / "task", changed)
    assert not (tmp_path / "task").exists()


SAME = {
    "no dropout": put(drop=nn.Identity()),
    "out of place": put(act=nn.ReLU()),
    "SyncBatchNorm": nn.SyncBatchNorm.convert_sync_batchnorm,
    "train mode": nn.Module.train,
}


@pytest.mark.parametrize("what", SAME)
def test_what_changes_no_answer_may_be_changed(what, tmp_path):
    model, images = Net(), torch.randn(2, 3, 8, 8)
    masking = mask(model)
    masking.load_masks({name: torch.rand(theta.shape) > 0.4 for name, theta in masking.frozen().items()})
    changed = SAME[what](model)
    task = maskfile.save(tmp_path / "task", changed)
    fresh = Net().eval()
    task.apply(fresh)
    assert torch.equal(fresh(images), changed.eval()(images))


def checkpointed(model):
    apply_activation_checkpointing(model, check_fn=lambda module: isinstance(module, nn.Sequential))
    return model


def compiled(model):
    model.stem = torch.compile(model.stem)
    return model


@pytest.mark.parametrize("wrap", [checkpointed, compiled])
def test_a_wrapper_around_a_part_is_to_be_taken_off_before_saving(wrap, tmp_path):
    model = Net()
    masking = mask(model)
    wrap(model)
    masking.load_masks({name: torch.rand(theta.shape) > 0.4 for name, theta in masking.frozen().items()})
    with pytest.raises(ValueError, match=r"'stem' is in a wrapper, .*; take it off for saving, with (.*)") as refused:
        maskfile.save(tmp_path / "task", model)
    eval(str(refused.value).partition(" with ")[2])
    task = maskfile.save(tmp_path / "task", model)
    task.apply(Net())
    with pytest.raises(ValueError, match="must be masked before it is wrapped"):
        mask(wrap(Net()))


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_a_classifier_may_be_another_or_taken_off(classes, tmp_path):
    model = Net()
    masking = mask(model)
    optimizers = masking.optimizers(1.0)
    model.fc = nn.Linear(16, classes)
    task = maskfile.save(tmp_path / "task", model)
    bank = Bank(Net().eval())
    bank.add("task", task)
    assert bank.use("task")(torch.randn(1, 3, 8, 8)).shape == (1, classes)
    model.fc = nn.Identity()
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    assert maskfile.save(tmp_path / "features", model).trained == ()


class Packed(nn.Conv2d):
    """Keeps something in its state that is no tensor."""

    def get_extra_state(self):
        return {"amax": 1.0}

    def set_extra_state(self, state):
        pass


def test_a_model_whose_state_is_not_all_tensors_is_refused_before_anything_changes():
    model = nn.Sequential(Packed(3, 4, 3))
    with pytest.raises(
        ValueError, match=r"all that a model holds must be tensors; '0\._extra_state' of its state_dict is none"
    ):
        mask(model)
    assert not list(model.buffers())
    assert model[0].weight.requires_grad


KINDS = [torch.float64, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("start", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", [torch.float32, *KINDS])
@pytest.mark.parametrize("change", ["none", "before the cast", "after the cast"])
def test_a_frozen_parameter_that_is_changed_is_noticed_whatever_the_type(start, kind, change, tmp_path):
    model = Net().to(start)
    mask(model)
    for moment in ("before the cast", "after the cast"):
        if moment == change:
            with torch.no_grad():
                model.norm.bias.add_(0.5)
        model.to(kind)
    if change == "none":
        maskfile.save(tmp_path / "task", model)
        return
    with pytest.raises(ValueError, match=r"1 frozen parameters, first 'norm\.bias', were changed"):
        maskfile.save(tmp_path / "task", model)


class Centred(nn.Module):
    """A layer behind a running mean that no state_dict holds."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.register_buffer("mean", torch.zeros(4), persistent=False)

    def forward(self, x):
        if self.training:
            self.mean.lerp_(x.detach().mean(0), 0.5)
        return self.fc(x - self.mean)


def test_a_buffer_that_followed_the_task_and_cannot_be_stored_is_told(tmp_path):
    bank, model = Bank(Centred()), Centred()
    bank.model.load_state_dict(model.state_dict())
    bank = Bank(bank.model)
    masking = mask(model, "weights")
    maskfile.save(tmp_path / "task", model)  # as long as it stays
    model.train()(torch.ones(5, 4))
    with pytest.raises(ValueError, match="1 buffers, first 'mean', followed the task and are in no state_dict"):
        maskfile.save(tmp_path / "task", model)
    with pytest.raises(ValueError, match="first 'mean'"):
        bank.take("task", masking)
