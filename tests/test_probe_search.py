"""The decay of a linear probe is chosen on validation images, and the search says where it ended."""

import math

import pytest
import torch

from submasking.learning.evaluate import accuracy
from submasking.learning.probe import linear_probe
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
