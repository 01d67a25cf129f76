"""What a message advises works where the message appears: each situation is brought about, and the advice followed."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import submasking
from submasking import Bank, maskfile
from submasking.tasks.container import MaskFileError


def network(tie=False):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 1, bias=False),
        nn.Conv2d(6, 6, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip
    if tie:
        model[4].weight = model[3].weight
    return model


BACKBONE = network()
IMAGES, LABELS = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 3


def train(model, optimizers, steps=3):
    model.train()
    for _ in range(steps):
        nn.functional.cross_entropy(model(IMAGES), LABELS).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def outputs(model):
    return copy.deepcopy(model).eval()(IMAGES)


def masked(steps=3):
    model = copy.deepcopy(BACKBONE)
    masking = submasking.mask(model)
    train(model, masking.optimizers(lr=300.0), steps)
    return model, masking


def original(model):
    return all(torch.equal(value, model.state_dict()[name]) for name, value in BACKBONE.state_dict().items())


def laid(path, onto=None):
    model = copy.deepcopy(BACKBONE) if onto is None else onto
    maskfile.load(path).apply(model)
    return model


def edited(model, masking):
    masking.bake()
    with torch.no_grad():
        model[0].weight.mul_(0.5)


def trained_on(model, masking):
    masking.bake()
    train(model, [torch.optim.SGD([model[3].weight], lr=0.1)])


@pytest.mark.parametrize(
    ("before", "refused"),
    [
        (lambda model, masking: masking.bake(), lambda masking, path: masking.bake()),
        (lambda model, masking: masking.bake(), lambda masking, path: masking.optimizer()),
        (lambda model, masking: masking.unbake(), lambda masking, path: masking.apply()),
        (edited, lambda masking, path: maskfile.save(path, masking)),
        (trained_on, lambda masking, path: maskfile.save(path, masking)),
    ],
)
def test_after_bake_one_goes_on_with_the_same_masks_on_the_same_backbone(tmp_path, before, refused):
    path = tmp_path / "task"
    model, masking = masked()
    masks = masking.masks()
    assert not all(bool(mask.all()) for mask in masks.values())
    before(model, masking)
    with pytest.raises(ValueError, match=re.escape("masking.masks(), call masking.unbake()")):
        refused(masking, path)
    kept = masking.masks()
    masking.unbake()
    anew = submasking.mask(model)
    anew.load_masks(kept)
    assert all(torch.equal(mask, anew.masks()[name]) for name, mask in masks.items())
    train(model, anew.optimizers(lr=1.0))
    maskfile.save(path, anew)
    assert torch.equal(outputs(laid(path)), outputs(model))


def everything(model, masking):
    model.requires_grad_(True)
    train(model, [torch.optim.SGD(model.parameters(), lr=0.1)])


def a_norm(model, masking):
    with torch.no_grad():
        model[1].bias.add_(1.0)


def after_bake(model, masking):
    masking.bake()
    train(model, [torch.optim.SGD(model.parameters(), lr=0.1)])


@pytest.mark.parametrize("change", [everything, a_norm, after_bake])
def test_unbake_gives_the_original_or_says_what_is_missing(change):
    model, masking = masked()
    change(model, masking)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"frozen parameters, first '.*', were changed .* load the backbone's weights"):
        masking.unbake()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    model.load_state_dict(BACKBONE.state_dict(), strict=masking.baked)
    masking.unbake()
    assert original(model)
    assert submasking.mask(model).sparsity() == 0


def test_the_handle_of_before_does_not_unbake_what_was_masked_anew():
    model, masking = masked()
    masking.bake()
    anew = submasking.mask(model)
    weights = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=re.escape("call submasking.of(model).unbake() first")):
        masking.unbake()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in weights.items())
    assert anew.inexact() == []
    submasking.of(model).unbake()
    masking.unbake()
    assert original(model)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_parameters_that_were_cast_without_the_frozen_weights_are_told(tmp_path, kind):
    model, masking = masked()
    for parameter in model.parameters():
        parameter.data = parameter.data.to(kind)
    for refused in (masking.bake, lambda: maskfile.save(tmp_path / "task", masking)):
        with pytest.raises(ValueError, match=rf"cast the whole model, as with model.to\({kind}\)"):
            refused()
        masking.apply()
    model.to(kind)
    masking.bake()
    assert model[0].weight.dtype == kind


def test_what_was_pruned_or_parametrized_since_is_undone_as_told(tmp_path):
    model, masking = masked()
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    for refused in (masking.unbake, masking.bake, lambda: maskfile.save(tmp_path / "task", masking)):
        with pytest.raises(ValueError, match=r"'0.weight'.*is gone; undo that") as told:
            refused()
        assert "bake and keep" not in str(told.value)
    prune.remove(model[0], "weight")
    masking.apply()
    masking.bake()
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    with pytest.raises(ValueError, match=r"'0.weight' is gone; undo that .*; save before you parametrize"):
        maskfile.save(tmp_path / "task", masking)
    with pytest.raises(ValueError, match="undo that first, or keep the model as it is"):
        masking.unbake()
    prune.remove(model[0], "weight")
    parametrizations.weight_norm(model[0])
    with pytest.raises(ValueError, match=r"were replaced, .*; undo that"):
        maskfile.save(tmp_path / "task", masking)
    nn.utils.parametrize.remove_parametrizations(model[0], "weight")
    masking.unbake()
    assert original(model)


@pytest.mark.parametrize("spoilt", [False, True])
def test_a_classifier_taken_off_is_put_back_or_what_is_there_is_baked(spoilt):
    model, masking = masked()
    classifier, model[7] = model[7], nn.Identity()
    if spoilt:
        with torch.no_grad():
            model[0].weight.add_(1.0)
    with pytest.raises(ValueError, match=r"'7.weight'.*is gone; undo that first, or .*bake and keep") as told:
        masking.unbake()
    assert ("call masking.apply(), bake" in str(told.value)) == spoilt
    other = copy.deepcopy(model)
    if spoilt:
        submasking.of(other).apply()
    submasking.of(other).bake()
    model[7] = classifier
    masking.unbake()
    assert original(model)


@pytest.mark.parametrize("part", [lambda model: model[0], lambda model: model[:4], lambda model: nn.Sequential(*model)])
def test_a_part_of_a_masked_model_is_told_to_be_one(part):
    model, masking = masked()
    taken = copy.deepcopy(part(model))
    with pytest.raises(ValueError, match="holds parts of a masked one without its handle; pass the whole model"):
        submasking.of(taken)
    with pytest.raises(ValueError, match="bake or unbake the whole model before parts of it are taken"):
        submasking.mask(taken)
    masking.bake()
    submasking.mask(copy.deepcopy(part(model)))


def test_a_sibling_comes_with_its_own_masks(tmp_path):
    model, masking = masked()
    sibling, masks = maskfile.save(tmp_path / "first", masking), masking.masks()
    train(model, masking.optimizers(lr=300.0))
    path = tmp_path / "second"
    for wrong, said in (
        ({"sibling": sibling}, "got sibling without sibling_masks"),
        ({"sibling_masks": masks}, "got sibling_masks without sibling"),
        ({"sibling": sibling, "sibling_masks": masking.masks()}, "must be those of the sibling"),
    ):
        with pytest.raises(ValueError, match=said):
            maskfile.save(path, masking, **wrong)
        assert not path.exists()
    maskfile.save(path, masking, sibling=sibling, sibling_masks=sibling.masks(dict(BACKBONE.named_parameters())))
    plain = copy.deepcopy(BACKBONE)
    maskfile.load(path).apply(plain, sibling=masks)
    assert torch.equal(outputs(plain), outputs(model))


def test_a_task_of_tied_weights_is_laid_on_tied_weights_alone(tmp_path):
    path, model = tmp_path / "task", network(tie=True)
    backbone = copy.deepcopy(model)
    masking = submasking.mask(model)
    train(model, masking.optimizers(lr=300.0))
    maskfile.save(path, masking)
    untied = network()
    untied.load_state_dict(backbone.state_dict())
    with pytest.raises(MaskFileError, match=r"'4.weight' was tied to '3.weight' .* tie them"):
        maskfile.load(path).apply(untied)
    with pytest.raises(MaskFileError, match=r"'4.weight' was tied"):
        Bank(untied).add("task", path)
    assert all(torch.equal(value, untied.state_dict()[name]) for name, value in backbone.state_dict().items())
    untied[4].weight = untied[3].weight
    assert torch.equal(outputs(laid(path, untied)), outputs(model))


def test_a_task_over_statistics_that_had_moved_says_on_which_side_that_may_be(tmp_path):
    path, model = tmp_path / "task", copy.deepcopy(BACKBONE)
    model.train()(IMAGES)  # a look at shapes
    masking = submasking.mask(model)
    train(model, masking.optimizers(lr=300.0))
    maskfile.save(path, masking)
    with pytest.raises(MaskFileError, match="this model, or the one that was masked, has seen data in train mode"):
        laid(path)
    fresh, masking = masked()
    maskfile.save(path, masking)
    assert torch.equal(outputs(laid(path)), outputs(fresh))


@pytest.mark.parametrize(
    "kinds", [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.bfloat16,), (torch.float64,)]
)
def test_a_task_over_weights_that_were_rounded_says_how_to_round_them(tmp_path, kinds):
    path, (model, masking), plain = tmp_path / "task", masked(), copy.deepcopy(BACKBONE)
    for kind in kinds:
        model.to(kind)
        plain.to(kind)
    maskfile.save(path, masking)
    told = "".join(f".to({kind})" for kind in kinds)
    with pytest.raises(
        MaskFileError, match=rf"those of the task were .* before it was saved.*: model{re.escape(told)}$"
    ):
        laid(path)
    laid(path, plain)
    assert all(torch.equal(plain.state_dict()[name], model.state_dict()[name]) for name in BACKBONE.state_dict())


def test_gradients_are_accumulated_when_nothing_holds_the_optimizer_in_backward():
    model = copy.deepcopy(BACKBONE)
    masking = submasking.mask(model)
    optimizer = masking.optimizer(in_backward=True)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)

    def twice():
        for _ in range(2):
            nn.functional.cross_entropy(model(IMAGES), LABELS).backward()
        optimizer.step()

    with pytest.raises(ValueError, match="when nothing holds this optimizer any more, nor a scheduler of it") as told:
        twice()
    del scheduler, told
    optimizer = masking.optimizer(in_backward=False)
    optimizer.zero_grad()
    twice()


def test_an_average_is_loaded_into_a_plain_model_as_told():
    model, _ = masked()
    average = torch.optim.swa_utils.AveragedModel(model)
    train(model, submasking.of(model).optimizers(lr=300.0))
    average.update_parameters(model)
    train(model, submasking.of(model).optimizers(lr=300.0))
    average.update_parameters(model)
    state = average.module.state_dict()
    with pytest.raises(ValueError, match="load an average into a plain model with strict=False"):
        model.load_state_dict(state)
    plain = copy.deepcopy(BACKBONE)
    plain.load_state_dict(state, strict=False)
    assert torch.equal(outputs(plain), outputs(average.module))


def test_a_task_of_a_wrapper_is_saved_from_the_model_inside_as_told(tmp_path):
    path, shell = tmp_path / "task", nn.ModuleDict({"backbone": copy.deepcopy(BACKBONE)})
    masking = submasking.mask(shell)
    maskfile.save(path, masking)
    with pytest.raises(MaskFileError, match="or mask the model inside and save that"):
        laid(path)
    masking.unbake()
    inside = submasking.mask(shell["backbone"])
    maskfile.save(path, inside)
    assert torch.equal(outputs(laid(path)), outputs(shell["backbone"]))


@pytest.mark.parametrize(("select", "said"), [("weights", "pass a callable that does"), ("resnet", "'weights' fits")])
def test_what_masks_nothing_is_not_told_to_do_the_same_again(select, said):
    with pytest.raises(ValueError, match=f"masks none of 2; {said}"):
        submasking.mask(nn.Sequential(nn.BatchNorm2d(3)), select)
