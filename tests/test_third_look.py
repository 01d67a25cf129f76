"""What a third hostile user found: names that masking takes, and what else two rounds had left."""

import copy
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from submasking import Bank, Monitor, TopK, hub, mask, maskfile, of
from submasking.tasks.heads import CosineHead, measured_width
from submasking.tasks.rounding import round_off
from submasking.tasks.similarity import similarity

WIDTH = 6


class Net(nn.Module):
    """A small network of any size of image."""

    def __init__(self, width=WIDTH, act=nn.ReLU):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.act = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), act()
        self.fc = nn.Linear(8, width)

    def forward(self, images):
        return self.fc(self.act(self.norm(self.first(images))).mean((2, 3)))


def learn(model, optimizers, count, seed=0, classes=3):
    random = torch.Generator().manual_seed(seed)
    for _ in range(count):
        images, labels = torch.randn(8, 3, 10, 10, generator=random), torch.randint(0, classes, (8,), generator=random)
        functional.cross_entropy(model(images), labels).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.parametrize("given", ["weight_scores", "weight_frozen", "bias_frozen"])
@pytest.mark.parametrize("kind", ["buffer", "parameter", "attribute"])
def test_a_name_that_the_model_has_itself_is_not_taken(given, kind):
    """Masking would write over it, and baking remove it."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    if kind == "buffer":
        model[1].register_buffer(given, torch.ones(2, 4))
    else:
        setattr(model[1], given, nn.Parameter(torch.ones(2)) if kind == "parameter" else 3)
    before = dict(model.state_dict())
    if given.startswith("bias"):  # beside one that is not masked
        masking = mask(model, "weights")
        masking.bake()
    else:
        with pytest.raises(
            ValueError, match=rf"'1.weight' is kept with .* its module has '{given}' of its own; rename"
        ):
            mask(model, "weights")
    assert model.state_dict().keys() == before.keys()
    assert hasattr(model[1], given)


class Normalised(nn.Linear):
    def forward(self, features):
        return 16 * functional.linear(functional.normalize(features), functional.normalize(self.weight), self.bias)


class Doubled(CosineHead):
    def forward(self, features):
        return 2 * super().forward(features)


class Benign(nn.Linear):
    """As timm's, which casts for scripting alone."""

    def forward(self, features):
        return functional.linear(features, self.weight, self.bias)


def _hooked():
    head = nn.Linear(WIDTH, 3)
    head.register_forward_hook(lambda module, given, out: out / 0.07)
    return head


def _before():
    head = nn.Linear(WIDTH, 3)
    head.register_forward_pre_hook(lambda module, given: (functional.normalize(given[0]),))
    return head


def _replaced():
    head = nn.Linear(WIDTH, 3)
    head.forward = lambda features: features[:, :3]
    return head


HEADS = {
    "subclass": lambda: Normalised(WIDTH, 3),
    "of the other kind": lambda: Doubled(torch.randn(3, WIDTH), 1.0),
    "hook": _hooked,
    "hook before": _before,
    "own forward": _replaced,
}


@pytest.mark.parametrize("kind", list(HEADS))
def test_a_head_that_computes_something_else_than_its_kind_is_not_stored(tmp_path, kind):
    masking = mask(Net())
    with pytest.raises(ValueError, match="computes something else of its tensors, by a forward of its own or by hooks"):
        maskfile.save(tmp_path / "task", masking, head=HEADS[kind]())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("head", [Benign(WIDTH, 3), Benign(WIDTH, 3).half(), CosineHead(torch.randn(3, WIDTH), 1.0)])
def test_a_head_of_a_class_of_its_own_that_computes_the_same_is_stored(tmp_path, head):
    assert maskfile.save(tmp_path / "task", mask(Net()), head=head.train()).head_kind in ("linear", "cosine")
    assert head.training


class Shell(nn.Module):
    def __init__(self, beside, persistent=True):
        super().__init__()
        self.body = Net()
        if isinstance(beside, nn.Module):
            self.beside = beside
        else:
            self.register_buffer("beside", beside, persistent=persistent)

    def forward(self, images):
        return self.body(images)


@pytest.mark.parametrize("beside", [nn.BatchNorm1d(3, affine=False), nn.Linear(3, 3), torch.ones(2)])
def test_what_a_shell_holds_beside_the_masked_model_is_no_part_of_the_file(tmp_path, beside):
    shell = Shell(beside)
    mask(shell.body)
    with pytest.raises(ValueError, match=r"(parameters|buffers), first 'beside.*are outside the masked model"):
        maskfile.save(tmp_path / "task", shell)
    maskfile.save(tmp_path / "task", of(shell))


def test_what_a_constructor_gives_a_shell_is_left_to_it(tmp_path):
    shell = Shell(torch.ones(2), persistent=False)
    mask(shell.body)
    maskfile.save(tmp_path / "task", shell)


