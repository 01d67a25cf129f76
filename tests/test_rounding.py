"""Rounding what a task holds beside its masks: as far as it says and no further, and what is saved is the model."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_maskfile import adapted, images, small
from torch import nn

from submasking import mask, maskfile, round_off
from submasking.tasks import rounding
from submasking.tasks.heads import CosineHead, linear_head
from submasking.tasks.taskfile import own_state

BITS = st.integers(1, rounding.MOST)


def head_of(seed, width=6, classes=3):
    head = linear_head(width, classes, seed=seed)
    with torch.no_grad():
        head.weight.mul_(10.0 ** torch.randint(-3, 3, (), generator=torch.Generator().manual_seed(seed)))
    return head


@given(BITS, st.integers(0, 2**32))
def test_no_logit_moves_beyond_the_bound(bits, seed):
    head, features = head_of(seed), 5 * torch.randn(9, 6, generator=torch.Generator().manual_seed(seed))
    before = copy.deepcopy(head).double()(features.double())
    rounded = round_off(adapted(seed=seed), head, bits=bits)
    moved = (head.double()(features.double()) - before).abs().max(1).values
    assert (moved <= rounded.bound(features.double()) * (1 + 1e-12)).all()
    assert rounded.bound(features.double()).max() < 100 * moved.max() + 1e-9  # it says something


@given(BITS, st.integers(0, 2**32))
def test_a_head_becomes_multiples_of_its_size(bits, seed):
    head = head_of(seed)
    before = head.weight.detach().double()
    size = float(before.square().mean().sqrt())
    rounded = round_off(adapted(), head, bits=bits)
    step = 2.0 ** (np.floor(np.log2(size)) - bits)
    assert torch.equal((head.weight.double() / step).round() * step, head.weight.double())
    assert float((head.weight.detach().double() - before).abs().max()) == rounded.weight <= step / 2


@given(BITS, st.integers(0, 2**32))
def test_norm_statistics_keep_four_bits_more(bits, seed):
    masking = adapted(seed=seed)
    before = {name: value.clone() for name, value in own_state(masking).items()}
    rounded = round_off(masking, bits=bits)
    digits, furthest = bits + rounding.BUFFERS, 0.0
    for name, value in before.items():
        now = masking.model.state_dict()[name].double()
        if not value.is_floating_point():
            assert torch.equal(now, value.double())
            continue
        mantissa = torch.frexp(now).mantissa * 2**digits
        assert torch.equal(mantissa, mantissa.round())
        furthest = max(furthest, float(((now - value) / value).abs().max()))
    assert furthest == pytest.approx(rounded.buffers)
    assert furthest <= 2.0**-digits


@given(st.lists(st.floats(width=32), max_size=20), BITS)
def test_whatever_a_buffer_holds_is_rounded_or_left(values, digits):
    given_values = torch.tensor(values)
    value = given_values.clone()
    moved = rounding.to_digits(value, digits)
    assert torch.equal(value.isnan(), given_values.isnan())
    assert torch.equal(value.isinf(), given_values.isinf())
    normal = given_values.isfinite() & (given_values.abs() >= 2.0**-126)
    assert moved <= 1
    change = (value.double() - given_values.double()).abs()[normal]
    assert (change <= 2.0**-digits * given_values.double().abs()[normal]).all()


@given(st.integers(0, 2**32))
def test_what_is_kept_is_kept_with_as_few_bits_as_will_do(seed):
    masking, head, x = adapted(seed=seed), head_of(seed), images(40, seed)
    with torch.no_grad():
        head.bias.zero_()
    state, first = copy.deepcopy(masking.model.state_dict()), copy.deepcopy(head)
    wanted = head(masking.model(x)).argmax(1)
    done = round_off(masking, head, bits=1, keep=lambda: head(masking.model(x)).argmax(1))
    assert torch.equal(head(masking.model(x)).argmax(1), wanted)
    if done.bits > 1:
        masking.model.load_state_dict(state)
        round_off(masking, first, bits=done.bits - 1)
        assert not torch.equal(first(masking.model(x)).argmax(1), wanted)


def test_what_cannot_be_kept_is_refused_and_nothing_changed():
    masking, head = adapted(), linear_head(6, 3, seed=0)
    before, weight = {name: v.clone() for name, v in own_state(masking).items()}, head.weight.detach().clone()
    with pytest.raises(ValueError, match=r"rounding must not change what keep gives; with 20 bits.*give classes"):
        round_off(masking, head, keep=lambda: head(masking.model(images())))
    assert all(torch.equal(value, before[name]) for name, value in own_state(masking).items())
    assert torch.equal(head.weight, weight)


def test_what_is_saved_after_rounding_is_the_model(tmp_path):
    masking, head = adapted(), linear_head(6, 3, seed=0)
    sizes, outputs = [maskfile.save(tmp_path / "exact", masking, head=head).size], head(masking.model(images()))
    for bits in (16, 10, 5):
        round_off(masking, head, bits=bits)
        task, model = maskfile.save(tmp_path / str(bits), masking, head=head), small()
        task.apply(model)
        assert torch.equal(task.head()(model(images())), head(masking.model(images())))
        assert (task.head()(model(images())) - outputs).abs().max() < 10 * 2.0**-bits
        sizes.append(task.size)
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


def test_backbone_and_masks_stay_as_they_are():
    masking = adapted()
    masks = masking.masks()
    round_off(masking, bits=1)
    assert all(torch.equal(masking.masks()[name], value) for name, value in masks.items())
    masking.unbake()
    assert all(torch.equal(value, small().state_dict()[name]) for name, value in masking.model.state_dict().items())


def test_a_trained_classifier_is_rounded_as_a_head_is():
    model = small()
    masking = mask(model, lambda name, p: "train" if name.startswith("7.") else "mask" if p.dim() == 4 else "freeze")
    weight, head = model[7].weight.detach().clone(), nn.Linear(16, 6)
    head.load_state_dict(model[7].state_dict())
    rounded = round_off(masking, head, bits=6)
    assert torch.equal(model[7].weight, head.weight)
    assert rounded.trained == max(rounded.weight, rounded.bias) > 0
    assert not torch.equal(model[7].weight, weight)


def test_text_embeddings_and_zeros_have_nothing_to_round():
    head = CosineHead(torch.randn(3, 6, generator=torch.Generator().manual_seed(0)), 1.7)
    before, zeros = head.embeddings.clone(), nn.Linear(6, 3)
    nn.init.zeros_(zeros.weight), nn.init.zeros_(zeros.bias)
    round_off(adapted(), head, bits=1)
    assert torch.equal(head.embeddings, before)
    assert round_off(adapted(), zeros, bits=1).weight == 0
    assert not zeros.weight.any()


@pytest.mark.parametrize("bits", [0, 21, 10.0, True, None])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValueError, match="bits must be a whole number from 1 to 20; got"):
        round_off(adapted(), bits=bits)


def test_a_model_that_is_not_its_masks_is_refused_and_left():
    masking, head = adapted(), linear_head(6, 3, seed=0)
    with torch.no_grad():
        masking.model[0].weight.add_(1.0)
    before, weight = {name: v.clone() for name, v in own_state(masking).items()}, head.weight.clone()
    with pytest.raises(ValueError, match="what is saved must be what the model computes"):
        round_off(masking, head)
    assert all(torch.equal(value, before[name]) for name, value in own_state(masking).items())
    assert torch.equal(head.weight, weight)


@pytest.mark.parametrize("fault", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_rounding_that_is_broken_off_leaves_the_task_as_it_was(fault):
    masking, head = adapted(), linear_head(6, 3, seed=0)
    before = copy.deepcopy((masking.model.state_dict(), head.state_dict()))
    answers = iter([torch.zeros(2), torch.ones(2)])

    def keep():
        found = next(answers, None)
        if found is None:
            raise fault
        return found

    with pytest.raises(fault):
        round_off(masking, head, keep=keep)
    for now, then in zip((masking.model.state_dict(), head.state_dict()), before, strict=True):
        assert all(torch.equal(value, then[name]) for name, value in now.items())


def test_what_is_to_be_kept_is_a_tensor():
    with pytest.raises(ValueError, match="keep must give a tensor; got list"):
        round_off(adapted(), linear_head(6, 3, seed=0), keep=lambda: [1, 2])
