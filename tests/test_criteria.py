import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import literal_mask, literal_weight

from submasking.masking import criteria
from submasking.masking.criteria import Threshold, TopK, alpha, effective, kth_smallest, mask_gradient, write_effective

SHAPES = st.sampled_from([(1,), (7,), (4, 5), (3, 2, 3), (4, 3, 3, 3), (2, 2, 2, 2, 2), (1, 1, 1, 1)])
SEEDS = st.integers(0, 2**31)
# half the scores are drawn from a grid, so that ties and scores equal to mu do occur
MUS = st.sampled_from([-1.5, -0.5, 0.0, 0.25, 1.0])


def draw(shape: tuple[int, ...], seed: int, strided: bool) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=random, dtype=torch.float64)
    values = torch.where(torch.rand(shape, generator=random) < 0.5, values, (values * 4).round() / 4)
    if strided and len(shape) > 1:
        return values.movedim(1, -1).contiguous().movedim(-1, 1)
    return values


@given(SHAPES, SEEDS, MUS, st.booleans())
def test_threshold_equals_literal_mask(shape, seed, mu, strided):
    scores = draw(shape, seed, strided)
    assert torch.equal(Threshold(mu)(scores), literal_mask(scores, Threshold(mu)))


@given(SHAPES, SEEDS, st.floats(0.01, 1.0), st.booleans(), st.booleans())
def test_topk_equals_full_sort(shape, seed, density, strided, partly):
    scores = draw(shape, seed, strided)
    if partly:
        scores[torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.3] = float("inf")
    assert torch.equal(TopK(density)(scores), literal_mask(scores, TopK(density)))


@given(SHAPES, st.floats(0.01, 1.0))
def test_topk_keeps_exact_density_when_all_scores_tie(shape, density):
    mask = TopK(density)(torch.ones(shape))
    assert mask.sum() == max(round(density * mask.numel()), 1)


@given(SEEDS, st.integers(0, 5), st.floats(0.0, 1.0))
def test_kth_smallest_equals_a_full_sort_of_many_values(seed, kind, where):
    values = torch.randn(70_001, generator=torch.Generator().manual_seed(seed))
    if kind == 0:  # what a sample does not see
        values = values.sort().values
    if kind == 1:
        values = values.round()
    if kind == 2:
        values[::17] = 50.0
    rank = 1 + int(where * 70_000)
    found, below = kth_smallest(values, rank)
    assert found == values.sort().values[rank - 1]
    assert below == (values < found).sum()


def test_score_equal_to_threshold_is_off():
    for mu in (-2.0, 0.0, 3.0):
        assert not Threshold(mu)(torch.tensor([mu])).any()


@given(SHAPES, SEEDS, MUS, st.booleans(), st.sampled_from(["none", "variance"]))
def test_gradient_equals_autograd_through_literal_weight(shape, seed, mu, strided, rescale):
    frozen, gradient = draw(shape, seed, strided), draw(shape, seed + 1, strided)
    mask = literal_mask(draw(shape, seed + 2, strided), Threshold(mu))
    literal = mask.to(torch.float64).requires_grad_()
    (literal_weight(frozen, literal, rescale) * gradient).sum().backward()
    torch.testing.assert_close(mask_gradient(gradient, frozen, mask, rescale), literal.grad, rtol=1e-5, atol=1e-6)


@given(SHAPES, SEEDS, st.sampled_from(["none", "variance"]))
def test_effective_weight_equals_literal_weight(shape, seed, rescale):
    frozen, mask = draw(shape, seed, False), draw(shape, seed + 1, False) > 0
    literal = literal_weight(frozen, mask.to(torch.float64), rescale)
    torch.testing.assert_close(effective(frozen, mask, rescale), literal, rtol=1e-6, atol=0)


