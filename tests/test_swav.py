import pytest
import references_swav
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from submasking.learning.swav import SwavHead, SwavLoss, forward_crops, sinkhorn

SEEDS = st.integers(0, 2**31)
SIZES = st.integers(2, 12)


def _matrix(rows, columns, seed, scale=1.0):
    return scale * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def _loss(seed=0, **options):
    torch.manual_seed(seed)
    return SwavLoss(SwavHead(6, dimensions=5, prototypes=7), **({"queue": 0} | options))


def _views(count=3, samples=4, seed=1):
    return [_matrix(samples, 6, seed + view) for view in range(count)]


@given(SIZES, SIZES, SEEDS, st.integers(1, 5))
def test_sinkhorn_equals_the_literal_one(rows, columns, seed, iterations):
    scores = _matrix(rows, columns, seed, 0.2).clamp(-1, 1)
    expected = references_swav.sinkhorn(scores.double().tolist(), 0.05, iterations)
    assert torch.allclose(sinkhorn(scores, 0.05, iterations), torch.tensor(expected), atol=1e-4)


@given(SIZES, SIZES, SEEDS)
def test_sinkhorn_gives_each_sample_one_unit_of_mass(rows, columns, seed):
    weights = sinkhorn(_matrix(rows, columns, seed))
    assert (weights >= 0).all()
    assert torch.allclose(weights.sum(1), torch.ones(rows), atol=1e-5)


@given(SIZES, SIZES, SEEDS)
def test_sinkhorn_converges_to_equal_use_of_all_prototypes(rows, columns, seed):
    weights = sinkhorn(_matrix(rows, columns, seed, 0.1), epsilon=0.1, iterations=300)
    assert torch.allclose(weights.sum(0), torch.full((columns,), rows / columns), atol=1e-2)


@given(SIZES, SIZES, SEEDS, st.floats(-50, 50))
def test_sinkhorn_ignores_a_constant_shift(rows, columns, seed, shift):
    scores = _matrix(rows, columns, seed)
    assert torch.allclose(sinkhorn(scores + shift), sinkhorn(scores), atol=2e-3)


@given(SIZES, SIZES, SEEDS)
def test_sinkhorn_follows_a_reordering_of_samples(rows, columns, seed):
    scores, order = _matrix(rows, columns, seed), torch.randperm(rows)
    assert torch.allclose(sinkhorn(scores[order]), sinkhorn(scores)[order], atol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e4, 1e30])
def test_sinkhorn_stays_finite_at_extreme_scores(scale):
    weights = sinkhorn(_matrix(6, 4, 0, scale))
    assert weights.isfinite().all()
    assert torch.allclose(weights.sum(1), torch.ones(6), atol=1e-4)


def test_sinkhorn_splits_equal_scores_equally():
    assert torch.allclose(sinkhorn(torch.zeros(3, 4)), torch.full((3, 4), 0.25))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.zeros(2, 2), 0.0), "epsilon"),
        ((torch.zeros(2, 2), float("nan")), "epsilon"),
        ((torch.zeros(2, 2), 0.05, 0), "iterations"),
        ((torch.zeros(2),), "matrix"),
        ((torch.zeros(0, 3),), "matrix"),
    ],
)
def test_sinkhorn_refuses_what_makes_no_sense(arguments, words):
    with pytest.raises(ValueError, match=words):
        sinkhorn(*arguments)


@pytest.mark.parametrize("large", [1, 2])
@pytest.mark.parametrize("queued", [False, True])
def test_loss_equals_the_literal_one(large, queued):
    loss = _loss(large=large, queue=4 if queued else 0)
    if queued:
        loss(_views(seed=50))  # one batch fills the queue
    past = [(loss.queue[view] @ loss.head.prototypes.weight.T).tolist() for view in range(large)]
    views = _views()
    scores = [(loss.head(view) @ loss.head.prototypes.weight.T).tolist() for view in views]
    expected = references_swav.loss(scores, past, temperature=0.1, epsilon=0.05, iterations=3, large=large)
    assert loss(views).item() == pytest.approx(expected, rel=1e-4)


