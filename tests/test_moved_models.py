"""A bank's model that is cast or laid out anew, there and back, between whatever the bank is asked."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from submasking import Bank, mask
from submasking.tasks.heads import CosineHead

IMAGES = torch.linspace(-1, 1, 2 * 3 * 81).view(2, 3, 9, 9)
SELECTIONS = {"one layer": lambda name, _: "mask" if name == "0.weight" else "freeze", "auto": "auto"}
TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LAYOUTS = (torch.channels_last, torch.contiguous_format)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 4),
    ).eval()  # fmt: skip


def filled(select, rescale="none"):
    """A bank of two tasks, and what the model holds under each."""
    bank, held = Bank(network()), {}
    for seed in (1, 2):
        model = network()
        masking = mask(model, select, rescale=rescale)
        draw = torch.Generator().manual_seed(seed)
        masking.load_masks({name: torch.rand(t.shape, generator=draw) > 0.4 for name, t in masking.frozen().items()})
        with torch.no_grad():
            for name in masking.trained:
                masking.parameter(name).add_(seed / 3)
        bank.take(str(seed), masking)
        held[str(seed)] = {name: model.state_dict()[name].clone() for name in network().state_dict()}
    return bank, held


def same(model, held):
    return all(torch.equal(value, held[name]) for name, value in model.state_dict().items())


def extended(bank):
    bank.put(f"more {len(bank.tasks)}", bank.masks("1"), rescale=bank._rescale)


STEPS = {f"to {kind}": lambda bank, kind=kind: bank.model.to(kind) for kind in TYPES}
STEPS |= {f"to {layout}": lambda bank, layout=layout: bank.model.to(memory_format=layout) for layout in LAYOUTS}
STEPS |= {
    "use 1": lambda bank: bank.use("1"),
    "use 2": lambda bank: bank.use("2"),
    "put": extended,
    "release": lambda bank: bank.release(),
    "a part cast": lambda bank: bank.model[2].double(),
}


@settings(deadline=None)
@given(
    st.sampled_from(list(SELECTIONS)),
    st.sampled_from(["none", "variance"]),
    st.lists(st.sampled_from(list(STEPS)), max_size=8),
)
def test_casts_and_their_undoing_lose_nothing_and_are_no_edits(select, rescale, steps):
    bank, held = filled(SELECTIONS[select], rescale)
    for step in [*steps, "to torch.float32", f"to {torch.contiguous_format}"]:
        STEPS[step](bank)
        extended(bank)  # the bank looks where its model is: two casts between looks are an edit
    for name in ("1", "2", "1"):
        assert same(bank.use(name), held[name])
    assert same(bank.release(), network().state_dict())


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("edited", ["0.bias", "2.weight", "5.bias"])
@pytest.mark.parametrize("used", [False, True])
def test_an_edit_beside_a_cast_is_refused_and_left(kind, edited, used):
    bank, _ = filled(SELECTIONS["one layer"])
    if used:
        bank.use("1")
    with torch.no_grad():
        bank.model.get_parameter(edited).add_(1.0)
    bank.model[0].to(memory_format=torch.channels_last)
    bank.model.to(kind)
    before = copy.deepcopy(bank.model.state_dict())
    for _ in range(2):
        with pytest.raises(ValueError, match=f"must keep its weights; '{edited}' was loaded, trained or edited"):
            bank.use("2")
        assert same(bank.model, before)
    bank.release()
    bank.model.float()
    bank.use("2")


@pytest.mark.parametrize("used", [False, True])
def test_a_move_that_was_refused_is_made_up_for(used):
    """Bits lie in memory as the weights do: those of the old layout on the new one would be another task."""
    bank, held = filled("auto")
    if used:
        bank.use("1")
    bank.model.to(memory_format=torch.channels_last)
    bank.model[2].to(torch.float8_e4m3fn)  # no bits can be laid on bytes
    before = copy.deepcopy(bank.model[:2].state_dict())
    for _ in range(2):
        with pytest.raises(ValueError, match=r"2, 4 or 8 bytes each; '2\.weight' is not"):
            bank.use("2")
        assert same(bank.model[:2], before)
    bank.model[2].float()
    assert same(bank.use("2"), held["2"])
    assert same(bank.release(), network().state_dict())


HEADS = {
    "linear": lambda: nn.Linear(8, 3),
    "cosine": lambda: CosineHead(torch.randn(3, 8), 1.0),
    "layers": lambda: nn.Sequential(nn.Linear(8, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).eval(),
    "normed": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 3)),
}


@pytest.mark.parametrize("types", [(kind,) for kind in TYPES] + [(torch.float16, torch.float64)])
@pytest.mark.parametrize("build", HEADS.values(), ids=HEADS)
def test_a_head_answers_in_the_type_of_the_model_and_keeps_its_own(build, types):
    torch.manual_seed(0)
    bank, head = Bank(network()[:5]), build()
    bank.put("task", {"0.weight": torch.rand(8, 3, 3, 3) > 0.3}, head=head)
    before, wanted = copy.deepcopy(head.state_dict()), bank.logits("task", IMAGES)
    for kind in types:
        bank.model.to(kind)
        found = bank.logits("task", IMAGES.to(kind))
        assert found.dtype == kind
        torch.testing.assert_close(found, wanted.to(kind), atol=0.02, rtol=0.02)
        assert all(
            torch.equal(value, before[name]) and value.dtype == before[name].dtype
            for name, value in head.state_dict().items()
        )
    bank.model.float()
    assert torch.equal(bank.logits("task", IMAGES), wanted)
