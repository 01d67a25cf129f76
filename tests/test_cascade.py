"""Cascades: what routes, joins and reduces features; experts go on from where the first mask stopped."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from submasking.experiments.analyses import cascade
from submasking.experiments.analyses.cascade import Budget, Embedded, Routes
from submasking.experiments.analyses.trials import onward
from submasking.learning.adapt import adapt
from submasking.records import analyses
from submasking.records.profiles import profile
from submasking.report import cascade as report
from submasking.worlds import backbones, datasets


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_images_are_routed_by_the_clusters_of_their_features():
    centres = 20 * drawn(0, 3, 8)
    clusters = torch.arange(90) % 3
    embedded = Embedded(centres[clusters] + drawn(1, 90, 8), centres[clusters[:30]] + drawn(2, 30, 8))
    found = cascade.routed(embedded, 3, 0)
    for routes, true in zip(found, (clusters, clusters[:30]), strict=True):
        assert len({(int(a), int(b)) for a, b in zip(routes, true, strict=True)}) == 3


@pytest.mark.parametrize("length", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("away", [0.0, 30.0])
def test_features_of_any_length_in_few_dimensions_are_routed_too(length, rank, away):
    """As those of a network that is hardly trained, whose features nearly coincide."""
    centres, axes = 20 * drawn(0, 3, rank), drawn(3, rank, 64)
    clusters = torch.arange(48) % 3
    embedded = Embedded(*(length * ((centres[clusters] + drawn(k, 48, rank)) @ axes + away) for k in (1, 2)))
    found = cascade.routed(embedded, 3, 0)
    if rank > 1:
        for routes in found:
            assert len({(int(a), int(b)) for a, b in zip(routes, clusters, strict=True)}) == 3
    cascade.routed(embedded, 5, 0)


@given(st.integers(2, 5), st.integers(0, 99))
def test_random_clusters_have_the_same_sizes(experts, seed):
    routes = Routes(*(torch.randint(experts, (n,), generator=torch.Generator().manual_seed(seed)) for n in (40, 20)))
    for before, after in zip(routes, cascade.shuffled(routes, seed), strict=True):
        assert torch.equal(before.bincount(minlength=experts), after.bincount(minlength=experts))


@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 99))
def test_an_image_has_the_features_of_its_own_expert_and_zeros_elsewhere(experts, width, seed):
    parts = [Embedded(drawn(seed + k, 6, width), drawn(seed - k, 4, width)) for k in range(experts)]
    routes = Routes(torch.arange(6) % experts, torch.arange(4) % experts)
    every, own = cascade.joined(parts), cascade.joined(parts, routes)
    for side in range(2):
        for image, expert in enumerate(routes[side]):
            here = slice(int(expert) * width, (int(expert) + 1) * width)
            assert torch.equal(own[side][image, here], parts[expert][side][image])
            assert torch.equal(every[side][image, here], parts[expert][side][image])
            assert int(own[side][image].count_nonzero()) == width
        assert int(every[side].count_nonzero()) == every[side].numel()


@given(st.integers(3, 9), st.integers(1, 12), st.integers(0, 99))
def test_reduced_features_are_centred_and_spread_alike(before, width, seed):
    embedded = Embedded(drawn(seed, 40, before) * torch.arange(1.0, before + 1) + 3, drawn(seed + 1, 7, before))
    made = cascade.reduced(embedded, width)
    count = min(width, before)
    assert made.judged.shape == (7, count)
    torch.testing.assert_close(made.train.mean(0), torch.zeros(count), atol=1e-4, rtol=0)
    torch.testing.assert_close(made.train.T.cov(), torch.eye(count).squeeze() if count == 1 else torch.eye(count),
                               atol=1e-3, rtol=0)  # fmt: skip


@pytest.mark.usefixtures("smoke_results")
def test_a_training_goes_on_from_the_scores_and_the_statistics_of_another():
    backbone = backbones.load("rn50-swav", "smoke")
    images, chosen = datasets.load("smoke", "cifar10", "train"), profile("smoke")
    plan = chosen.method("SSM", "rn50-swav", 0.0)
    first = adapt(backbone, images, "SSM", plan, swav=chosen.swav, batch_size=16, progress=False)
    start, scores = onward(backbone, first)
    still = replace(plan, lr=0.0, epochs=1, norms="freeze")
    second = adapt(start, images, "SSM", still, swav=chosen.swav, batch_size=16, init=scores, progress=False)
    for name, score in first.masking.scores().items():
        assert torch.equal(score, second.masking.scores()[name])
    ended, held = (dict(each.trunk.named_buffers()) for each in (first, second))
    for name, _ in backbone.trunk.named_buffers():
        assert torch.equal(ended[name], held[name])
    assert first.masking.sparsity() > 0


@pytest.mark.usefixtures("smoke_results")
def test_a_cascade_is_judged_kept_drawn_and_told(tmp_path):
    budget = Budget(("cifar10",), (0, 1), epochs=1, experts=2)
    tables = cascade.cascades("smoke", "rn50-swav", budget)
    analyses.write(analyses.Analysis("cascade", "smoke", "rn50-swav", {}, {}, tables), tmp_path)
    rows = {row["way"]: row for row in tables["ways"]}
    assert set(rows) == set(cascade.WAYS)
    assert rows[cascade.OWN]["kB"] > rows[cascade.ALL]["kB"] > rows[cascade.LONGER]["kB"]
    assert [rows[way]["passes"] for way in (cascade.RAW, cascade.OWN, cascade.ALL)] == [1, 2, 2]
    assert all(0 < row["smallest"] <= row["largest"] < 1 for row in tables["routing"])
    for dark in (False, True):
        assert report.ways(tables, dark=dark).axes
    assert "Means over 2 pairs" in report.answer(tables)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"experts": 1}])
def test_a_budget_out_of_range_is_refused(change):
    with pytest.raises(ValueError, match="epochs must be at least 1 and experts at least 2"):
        replace(Budget(("cifar10",), (0,)), **change)
    with pytest.raises(ValueError, match="let repeats be 1 or more"):
        Budget(("cifar10",), ())