@pytest.mark.parametrize("part", ["the layer", "another over its weight"])
@pytest.mark.parametrize("width", [WIDTH, 8])
def test_the_model_s_own_classifier_is_no_head_on_it(tmp_path, part, width):
    """Nor where it would fit on its own outputs: it would be applied twice."""
    model = Net(width)
    masking = mask(model)
    head = model.fc
    if part != "the layer":
        head = nn.Linear(8, width)
        head.weight = model.fc.weight
    with pytest.raises(ValueError, match=r"stand on its backbone, not in it; this has the model's own 'fc.weight'"):
        maskfile.save(tmp_path / "task", masking, head=head)
    bank = Bank(Net(width))
    with pytest.raises(ValueError, match=r"not in it; this has the model's own 'fc.weight'"):
        bank.take("task", masking, head=head)
    with pytest.raises(ValueError, match=r"not in it; this has the model's own 'fc.weight'"):
        bank.put("task", masking.masks(), head=bank.model.fc)
    assert not bank.tasks


@pytest.mark.parametrize("told", [{}, {"size": [12, 12]}, {"size": 12}, {"input_size": (3, 12, 12)}, {"size": (9, 12)}])
def test_a_head_of_another_width_is_refused_whoever_tells_the_size(tmp_path, told):
    with pytest.raises(ValueError, match="must take the features of its backbone; it takes 7, there are 6"):
        maskfile.save(tmp_path / "task", mask(Net()), head=nn.Linear(7, 3), preprocessing=told)


def test_a_width_that_hangs_on_the_size_is_measured_where_that_is_told():
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())
    assert measured_width(model, {}) is None
    assert measured_width(model, {"size": [5, 5]}) == 18
    assert measured_width(nn.Linear(4, 2), {}) is None


def test_another_activation_is_noticed_where_nobody_tells_the_size(tmp_path):
    model = Net()
    masking = mask(model)
    learn(model, masking.optimizers(lr=30.0), 5)
    maskfile.save(tmp_path / "task", masking)
    maskfile.load(tmp_path / "task").apply(Net())
    with pytest.raises(maskfile.MaskFileError, match="another activation, stride, pooling"):
        maskfile.load(tmp_path / "task").apply(Net(act=nn.Sigmoid))


@given(
    st.sampled_from([
        {"weight_decay": 1e-3}, {"nesterov": True}, {"maximize": True}, {"dampening": 0.5},
    ]),
    st.booleans(),
)  # fmt: skip
def test_what_masks_are_not_updated_by_is_no_setting_of_theirs(settings, by_hand):
    masking, other = mask(Net()), mask(Net())
    momentum = 0.0 if "dampening" in settings else 0.9
    attached = masking.attach(torch.optim.SGD(masking.scores().values(), lr=3.0, momentum=momentum, **settings))
    learn(masking.model, [attached], 2)
    optimizer = other.optimizer(lr=1.0)
    learn(other.model, [optimizer], 2)
    before = copy.deepcopy(optimizer.state_dict())
    if by_hand:
        optimizer.param_groups[0].update(settings)
    change = optimizer.step if by_hand else lambda: optimizer.load_state_dict(attached.state_dict())
    with pytest.raises(ValueError, match=f"SGD with momentum and nothing else; got {next(iter(settings))}="):
        change()
    if not by_hand:
        assert repr(optimizer.state_dict()) == repr(before)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad])
def test_the_state_of_another_optimizer_is_none_for_masks(kind):
    masking, other = mask(Net()), mask(Net())
    attached = masking.attach(kind(masking.scores().values(), lr=0.5))
    learn(masking.model, [attached], 2)
    optimizer = other.optimizer(lr=1.0)
    with pytest.raises(ValueError, match=r"must be that of SGD with momentum; got one with|momentum must be in"):
        optimizer.load_state_dict(attached.state_dict())
    assert optimizer.param_groups[0]["lr"] == 1.0
    learn(other.model, [optimizer], 1)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_state_of_plain_sgd_goes_on_as_it_would_have(momentum):
    masking, other = mask(Net(), "weights"), mask(Net(), "weights")
    attached = masking.attach(torch.optim.SGD(masking.scores().values(), lr=3.0, momentum=momentum))
    learn(masking.model, [attached], 4)
    other.model.load_state_dict(masking.model.state_dict())
    optimizer = other.optimizer(lr=1.0)
    optimizer.load_state_dict(copy.deepcopy(attached.state_dict()))
    learn(masking.model, [attached], 4, seed=1)
    learn(other.model, [optimizer], 4, seed=1)
    for one, two in zip(masking.scores().values(), other.scores().values(), strict=True):
        torch.testing.assert_close(one, two)


