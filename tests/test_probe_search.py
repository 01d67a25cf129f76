"""The decay of a linear probe is chosen on validation images, and the search says where it ended."""

import json
import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy

from benchmarks import probe
from benchmarks.__main__ import RECORDS
from submasking.learning.evaluate import accuracy
from submasking.learning.probe import fitted, linear_probe
from submasking.learning.probe_search import best_decay, probe_head


def noisy(count, seed, width=40):
    """Three classes that differ in one direction each, among many that say nothing."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return torch.randn(count, width, generator=generator) + 1.5 * torch.eye(width)[labels], labels


def test_the_choice_is_the_best_of_what_was_tried():
    (train, train_labels), (validation, labels) = noisy(60, 0), noisy(300, 1)
    choice = best_decay(train, train_labels, validation, labels)
    for decay, share in choice.tried.items():
        classes, _ = linear_probe(train, train_labels, validation, decay=decay)
        assert accuracy(classes, labels) == share
    assert choice.tried[choice.decay] == max(choice.tried.values())
    assert choice.converged
    weak, _ = linear_probe(train, train_labels, validation, decay=0.01)
    assert choice.tried[choice.decay] > accuracy(weak, labels)


@pytest.mark.parametrize("decays", [(1e-4,), (1e5,), (1e-3, 1e-2), (1.0, 10.0, 100.0)])
def test_the_search_goes_on_beyond_an_end_that_is_best(decays):
    (train, train_labels), (validation, labels) = noisy(60, 0), noisy(300, 1)
    choice = best_decay(train, train_labels, validation, labels, decays=decays)
    assert choice.inside == (min(choice.tried) < choice.decay < max(choice.tried))
    assert choice.inside or len(choice.tried) == len(decays) + 4
    steps = {round(math.log10(decay), 6) for decay in choice.tried}
    assert steps == set(range(int(min(steps)), int(max(steps)) + 1))


def test_of_equals_the_largest_is_taken():
    train = torch.eye(3).repeat(4, 1)
    labels = torch.arange(12) % 3
    choice = best_decay(train, labels, train, labels, decays=(0.1, 1.0))
    assert set(choice.tried.values()) == {1.0}
    assert choice.decay == max(choice.tried)
    assert not choice.inside


def test_what_is_no_choice_is_refused():
    train, labels = noisy(12, 0)
    with pytest.raises(ValueError, match="decays must be positive"):
        best_decay(train, labels, train, labels, decays=(0.0,))
    with pytest.raises(ValueError, match="decays must be positive"):
        best_decay(train, labels, train, labels, decays=())
    with pytest.raises(ValueError, match="set some training images apart"):
        best_decay(train, labels, train[:0], labels[:0])


@pytest.mark.parametrize("decay", [0.1, 10.0])
def test_the_head_of_a_probe_says_what_the_probe_says(decay):
    (train, labels), (test, _) = noisy(60, 0), noisy(300, 1)
    head = probe_head(3 * train, labels, 3, decay=decay)
    classes, _ = linear_probe(3 * train, labels, 3 * test, decay=decay)
    assert (head(3 * test).argmax(1) == classes).float().mean() > 0.98  # scikit-learn stops earlier
    assert all(parameter.requires_grad for parameter in head.parameters())


def test_a_head_of_two_classes_and_one_that_lacks_a_class():
    train, labels = noisy(60, 0)
    two = labels < 2
    head = probe_head(train[two], labels[two], 2, decay=1.0)
    classes, _ = linear_probe(train[two], labels[two], train, decay=2.0)  # of two, scikit-learn holds one vector
    assert (head(train).argmax(1) == classes).float().mean() > 0.95
    with pytest.raises(ValueError, match="each of 4 classes must have an image, 3 has none"):
        probe_head(train, labels, 4, decay=1.0)
    with pytest.raises(ValueError, match="decay must be positive"):
        probe_head(train, labels, 3, decay=0.0)


def test_the_exact_probe_is_at_the_minimum_whatever_the_order_of_the_images():
    """Where classes are many and few directions are large, the usual solver is not: its classes depend on the order."""
    generator = torch.Generator().manual_seed(0)
    centres, size = torch.randn(40, 64, generator=generator), 1 / torch.arange(1, 65)
    labels, asked = torch.arange(400) % 40, torch.arange(2000) % 40
    train = (centres[labels] + torch.randn(400, 64, generator=generator)) * size
    test = (centres[asked] + torch.randn(2000, 64, generator=generator)) * size
    order = torch.randperm(400, generator=generator)

    def moved(**how):
        first, second = (linear_probe(train[at], labels[at], test, **how)[0] for at in (torch.arange(400), order))
        return float((first != second).float().mean())

    assert moved(exact=True) < 0.001 < moved()
    head = probe_head(train, labels, 40, decay=0.01)
    classes, done = linear_probe(train, labels, test, exact=True)
    assert done
    assert (head(test).argmax(1) == classes).float().mean() > 0.99


@pytest.mark.parametrize(("count", "width", "classes"), [(60, 200, 5), (400, 12, 3), (90, 30, 30), (50, 50, 2)])
@pytest.mark.parametrize("decay", [0.01, 1.0, 300.0])
def test_the_exact_probe_is_where_newton_s_method_ends(count, width, classes, decay):
    generator = torch.Generator().manual_seed(count)
    labels = torch.arange(count) % classes
    far = 5 * torch.randn(width, generator=generator)  # as features behind a rectifier: far from the origin
    train = torch.randn(count, width, generator=generator) * torch.logspace(0, -2, width) + far
    scaled = train.double() * width**0.5 / train.double().norm(dim=1).mean()

    def objective(weight, bias):
        loss = cross_entropy(scaled @ weight.T + bias, labels, reduction="sum")
        return float(loss + decay / 2 * weight.square().sum())

    # of two classes scikit-learn holds the difference of the two vectors
    share = 2 if classes == 2 else 1
    newton = LogisticRegression(C=share / decay, solver="newton-cg", tol=1e-9, max_iter=10_000)
    newton.fit(scaled.numpy(), labels.numpy())
    weight, bias = (torch.from_numpy(each) for each in (newton.coef_, newton.intercept_))
    if classes == 2:
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    found = fitted(train, labels, classes, decay=decay)
    assert found.converged
    lowest, scale = objective(weight, bias), float(width**0.5 / train.double().norm(dim=1).mean())
    assert objective(found.weight / scale, found.bias) == pytest.approx(lowest, rel=1e-4)


def test_the_exact_probe_gives_only_classes_that_it_has_seen():
    (train, labels), (test, _) = noisy(60, 0), noisy(300, 1)
    classes, done = linear_probe(train, 7 * labels + 2, test, exact=True)
    assert done
    assert set(classes.tolist()) == {2, 9, 16}
    assert torch.equal(classes, 7 * linear_probe(train, labels, test, exact=True)[0] + 2)
    assert linear_probe(train, labels, test, exact=True, max_iterations=1)[1] is False


def test_the_benchmark_of_the_probe_sets_the_paper_s_beside_one_that_is_told_its_decay():
    train, test = noisy(60, 0), noisy(600, 2)
    found = probe.probes(train, test, {"decay": 10.0, "exact": True})
    for name, how in {
        "usual": {},
        "exact": {"decay": 0.01, "exact": True},
        "searched": {"decay": 10.0, "exact": True},
    }.items():
        assert found[name] == accuracy(linear_probe(*train, test[0], **how)[0], test[1])
    assert found["gained"] == pytest.approx(100 * (found["searched"] - found["usual"]))
    assert found["gained"] > 0


def test_each_row_of_the_probe_s_record_tells_what_masks_would_be_ahead_of_the_paper_s_probe():
    rows = {row["way"]: row for row in json.loads((RECORDS / "probe.json").read_text(encoding="utf-8"))["rows"]}
    for model in probe.MODELS:
        each = [row for way, row in rows.items() if way.startswith(f"{model} ")]
        assert len(each) == 8
        for row in each:
            assert row["before"] == pytest.approx(row["ahead"] + 100 * (row["searched"] - row["usual"]))
        for key in ("usual", "exact", "searched", "gained", "ahead", "before"):
            assert rows[f"{model}, mean"][key] == pytest.approx(sum(row[key] for row in each) / 8)
