import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from submasking.learning import evaluate
from submasking.learning.probe import linear_probe


def clouds(n=30, classes=3, width=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centres = 4 * torch.eye(width)[:classes]
    return centres[labels] + 0.1 * torch.randn(n, width, generator=generator), labels


def literal_neighbours(bank, labels, query, k, temperature=0.1):
    """Weighted nearest neighbours of one query, one by one."""
    cosines = [torch.cosine_similarity(query, row, dim=0).item() for row in bank]
    nearest = sorted(range(len(bank)), key=lambda i: -cosines[i])[:k]
    votes = {}
    for i in nearest:
        votes[labels[i].item()] = votes.get(labels[i].item(), 0) + torch.tensor(cosines[i] / temperature).exp().item()
    return max(votes, key=votes.get)


@given(st.integers(0, 1000), st.integers(1, 12))
def test_neighbours_agree_with_the_literal_rule(seed, k):
    generator = torch.Generator().manual_seed(seed)
    bank, queries = torch.randn(12, 4, generator=generator), torch.randn(3, 4, generator=generator)
    labels = torch.randint(0, 3, (12,), generator=generator)
    found = evaluate.nearest_neighbours(bank, labels, queries, k=k)
    assert found.tolist() == [literal_neighbours(bank, labels, query, k) for query in queries]


def test_neighbours_and_probe_separate_clouds():
    train, (images, labels) = clouds(), clouds(seed=1)
    assert torch.equal(evaluate.nearest_neighbours(*train, images, k=5), labels)
    classes, converged = linear_probe(*train, images)
    assert torch.equal(classes, labels)
    assert converged


def test_accuracy_is_the_exact_share_and_needs_a_class_for_each_label():
    assert evaluate.accuracy(torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1])) == 2 / 3
    assert evaluate.top1(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1])) == 0.5
    for classes, labels in ((torch.tensor([1]), torch.tensor([1, 1])), (torch.tensor([]), torch.tensor([]))):
        with pytest.raises(ValueError, match="a class for each label"):
            evaluate.accuracy(classes, labels)


def test_neighbours_take_the_whole_bank_where_k_is_larger():
    bank, labels = clouds(n=6)
    assert len(evaluate.nearest_neighbours(bank, labels, bank, k=200)) == 6


def test_neighbours_refuse_bad_arguments():
    bank, labels = clouds()
    with pytest.raises(ValueError, match="k must be at least 1"):
        evaluate.nearest_neighbours(bank, labels, bank, k=0)
    with pytest.raises(ValueError, match="one length"):
        evaluate.nearest_neighbours(bank, labels[1:], bank)


@given(st.floats(1e-3, 1e3))
def test_probe_does_not_depend_on_the_scale_of_the_features(scale):
    (train, labels), (test, _) = clouds(), clouds(seed=1)
    train = train + torch.randn(train.shape, generator=torch.Generator().manual_seed(2)) * 3
    one, _ = linear_probe(train, labels, test)
    two, _ = linear_probe(scale * train, labels, scale * test)
    assert (one != two).sum() <= 1


def test_probe_says_when_its_solver_has_not_converged():
    assert linear_probe(*clouds(), clouds()[0], max_iterations=1)[1] is False


def drawn(n, classes):
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(n))


@given(st.integers(100, 2000), st.integers(1, 90), st.floats(1, 100), st.integers(0, 99))
def test_label_subset_has_the_stated_size_no_image_twice_and_each_class_in_its_share(n, classes, percent, seed):
    labels = drawn(n, classes)
    chosen = evaluate.label_subset(labels, percent, seed=seed)
    assert len(chosen) == int(n * percent / 100) == len(chosen.unique())
    share = torch.bincount(labels, minlength=classes) * (len(chosen) / n)
    assert (torch.bincount(labels[chosen], minlength=classes) - share).abs().max() < 2


@given(st.integers(100, 2000), st.floats(1, 100), st.floats(1, 100))
def test_a_smaller_label_subset_lies_within_a_larger(n, first, second):
    small, large = sorted((evaluate.label_subset(drawn(n, 7), percent) for percent in (first, second)), key=len)
    assert set(small.tolist()) <= set(large.tolist())


@pytest.mark.parametrize("percent", [0, -1, 101, 0.5])
def test_label_subset_refuses_what_leaves_nothing(percent):
    with pytest.raises(ValueError, match="percent"):
        evaluate.label_subset(drawn(100, 7), percent)


def test_differing_counts_bits_over_all_tensors():
    one = {"a": torch.tensor([True, False]), "b": torch.tensor([[True], [True]])}
    two = {"a": torch.tensor([True, True]), "b": torch.tensor([[True], [True]])}
    assert evaluate.differing(one, two) == 0.25
    with pytest.raises(ValueError, match="same tensors"):
        evaluate.differing(one, {"a": one["a"]})