@given(SHAPES, SEEDS, MUS, st.booleans(), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_written_weight_is_the_effective_weight(shape, seed, mu, strided, dtype):
    frozen = draw(shape, seed, strided).to(dtype)
    scores = draw(shape, seed + 1, strided).to(torch.promote_types(dtype, torch.float32))
    weight = torch.full_like(frozen, 9.0)
    write_effective(weight, frozen, scores, Threshold(mu), "none")
    assert torch.equal(weight, effective(frozen, literal_mask(scores, Threshold(mu))))


def test_tensor_wholly_off_stays_finite():
    off = torch.zeros(4, 3, dtype=torch.bool)
    frozen, gradient = torch.randn(4, 3), torch.randn(4, 3)
    assert alpha(off) == (1 / 12) ** 0.5  # as if one were on
    assert torch.equal(effective(frozen, off, "variance"), torch.zeros(4, 3))
    torch.testing.assert_close(mask_gradient(gradient, frozen, off, "variance"), gradient * frozen * 12**0.5)


def test_bfloat16_gradient_is_formed_in_float32():
    frozen, gradient = torch.randn(64).bfloat16(), torch.randn(64).bfloat16()
    found = mask_gradient(gradient, frozen, torch.ones(64, dtype=torch.bool))
    assert torch.equal(found, gradient.float() * frozen.float())


@pytest.mark.parametrize("density", [0.0, -0.1, 1.01, float("nan")])
def test_density_outside_its_range_is_refused(density):
    with pytest.raises(ValueError, match=r"density must be in \(0, 1\]; got .*; 0.5 keeps half"):
        TopK(density)


def test_threshold_must_be_finite():
    with pytest.raises(ValueError, match="mu must be a finite number; got nan"):
        Threshold(float("nan"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("criterion", [Threshold(), Threshold(0.1), TopK(0.5), TopK(0.013)], ids=str)
@pytest.mark.parametrize("kind", ["drawn", "tied", "partial", "other layout", "not finite"])
def test_arrays_and_tensors_give_the_same_bits(monkeypatch, dtype, criterion, kind):
    scores, frozen = torch.randn(2, 40, 50, 60, dtype=dtype).permute(0, 3, 1, 2).unbind()
    if kind == "tied":
        scores = (scores * 4).round() / 4
    elif kind == "partial":
        scores[::7] = math.inf
    elif kind == "other layout":
        frozen = frozen.contiguous()
    elif kind == "not finite":
        frozen = frozen.clone()
        frozen[0, 0, :3] = torch.tensor([math.inf, -math.inf, math.nan])

    def found():
        mask, written = criterion(scores), frozen.clone()
        write_effective(written, frozen, scores, criterion, "variance")
        written[~frozen.isfinite()] = 0.0  # off, such a weight is nought where it is chosen, NaN where it is multiplied
        return [mask, alpha(mask), effective(frozen, mask), effective(frozen, mask, "variance"), written]

    with_arrays = found()
    monkeypatch.setattr(criteria, "plain", lambda values: values)  # as on a GPU
    for one, other in zip(with_arrays, found(), strict=True):
        assert torch.equal(one.isnan(), other.isnan())
        assert torch.equal(one.nan_to_num(), other.nan_to_num())
        assert one.stride() == other.stride()
        assert one.dtype == other.dtype


@given(SHAPES, SEEDS, st.floats(0.01, 1.0), st.booleans(), st.sampled_from(["drawn", "tied", "tiny", "partial", "low"]))
def test_a_cut_of_a_fixed_share_says_of_each_score_whether_it_is_on(shape, seed, density, strided, kind):
    scores = draw(shape, seed, strided).float()
    if kind == "tied":
        scores = scores.round()
    elif kind == "tiny":
        scores = scores * 1e-40
    elif kind == "partial":
        scores[scores > 0.5] = math.inf
    elif kind == "low":
        scores[scores < 0.5] = -math.inf
    criterion = TopK(density)
    mask, found = criterion(scores), criterion.above(scores)
    assert criterion.spread(scores) == alpha(mask)
    if found is None:
        assert kind in ("tiny", "low") or mask.all() or not scores[mask].min()
    else:
        cut, others = found
        above = scores > cut
        if others:
            above.numpy()[others] = False
        assert torch.equal(above, mask)


def test_what_is_no_ordinary_tensor_of_a_processor_stays_one():
    class Sharded(torch.Tensor):
        pass

    odd = [torch.zeros(2).as_subclass(Sharded), torch.zeros(2, device="meta"), torch.zeros(2, dtype=torch.bfloat16)]
    assert all(criteria.plain(each) is each for each in odd)
    assert not criteria.plain(torch.nn.Parameter(torch.zeros(2))).any()


def test_a_gradient_flows_through_the_weight_to_what_was_frozen():
    frozen, mask = torch.randn(4, 5, requires_grad=True), torch.rand(4, 5) > 0.5
    effective(frozen, mask, "variance").sum().backward()
    assert torch.equal(frozen.grad, mask.float().div(alpha(mask)))