def test_gradient_reaches_the_trunk_and_the_prototypes_but_not_the_assignments():
    loss, views = _loss(), [view.requires_grad_() for view in _views()]
    loss(views).backward()
    assert all(view.grad.abs().sum() > 0 for view in views)
    assert loss.head.prototypes.weight.grad.abs().sum() > 0
    assert not sinkhorn(views[0]).requires_grad


def test_prototypes_return_to_the_unit_sphere_every_step():
    loss = _loss()
    with torch.no_grad():
        loss.head.prototypes.weight.mul_(3)
    loss(_views())
    assert torch.allclose(loss.head.prototypes.weight.norm(dim=1), torch.ones(7), atol=1e-6)


def test_prototypes_stay_during_the_first_steps():
    loss = _loss(freeze_prototypes=2)
    optimizer = torch.optim.SGD(loss.parameters(), lr=1.0, momentum=0.9, weight_decay=0.1)
    before = loss.head.prototypes.weight.detach().clone()
    moved = []
    for step in range(3):
        loss(_views(seed=step)).backward()
        optimizer.step()
        optimizer.zero_grad()
        moved.append(not torch.allclose(loss.head.prototypes.weight, before, atol=1e-6))
    assert moved == [False, False, True]


def test_queue_holds_the_newest_projections_of_the_large_views():
    loss = _loss(queue=6)
    first, second = _views(seed=1), _views(seed=9)
    loss(first)
    loss(second)
    for view in range(2):
        expected = torch.cat([loss.head(second[view]), loss.head(first[view])[:2]])
        assert torch.allclose(loss.queue[view], expected, atol=1e-6)


def test_queue_is_used_only_when_full_and_from_its_step_on():
    for options in ({"queue": 8}, {"queue": 4, "queue_from": 2}):
        with_queue, without = _loss(**options), _loss()
        losses = [(with_queue(_views(seed=step)).item(), without(_views(seed=step)).item()) for step in range(3)]
        assert [one == pytest.approx(other, rel=1e-5) for one, other in losses] == [True, True, False]


def test_validation_leaves_queue_prototypes_and_step_alone():
    loss = _loss(queue=4, freeze_prototypes=1)
    loss(_views())
    with torch.no_grad():
        loss.head.prototypes.weight.mul_(2)
    before = {name: tensor.clone() for name, tensor in loss.state_dict().items()}
    loss.eval()
    loss(_views(seed=7))
    assert all(torch.equal(tensor, before[name]) for name, tensor in loss.state_dict().items())


def test_state_survives_a_checkpoint():
    first, second = _loss(seed=0, queue=4), _loss(seed=1, queue=4)
    first(_views())
    second.load_state_dict(first.state_dict())
    assert second(_views(seed=5)).item() == first(_views(seed=5)).item()


def test_matching_views_lose_less_than_strangers():
    loss, view = _loss(), _matrix(16, 6, 3)
    assert loss([view, view]) < loss([view, _matrix(16, 6, 4)])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"large": 0}, "large"),
        ({"queue": -1}, "queue"),
        ({"queue_from": -1}, "queue_from"),
        ({"freeze_prototypes": -1}, "freeze_prototypes"),
    ],
)
def test_loss_refuses_numbers_out_of_range(options, words):
    with pytest.raises(ValueError, match=words):
        _loss(**options)


def test_loss_says_which_views_are_wrong():
    with pytest.raises(ValueError, match="at least 2 views"):
        _loss()(_views(1))
    with pytest.raises(ValueError, match="same images"):
        _loss()([_matrix(4, 6, 0), _matrix(3, 6, 0)])
    with pytest.raises(ValueError, match="queue must hold"):
        _loss(queue=3)(_views())
    with pytest.raises(ValueError, match="prototypes"):
        SwavHead(4, prototypes=0)


def test_forward_crops_runs_equal_sizes_together_and_keeps_the_order():
    seen = []

    class Trunk(nn.Module):
        def forward(self, images):
            seen.append(tuple(images.shape))
            return images.mean((2, 3))

    crops = [torch.rand(2, 3, size, size) for size in (8, 8, 5, 8)]
    features = forward_crops(Trunk(), crops)
    assert seen == [(4, 3, 8, 8), (2, 3, 5, 5), (2, 3, 8, 8)]
    assert all(torch.allclose(feature, crop.mean((2, 3))) for feature, crop in zip(features, crops, strict=True))
