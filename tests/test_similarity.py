"""The overlap of masks and its null model, against counting one weight at a time."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from submasking.tasks.similarity import MAGNITUDES, similarity


def counted(first, second, weights):
    """Per stratum, by the definition: rank the weights, cut the ranks into sixteenths, count."""
    size = len(weights)
    order = sorted(range(size), key=lambda index: (abs(float(weights[index])), index))
    strata = [[0, 0, 0, 0] for _ in range(MAGNITUDES)]
    for rank, index in enumerate(order):
        row = strata[rank * MAGNITUDES // size]
        off = (not first[index], not second[index])
        for place, value in enumerate((True, *off, all(off))):
            row[place] += value
    return [row for row in strata if row[0]]


@given(st.integers(1, 70), st.integers(0, 2**31), st.sampled_from([1, 3, 1000]), st.floats(0, 1))
def test_strata_are_runs_of_ranks_with_ties_in_the_order_of_memory(size, seed, distinct, share):
    random = np.random.default_rng(seed)
    weights = torch.from_numpy(random.integers(-distinct, distinct + 1, size).astype(np.float32))
    first, second = (torch.from_numpy(random.random(size) < share) for _ in range(2))
    found = similarity({"w": first}, {"w": second}, {"w": weights})
    rows = counted(first, second, weights)
    assert found.both == sum(both for *_, both in rows)
    assert found.most == sum(min(a, b) for _, a, b, _ in rows)
    assert abs(found.expected - sum(a * b / n for n, a, b, _ in rows)) < 1e-9


def test_empty_tensors_and_memory_formats_do_not_matter():
    random = torch.Generator().manual_seed(0)
    weights = torch.randn(8, 6, 3, 3, generator=random)
    first, second = (torch.rand(weights.shape, generator=random) > 0.3 for _ in range(2))
    plain = similarity({"w": first}, {"w": second}, {"w": weights})
    empty = torch.zeros(0, dtype=torch.bool)
    swapped = similarity(
        {"w": first, "e": empty},
        {"w": second.to(memory_format=torch.channels_last), "e": empty},
        {"w": weights.to(memory_format=torch.channels_last), "e": torch.zeros(0)},
    )
    assert swapped == plain
