"""The codec: what goes in comes out, the bytes are those that were stored, and the size is what was promised."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from submasking import codec
from submasking.codec import context, layout, model, sizes

VECTORS = Path(__file__).parent / "vectors"


def learned(shapes, density=0.9, seed=0):
    """Weights, and masks as if learned: large weights fall more often, and those of some filters and channels."""
    g = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(shape, generator=g) * 0.1 for name, shape in shapes.items()}
    masks = {}
    for name, theta in weights.items():
        push = theta * torch.randn(theta.shape, generator=g)
        for axis in range(min(theta.dim(), 2)):
            shape = [1] * theta.dim()
            shape[axis] = theta.shape[axis]
            push = push * torch.randn(shape, generator=g).exp()
        masks[name] = push.flatten().argsort().argsort().view(theta.shape) < density * theta.numel()
    return weights, masks


@st.composite
def coded_cases(draw):
    shapes = draw(
        st.dictionaries(
            st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=6),
            st.lists(st.integers(1, 13), min_size=0, max_size=4).map(tuple),
            min_size=1,
            max_size=4,
        )
    )
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["normal", "zero", "equal", "huge", "odd"]))
    make = {
        "normal": lambda shape: torch.randn(shape, generator=g),
        "zero": torch.zeros,
        "equal": torch.ones,
        "huge": lambda shape: torch.randn(shape, generator=g) * 1e38,
        "odd": lambda shape: torch.where(torch.rand(shape, generator=g) < 0.5, math.nan, -math.inf),
    }[kind]
    density = draw(st.sampled_from([0.0, 0.001, 0.1, 0.5, 0.97, 1.0]))
    weights = {name: make(shape) for name, shape in shapes.items()}
    masks, sibling = ({n: torch.rand(s, generator=g) < density for n, s in shapes.items()} for _ in range(2))
    return weights, masks, sibling if draw(st.booleans()) else None


@given(coded_cases())
def test_decoding_gives_the_coded_masks_back(case):
    weights, masks, sibling = case
    decoded = codec.decode(codec.encode(masks, weights, sibling=sibling), weights, sibling=sibling)
    assert decoded.keys() == masks.keys()
    assert all(torch.equal(decoded[name], masks[name]) for name in masks)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_types_and_layouts_are_side_information_too(dtype):
    weights, masks = learned({"a": (16, 8, 3, 3)})
    weights = {"a": weights["a"].to(dtype).to(memory_format=torch.channels_last)}
    assert torch.equal(codec.decode(codec.encode(masks, weights), weights)["a"], masks["a"])


@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 9), st.integers(0, 99))
def test_stages_hold_every_weight_once_in_its_place(rows, columns, kernel, seed):
    plan = layout.Layout(rows, columns, kernel)
    values = np.random.default_rng(seed).integers(1, 1 << 30, (rows, columns, kernel))
    staged = plan.split(values)
    assert np.array_equal(plan.join(staged), values)
    assert np.array_equal(np.sort(staged[staged > 0]), np.sort(values.ravel()))
    for stage in range(layout.STAGES):
        found = np.flatnonzero(staged[stage])
        row, place = plan.places_of(stage, found)
        assert np.array_equal(values.reshape(rows, -1)[row, place], staged[stage].reshape(-1)[found])


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 9))
def test_values_of_rows_and_columns_spread_to_their_places(rows, columns, kernel):
    plan = layout.Layout(rows, columns, kernel)
    both = np.arange(1, rows + 1)[:, None] * 1000 + np.arange(plan.width)[None]
    spread = plan.along_rows(np.arange(1, rows + 1) * 1000)[None] + plan.along_width(np.arange(plan.width))[:, None]
    staged = plan.split(both)
    assert np.array_equal(np.broadcast_to(spread, staged.shape)[staged > 0], staged[staged > 0])


@given(st.integers(1, 2**40))
def test_the_whole_number_logarithm_is_close_and_never_falls(value):
    found, after = context.log2(np.array([value, value + 1]))
    assert abs(found / 16 - (math.log2(value) + 127)) < 0.15
    assert after >= found


def test_one_byte_probabilities_are_exact_fractions_and_close_to_every_share():
    p = model.probability(np.arange(256, dtype=np.uint8))
    assert np.array_equal(np.round(p.astype(np.float64) * 2**20) / 2**20, p)
    assert 0 < p.min() < 1e-5 < 1 - 1e-5 < p.max() < 1
    shares = np.linspace(1e-4, 1 - 1e-4, 999)
    near = model.probability(model.nearest_codes(shares)).astype(np.float64)
    excess = shares * np.log(shares / near) + (1 - shares) * np.log((1 - shares) / (1 - near))
    entropy = -shares * np.log(shares) - (1 - shares) * np.log1p(-shares)
    assert (excess / entropy).max() < 0.003


SHAPES = {"stem": (16, 3, 3, 3), "conv": (64, 32, 3, 3), "depth": (32, 1, 3, 3), "one": (64, 64), "bias": (64,)}


def stored_cases():
    """What the stored vectors were coded from: arithmetic that gives the same on every machine, no random source."""
    index = torch.arange(64 * 64 * 9, dtype=torch.int64)
    noise = (index * 2654435761 + 12345) % 4294967291
    weights, masks, sibling = {}, {}, {}
    for number, (name, shape) in enumerate(SHAPES.items()):
        count = math.prod(shape)
        part = noise[number * 97 : number * 97 + count]
        weights[name] = ((part % 2001 - 1000).float() / 1024).view(shape)
        masks[name] = ((part // 2001) % 1000 > (part % 2001 - 1000).abs() // 4).view(shape)
        sibling[name] = (((part // 2001) % 1000 > (part % 2001 - 1000).abs() // 4) ^ (part % 31 == 0)).view(shape)
    return {
        "alone": (weights, masks, None),
        "beside a sibling": (weights, masks, sibling),
        "constant": (weights, {name: torch.full(shape, name != "conv") for name, shape in SHAPES.items()}, None),
    }


@pytest.mark.parametrize("name", ["alone", "beside a sibling", "constant"])
def test_stored_bytes_are_decoded_to_the_same_masks_on_every_machine(name):
    stored = json.loads((VECTORS / "codec-1.json").read_text())[name]
    weights, masks, sibling = stored_cases()[name]
    decoded = codec.decode(bytes.fromhex(stored), weights, sibling=sibling)
    assert all(torch.equal(decoded[key], masks[key]) for key in masks)


def test_the_model_coded_with_fixed_coefficients_gives_the_stored_bytes(monkeypatch):
    """Encoding too is exact on every machine once the fitted coefficients are given."""
    weights, masks, _ = stored_cases()["alone"]
    stored = bytes.fromhex(json.loads((VECTORS / "codec-1.json").read_text())["alone"])
    fitted, _ = model.Model.unpack(stored[1:], len(SHAPES))
    monkeypatch.setattr("submasking.codec.fit.Sample.fit", lambda self, flags: fitted)
    assert codec.encode(masks, weights) == stored


def ideal_bits(masks, weights):
    """What the model itself says the mask costs: the sum of -log2 of the probabilities of the coded bits."""
    from submasking.codec import stream

    off = {name: ~mask.numpy() for name, mask in masks.items()}
    values = {name: value.numpy() for name, value in weights.items()}
    planes = []
    for number, name in enumerate(sorted(off)):
        made = context.Context(values[name])
        planes.append(stream.Plane(number, made, made.layout.split(off[name]), None))
    data = codec.encode(masks, weights)
    fitted, _ = model.Model.unpack(data[1:], len(off))
    for plane in planes:
        for stage in context.stages():
            plane.lifts.append(plane.context.lifts())
            plane.context.update(stage, plane.off[stage])
    p = fitted.probabilities().astype(np.float64)
    pairs = [pair for plane in planes for pair in plane.indexed(fitted)]
    return sum(-np.log2(np.where(bits, p[place], 1 - p[place])).sum() for place, bits in pairs), 8 * len(data)


def test_the_file_is_within_two_percent_of_the_models_ideal_length():
    weights, masks = learned({"a": (128, 128, 3, 3), "b": (256, 128), "c": (128, 64, 3, 3)})
    ideal, actual = ideal_bits(masks, weights)
    assert ideal <= actual <= 1.02 * ideal


def test_learned_structure_is_found():
    weights, masks = learned({"a": (128, 128, 3, 3), "b": (256, 128)})
    found = sizes.report(masks, weights)
    assert found["coded_bytes"] < 0.75 * found["lzma_bytes"]
    assert 8 * found["coded_bytes"] < 0.8 * found["entropy_bits_tensor"] < found["entropy_bits_global"] + 1


def test_noise_costs_no_more_than_its_entropy_and_the_header():
    g = torch.Generator().manual_seed(0)
    weights = {"a": torch.randn(256, 256, generator=g)}
    masks = {"a": torch.rand(256, 256, generator=g) < 0.5}
    assert 8 * len(codec.encode(masks, weights)) < 256 * 256 * 1.005 + 8 * 150


def test_a_sibling_that_is_alike_makes_the_mask_smaller():
    weights, masks = learned({"a": (128, 128, 3, 3)})
    flips = torch.rand(masks["a"].shape, generator=torch.Generator().manual_seed(1)) < 0.01
    sibling = {"a": masks["a"] ^ flips}
    assert len(codec.encode(masks, weights, sibling=sibling)) < 0.5 * len(codec.encode(masks, weights))


@pytest.mark.parametrize("what", ["missing", "extra", "shape"])
def test_weights_that_do_not_fit_are_refused(what):
    weights, masks = learned({"a": (8, 8), "b": (8, 4)})
    if what == "missing":
        del weights["b"]
    if what == "extra":
        weights["c"] = torch.ones(3)
    if what == "shape":
        weights["b"] = torch.ones(4, 8)
    with pytest.raises(ValueError, match="weights must"):
        codec.encode(masks, weights)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_coded_mask_are_a_value_error_or_some_mask(data):
    weights, _ = learned({"a": (16, 8), "b": (4,)})
    try:
        decoded = codec.decode(b"\x01" + data, weights)
    except ValueError:
        return
    assert {name: mask.shape for name, mask in decoded.items()} == {name: w.shape for name, w in weights.items()}


def test_the_entropy_of_a_share():
    assert sizes.entropy_bits(0, 9) == sizes.entropy_bits(9, 9) == 0
    assert sizes.entropy_bits(4, 8) == pytest.approx(8)


if __name__ == "__main__":  # python tests/test_codec.py: write the vectors of the present version anew
    coded = {name: codec.encode(case[1], case[0], sibling=case[2]).hex() for name, case in stored_cases().items()}
    (VECTORS / "codec-1.json").write_text(json.dumps(coded, indent=1) + "\n")
