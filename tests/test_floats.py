"""Numbers as bytes: whatever they are they come back to the bit, and what is rounded takes few bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submasking.tasks import floats
from submasking.tasks.floats import KINDS

WIDTH = {name: 1 + kind.exponent + kind.mantissa for name, kind in KINDS.items()}


def patterns(name):
    """Any patterns of bits: NaN of any payload, infinities, denormals and -0 among them."""
    kind = KINDS[name]
    exponents = st.sampled_from([0, 1, (1 << kind.exponent) - 1, (1 << kind.exponent) // 2]) | st.integers(
        0, (1 << kind.exponent) - 1
    )
    mantissas = st.sampled_from([0, 1, 1 << kind.mantissa - 1]) | st.integers(0, (1 << kind.mantissa) - 1)
    one = st.builds(
        lambda sign, e, m: sign << WIDTH[name] - 1 | e << kind.mantissa | m,
        st.booleans().map(int),
        exponents,
        mantissas,
    )
    return st.lists(one, max_size=60).map(lambda held: np.array(held, np.uint64).astype(np.int64))


def of(values):
    return np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.int64).ravel()


@pytest.mark.parametrize("name", KINDS)
@given(st.data())
def test_any_numbers_come_back_to_the_bit(name, data):
    words = data.draw(patterns(name))
    coded = floats.encode(words, KINDS[name])
    assert np.array_equal(floats.decode(coded, words.size, KINDS[name]), words)


def bits(values):
    return 8 * len(floats.encode(of(values), KINDS["float32"])) / values.size


def normal(size=4000, seed=0):
    return np.random.default_rng(seed).normal(size=size).astype(np.float32) / 20


@pytest.mark.parametrize("places", [6, 8, 12])
def test_multiples_of_a_step_cost_their_entropy(places):
    """A normal variable of deviation sigma in steps of d costs log2(sigma / d) + 2.05 bits."""
    values = np.round(normal() * 2.0**places) / 2.0**places + 0.0
    entropy = np.log2(2.0**places / 20) + 2.05
    assert entropy - 0.1 < bits(values) < entropy + 0.35


@pytest.mark.parametrize("digits", [3, 8, 11, 17])
def test_rounded_digits_cost_themselves_and_an_exponent(digits):
    mantissa, exponent = np.frexp(normal())
    values = np.ldexp(np.round(mantissa * 2**digits) / 2**digits, exponent).astype(np.float32)
    assert bits(values) < digits - 1 + 1 + 2.8  # the first digit is not kept, a sign is


def test_noise_costs_little_more_than_it_holds():
    assert bits(normal()) < 23 + 1 + 2.8


def test_a_lone_number_that_is_not_rounded_loses_nothing():
    values = np.round(normal() * 256) / 256
    values[17] = np.float32(0.1)
    coded = floats.encode(of(values), KINDS["float32"])
    assert np.array_equal(floats.decode(coded, values.size, KINDS["float32"]), of(values))


def test_numbers_that_are_all_alike_are_left_to_another_code():
    """Else a few bytes could ask for any amount of memory."""
    assert floats.encode(of(np.ones(10**6)), KINDS["float32"]) is None
    with pytest.raises(ValueError, match="numbers take"):
        floats.decode(floats.encode(of(normal()), KINDS["float32"]), 10**12, KINDS["float32"])


@given(st.integers(0, 2**32), st.sampled_from(["cut", "grown", "flipped", "count", "noise"]))
def test_damage_is_refused_or_gives_as_many_numbers(seed, how):
    draw = np.random.default_rng(seed)
    values = np.round(normal(50, seed) * 1024) / 1024
    coded, count = bytearray(floats.encode(of(values), KINDS["float32"])), values.size
    if how == "cut":
        del coded[draw.integers(len(coded)) :]
    elif how == "grown":
        coded += draw.bytes(3)
    elif how == "flipped":
        coded[draw.integers(len(coded))] ^= 1 << draw.integers(8)
    elif how == "count":
        count = int(draw.integers(200))
    else:
        coded = bytearray(draw.bytes(len(coded)))
    try:
        assert floats.decode(bytes(coded), count, KINDS["float32"]).shape == (count,)
    except ValueError:
        return
    assert how not in ("cut", "grown")