def test_a_step_is_taken_outside_inference_mode_and_a_model_masked_outside_meta():
    model = Net()
    optimizer = mask(model).optimizer()
    functional.cross_entropy(model(torch.ones(2, 3, 10, 10)), torch.tensor([0, 1])).backward()
    with torch.inference_mode(), pytest.raises(ValueError, match=r"outside torch.inference_mode; got one inside"):
        optimizer.step()
    optimizer.step()
    model = Net()
    with (
        torch.device("meta"),
        pytest.raises(ValueError, match=r"outside torch.device\('meta'\); got one inside; leave"),
    ):
        mask(model)


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_numbers_that_are_none_are_refused_before_masking(value):
    model = Net()
    with torch.no_grad():
        model.first.weight[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"'first.weight' holds NaN or infinity; load its weights anew"):
        mask(model)


def test_slips_at_the_front_door_are_told_in_a_line():
    with pytest.raises(ValueError, match=r"select must say which parameters are masked; got TopK.*criterion="):
        mask(Net(), TopK(0.5))
    with pytest.raises(ValueError, match=r"a criterion must be a callable scores -> mask; got <class"):
        mask(Net(), criterion=TopK)
    for given_ in (None, "a"):
        with pytest.raises(ValueError, match=r"model must be a torch.nn.Module"):
            of(given_)
    masking = mask(Net())
    assert of(masking) is masking
    round_off(masking, bits=np.int64(10))
    with pytest.raises(ValueError, match="must be what JSON can hold; 'x' is a"):
        maskfile.save("never", masking, provenance={"x": 10**5000})
    nested = []
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(ValueError, match="must be what JSON can hold; 'x' is"):
        maskfile.save("never", masking, provenance={"x": nested})
    masks = masking.masks()
    with pytest.raises(ValueError, match="masks must be bool"):
        similarity({name: on.float() for name, on in masks.items()}, masks)
    with pytest.raises(ValueError, match="have other shapes, or no weights"):
        similarity({name: on.flatten() for name, on in masks.items()}, masks)
    with pytest.raises(ValueError, match="have other shapes, or no weights"):
        similarity(masks, masks, {})


def test_a_classifier_that_was_taken_off_needs_no_optimizer():
    model = Net()
    masking = mask(model)
    model.fc = nn.Identity()
    assert len(masking.optimizers(lr=3.0)) == 1


@pytest.mark.parametrize("steps", [1, 4, 12, 40])
def test_a_classifier_that_is_replaced_in_training_is_watched_anew(steps):
    model = Net()
    optimizers = mask(model).optimizers(lr=3.0)
    learn(model, optimizers, steps)
    model.fc = nn.Linear(8, 3)
    with pytest.warns(UserWarning, match=r"trained parameters must have an optimizer; 2 of them, first 'fc.weight'"):
        learn(model, optimizers, 6)


def test_a_classifier_that_is_replaced_with_its_optimizer_is_not_warned_of():
    model = Net()
    optimizers = mask(model).optimizers(lr=3.0)
    learn(model, optimizers, 12)
    model.fc = nn.Linear(8, 3)
    with warnings.catch_warnings(action="error"):
        learn(model, [optimizers[0], torch.optim.SGD(model.fc.parameters(), lr=0.1)], 20)


def test_a_monitor_reads_an_optimizer_of_its_masks():
    masking = mask(Net())
    optimizers = masking.optimizers(lr=3.0)
    with pytest.raises(ValueError, match="this SGD holds neither masked weights nor scores"):
        Monitor(masking, optimizers[1])
    with pytest.raises(ValueError, match="this MaskSGD holds neither"):
        Monitor(mask(Net()), optimizers[0])
    for optimizer in (optimizers[0], masking.attach(torch.optim.SGD(masking.scores().values(), lr=1.0))):
        Monitor(masking, optimizer).close()


def test_a_folder_that_was_shared_is_not_shared_anew_for_other_classes(tmp_path):
    masking = mask(Net(3))
    for name, classes in (("one", ["a", "b", "c"]), ("again", ["a", "b", "c"]), ("other", ["a", "c", "b"])):
        maskfile.save(tmp_path / name, masking, classes=classes, score={"top1": len(name) / 9})
    hub.export(tmp_path / "one", tmp_path / "shared")
    hub.export(tmp_path / "again", tmp_path / "shared")
    with pytest.raises(ValueError, match=r"shared anew for the same classes; .* is of 3, first 'a', and the task of 3"):
        hub.export(tmp_path / "other", tmp_path / "shared")
    assert (tmp_path / "shared" / hub.FILE).read_bytes() == (tmp_path / "again").read_bytes()
    (tmp_path / "shared" / hub.FILE).write_bytes(b"damaged")
    hub.export(tmp_path / "other", tmp_path / "shared")
