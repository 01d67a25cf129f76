"""The decay of a linear probe is chosen on validation images, and the search says where it ended."""

import math

import pytest
import torch

from submasking.learning.evaluate import accuracy
from submasking.learning.probe import linear_probe
from submasking.learning.probe_search import best_decay


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
