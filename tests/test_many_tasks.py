"""Many tasks in one bank: how they are guessed, counted and told."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bank import filled  # noqa: F401
from test_maskfile import images
from torch import nn

from submasking.experiments.analyses import many_tasks
from submasking.report import many_tasks as report
from submasking.tasks.bank import doubt


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 6))
def test_doubt_is_between_none_and_that_of_a_guess(seed, count, classes):
    logits = 9 * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))
    found = doubt(logits)
    assert found.shape == (count,)
    assert ((found >= -1e-6) & (found <= 1 + 1e-6)).all()
    assert torch.allclose(doubt(torch.zeros(count, 2)), torch.ones(count))
    assert torch.allclose(doubt(torch.eye(3) * 1e3), torch.zeros(3))


def test_a_guess_of_the_bank_is_the_mean_doubt_over_the_batch(filled):  # noqa: F811
    bank, _ = filled
    for name, value in bank.guess(images()).items():
        assert value == pytest.approx(float(doubt(bank.logits(name, images())).mean()))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_norms_see_no_distance_where_the_images_are_those_of_the_running_means(seed):
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(3).eval()
    norm.running_mean.copy_(torch.randn(3))
    norm.running_var.copy_(torch.rand(3) + 0.5)
    steps = norm.running_var.add(norm.eps).sqrt()
    given_ = torch.stack([norm.running_mean + k * steps for k in (0, 1, -2)])[:, :, None, None].expand(3, 3, 4, 4)
    with many_tasks._seen(nn.Sequential(norm)) as seen:
        nn.Sequential(norm)(given_)
        norm(given_)
    (found,) = seen.means()
    assert torch.allclose(found, torch.tensor([0.0, 1, -2]).repeat(2)[:, None].expand(6, 3), atol=1e-4)
    assert not norm._forward_pre_hooks
    with many_tasks._seen(nn.Sequential(nn.LayerNorm(3))) as none:
        pass
    assert none.means()[0].numel() == 0


def guessed():
    return {
        seed: {("entropy", name, 1): [True, False] * 2 for name in ("a", "b")}
        | {("entropy", "a", 2): [seed == 0, True]}
        for seed in (0, 1)
    }


def test_shares_are_means_over_sets_then_seeds_and_small_sets_have_no_large_batches():
    rows = {(row["dataset"], row["images"]): row for row in many_tasks._guesses(guessed())}
    assert rows["all", 1]["share"] == rows["a", 1]["share"] == 0.5
    assert rows["a", 2]["share"] == rows["all", 2]["share"] == 0.75
    assert ("b", 2) not in rows
    assert rows["all", 1]["batches"] == 16
    assert rows["a", 2]["chance"] == 0.5
    assert rows["a", 2]["seeds"] == 2


def tables():
    found = {(many_tasks.OWN, 1): {0: 0.8, 1: 0.9}, (many_tasks.NO_MASK, 0): {0: 0.1, 1: 0.3}, ("union", 2): {0: 0.5,
             1: 0.5}}  # fmt: skip
    alone = [{"tensors": 10, "tensors_differing": 0, "mixed_differing": 0, "backbone_differing": 0}] * 2
    return {"guesses": many_tasks._guesses(guessed()), "combined": many_tasks._combined(found), "alone": alone}


def test_combinations_are_compared_with_the_own_mask_and_with_none():
    rows = {row["masks"]: row for row in tables()["combined"]}
    assert rows["union"]["over_own"] == pytest.approx(-0.35)
    assert rows["union"]["over_none"] == pytest.approx(0.3)
    assert rows["own mask"]["over_own"] == 0


@pytest.mark.parametrize("name", report.FIGURES)
@pytest.mark.parametrize("dark", [False, True])
def test_every_figure_is_drawn(name, dark):
    (axes,) = report.FIGURES[name](tables(), dark=dark).axes
    assert axes.get_xlabel()


def test_the_answer_counts_what_differs():
    told = report.answer(tables())
    assert "Of 20 tensors" in told
    assert ", 0 differ" in told
    assert "union of 2 0.500" in told


@pytest.mark.parametrize("count", [1, 0])
def test_too_few_images_are_refused(count):
    with pytest.raises(ValueError, match="images must be at least 2"):
        many_tasks.analyse("smoke", "rn18-timm", "0", count)
