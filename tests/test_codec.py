"""The codec: what goes in comes out, the bytes are those that were stored, and the size is what was promised."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from submasking.experiments import sizes
from submasking.tasks import codec, shares
from submasking.tasks.codec import context, factors, kernels, layout, model, refinement, rice, stream
from submasking.tasks.shares import entropy_bits

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


STAGES = st.sampled_from([8, 16, 32])


@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 9), STAGES, st.integers(0, 99))
def test_stages_hold_every_weight_once_in_its_place(rows, columns, kernel, stages, seed):
    plan = layout.Layout(rows, columns, kernel, stages)
    values = np.random.default_rng(seed).integers(1, 1 << 30, (rows, columns, kernel))
    staged = plan.split(values)
    assert np.array_equal(plan.join(staged), values)
    assert np.array_equal(np.sort(staged[staged > 0]), np.sort(values.ravel()))
    for stage in range(stages):
        found = np.flatnonzero(staged[stage])
        row, place = plan.places_of(stage, found)
        assert np.array_equal(values.reshape(rows, -1)[row, place], staged[stage].reshape(-1)[found])


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 9), STAGES, st.integers(0, 99))
def test_compiled_loops_give_each_weight_what_belongs_to_its_place(rows, columns, kernel, stages, seed):
    """What the loops over a stage find is what plain arithmetic over the whole tensor does."""
    random = np.random.default_rng(seed)
    shape = (rows, columns, kernel)
    made = context.Context(random.standard_normal(shape).astype(np.float32), stages)
    plan, codes = made.layout, made.layout.join(made.codes)
    curve = random.integers(-99, 99, 512).astype(np.int16)
    terms = [random.integers(-9999, 9999, (length, 2)) for length in shape]
    sign = (codes >= 256).astype(int)
    places = np.indices(shape)
    along = sum(np.clip(term, -8000, 8000)[place, sign] for term, place in zip(terms, places, strict=True))
    index = np.stack([made.index(stage, curve, terms) for stage in range(stages)])
    assert np.array_equal(plan.join(index), curve[codes] + along)

    off, given_index = random.random(shape) < 0.3, random.integers(-300, 300, shape).astype(np.int16)
    signed = np.where(sign, -1, 1) * (16 * off - factors._EXPECTED[np.clip(given_index, -128, 127) + 128])
    width, rank = columns * kernel, 3
    _, blocks, _, wide = plan.staged_shape
    found = np.zeros((blocks * stages, wide * stages), np.float32)
    left, right = (random.integers(-50, 50, (size, rank)).astype(np.float32) for size in found.shape)
    squares, pulls = 0, []
    for stage, (bits, values) in enumerate(zip(plan.split(off), plan.split(given_index), strict=True)):
        here = made.codes[stage]
        squares += kernels.surprises(found, bits, values, here, stage, 16, factors._EXPECTED, rows, width)
        pulls.append(kernels.pulls(left, right, here, stage, np.float32(0.25), 900))
    assert squares == (signed**2).sum()
    assert np.array_equal(found[:rows, :width], signed.reshape(rows, width))
    assert not found[rows:].any()
    assert not found[:, width:].any()
    product = np.clip(np.rint(left[:rows] @ right[:width].T / 4), -900, 900).reshape(shape)
    assert np.array_equal(plan.join(np.stack(pulls)), np.where(sign, -product, product))


def test_loops_are_compiled_where_no_folder_can_keep_them(monkeypatch):
    monkeypatch.setattr("numba.core.caching.CompileResultCacheImpl._locator_classes", [])
    assert kernels.compiled(kernels.bounded.py_func)(9000) == kernels.LIMIT


@given(st.lists(st.lists(st.integers(-256, 255), min_size=3, max_size=3), max_size=20), st.binary())
def test_a_table_in_rice_code_comes_back(table, more):
    coded = rice.pack(np.array(table, np.int64).reshape(-1, 3))
    found, used = rice.unpack(coded + more, len(table), 3)
    assert found.tolist() == table
    assert used == len(coded)
    if table:
        with pytest.raises(ValueError, match=r"has \d+ bits here"):
            rice.unpack(coded[:-1], len(table), 3)


def test_small_numbers_take_few_bits_in_rice_code():
    assert len(rice.pack(np.zeros((80, 1), np.int64))) == 11  # a bit each, and the parameter
    assert len(rice.pack(np.tile([[5], [-6]], (40, 1)))) <= 51
    with pytest.raises(ValueError, match=r"lie in -256\.\.255"):
        rice.unpack(b"\xff" * 200, 1, 1)


@pytest.mark.parametrize("apart", [64, 255, -193, -256])
def test_coefficients_out_of_range_are_refused(apart):
    table = np.zeros((1, 8), np.int64)
    table[0, 1] = apart
    data = b"\1" + np.array(refinement.PLAIN, np.int8).tobytes() + b"\x80" + rice.pack(table)
    with pytest.raises(ValueError, match=r"lie in -128\.\.127"):
        refinement.Refinement.unpack(data, np.array([True, False]), 3)


@given(st.integers(1, 2**40))
def test_the_whole_number_logarithm_is_close_and_never_falls(value):
    found, after = kernels.log2(value), kernels.log2(value + 1)
    assert abs(found / 16 - (math.log2(value) + 127)) < 0.15
    assert after >= found


def test_one_byte_probabilities_are_exact_fractions_and_close_to_every_share():
    p = shares.probability(np.arange(256, dtype=np.uint8))
    assert np.array_equal(np.round(p.astype(np.float64) * 2**20) / 2**20, p)
    assert 0 < p.min() < 1e-5 < 1 - 1e-5 < p.max() < 1
    share = np.linspace(1e-4, 1 - 1e-4, 999)
    near = shares.probability(shares.nearest_codes(share)).astype(np.float64)
    excess = share * np.log(share / near) + (1 - share) * np.log((1 - share) / (1 - near))
    entropy = -share * np.log(share) - (1 - share) * np.log1p(-share)
    assert (excess / entropy).max() < 0.003


@given(st.integers(0, 2**32), st.integers(2, 24), st.sampled_from([96, 300]))
def test_orthonormal_columns_are_of_one_length_and_span_the_same(seed, columns, rows):
    given_columns = np.random.default_rng(seed).integers(-50, 50, (rows, columns)).astype(np.float64)
    given_columns[:, columns // 2] = 0
    found = factors.orthonormal(given_columns)
    assert np.array_equal(found, np.round(found))
    kept = found.any(0)
    assert not kept[columns // 2]
    products = found[:, kept].T @ found[:, kept] / 4**10
    assert np.abs(products - np.eye(kept.sum())).max() < 0.02
    basis = found[:, kept] / 2**10
    rest = given_columns - basis @ (basis.T @ given_columns)
    assert np.abs(rest).max() <= 0.02 * max(np.abs(given_columns).max(), 1) * np.sqrt(rows)


def test_what_stands_out_from_the_noise_is_kept():
    kept = factors.signal(np.diag([1e6, 1e4, 1e2, 1.0]), 100.0)
    assert kept.diagonal() == pytest.approx([1, 1, 0.5, 0], abs=1e-3)


@pytest.mark.parametrize("shape", [(40, 24, 3, 3), (512, 300)])
def test_the_factors_do_not_depend_on_the_order_of_sums(shape):
    """Sums of whole numbers are exact, so a wider type, which adds in another order, gives the same factors."""
    made = context.Context(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    plan = made.layout
    narrow, wide = factors.Factors(made), factors.Factors(made)
    wide._surprise, wide._right = wide._surprise.astype(np.float64), wide._right.astype(np.float64)
    random = np.random.default_rng(1)
    for stage in range(plan.stages):
        if stage:
            for one, other in zip(narrow._split(1), wide._split(1), strict=True):
                assert np.array_equal(one, other)
        off = random.random(made.codes[stage].shape) < 0.1
        index = random.integers(-200, 100, off.shape).astype(np.int16)
        for each in (narrow, wide):
            each.update(stage, off, index)
            assert np.abs(each._surprise).max() <= factors.ONE
    assert narrow.pull(plan.stages - 1).any()


def test_the_factors_foresee_a_mask_of_low_rank():
    random = np.random.default_rng(0)
    weights = random.standard_normal((128, 128)).astype(np.float32)
    off = weights * (random.standard_normal((128, 2)) @ random.standard_normal((2, 128))) > 1.5
    made = context.Context(weights)
    plan, found = made.layout, factors.Factors(made)
    staged, flat = plan.split(off), np.full(plan.staged_shape[1:], -64, np.int16)
    for stage in range(plan.stages - 1):
        found.update(stage, staged[stage], flat)
    pull = found.pull(plan.stages - 1)
    assert pull[staged[-1]].mean() > pull[~staged[-1]].mean() + factors.UNIT / 8


SHAPES = {"stem": (16, 3, 3, 3), "conv": (64, 32, 3, 3), "depth": (32, 1, 3, 3), "one": (64, 64), "bias": (64,)}


def stored_cases(version):
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
    cases = {
        "alone": (weights, masks, None),
        "beside a sibling": (weights, masks, sibling),
        "constant": (weights, {name: torch.full(shape, name != "conv") for name, shape in SHAPES.items()}, None),
    }
    if version == 1:
        return cases
    alike = {}
    for name, theta in weights.items():
        rows, columns = (torch.arange(n, dtype=torch.float32) for n in (*theta.shape, 1)[:2])
        push = (rows * 7 % 5 - 2)[:, None] * (columns * 11 % 7 - 3) + (rows * 5 % 3 - 1)[:, None] * (columns % 5 - 2)
        push = push.view(*push.shape, *[1] * (theta.dim() - 2)) if theta.dim() > 1 else push[:, 0]
        alike[name] = theta * push < torch.where(masks[name], 2.0, 1.5)
    cases["refined"] = weights, alike, None
    if version > 2:  # one tensor unlike the others has coefficients of its own
        cases["own"] = weights, {**masks, "conv": alike["conv"]}, None
    return cases


CASES = [(1, name) for name in ("alone", "beside a sibling", "constant")]
CASES += [(version, name) for version in (2, 3) for name in ("alone", "beside a sibling", "constant", "refined")]
CASES += [(3, "own")]


def stored(version, name):
    return bytes.fromhex(json.loads((VECTORS / f"codec-{version}.json").read_text())[name])


@pytest.mark.parametrize(("version", "name"), CASES)
def test_stored_bytes_are_decoded_to_the_same_masks_on_every_machine(version, name):
    weights, masks, sibling = stored_cases(version)[name]
    data = stored(version, name)
    assert data[0] == version
    decoded = codec.decode(data, weights, sibling=sibling)
    assert all(torch.equal(decoded[key], masks[key]) for key in masks)


def refined(data, names):
    """The refinement in a coded mask of the present version."""
    fitted, used = model.Model.unpack(data[1:], len(names))
    large = [layout.Layout.of(SHAPES[name]).large for name in sorted(names)]
    return fitted, refinement.Refinement.unpack(data[1 + used :], np.array(large), data[0])[0]


@pytest.mark.parametrize("name", ["alone", "refined", "own"])
def test_the_model_coded_with_fixed_coefficients_gives_the_stored_bytes(name, monkeypatch):
    """Encoding too is exact on every machine once the fitted coefficients are given."""
    weights, masks, _ = stored_cases(stream.VERSION)[name]
    data = stored(stream.VERSION, name)
    fitted, second = refined(data, SHAPES)
    assert name == "alone" or len(np.unique(second.coefficients, axis=0)) > (2 if name == "own" else 1)
    monkeypatch.setattr("submasking.tasks.codec.fit.Sample.fit", lambda self, flags: fitted)
    monkeypatch.setattr("submasking.tasks.codec.fit.Sample.refine", lambda self, planes, tensors: second)
    assert codec.encode(masks, weights) == data


def test_the_file_is_within_two_percent_of_the_models_ideal_length():
    weights, masks = learned({"a": (128, 128, 3, 3), "b": (256, 128), "c": (128, 64, 3, 3)})
    off = {name: ~mask.numpy() for name, mask in masks.items()}
    _, fitted, pairs = stream.prepare(off, {name: theta.numpy() for name, theta in weights.items()}, None)
    ideal = stream.ideal_bits(fitted, pairs)
    assert sum(bits.sum() for _, bits in pairs) == sum(bits.sum() for bits in off.values())
    assert ideal <= 8 * len(codec.encode(masks, weights)) <= 1.02 * ideal


def test_learned_structure_is_found():
    weights, masks = learned({"a": (128, 128, 3, 3), "b": (256, 128)})
    found, coded = sizes.report(masks), len(codec.encode(masks, weights))
    assert coded < 0.75 * found["lzma_bytes"]
    assert 8 * coded < 0.8 * found["entropy_bits_tensor"] < found["entropy_bits_global"] + 1


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


@given(st.sampled_from(list(stream.STAGES)), st.binary(max_size=300))
def test_bytes_that_are_no_coded_mask_are_a_value_error_or_some_mask(version, data):
    weights, _ = learned({"a": (16, 8, 3, 3), "b": (4,)})
    try:
        decoded = codec.decode(bytes([version]) + data, weights)
    except ValueError:
        return
    assert {name: mask.shape for name, mask in decoded.items()} == {name: w.shape for name, w in weights.items()}


@pytest.mark.parametrize("data", [b"", b"\0abc", bytes([stream.VERSION + 1]) + b"abc"])
def test_other_versions_are_named(data):
    with pytest.raises(ValueError, match="starts with its version, 1 or 2 or 3; got"):
        codec.decode(data, {"a": torch.ones(4, 4)})


def test_the_entropy_of_a_share():
    assert entropy_bits(0, 9) == entropy_bits(9, 9) == 0
    assert entropy_bits(4, 8) == pytest.approx(8)


if __name__ == "__main__":  # python tests/test_codec.py: write the vectors of the present version anew
    coded = {
        name: codec.encode(case[1], case[0], sibling=case[2]).hex()
        for name, case in stored_cases(stream.VERSION).items()
    }
    (VECTORS / f"codec-{stream.VERSION}.json").write_text(json.dumps(coded, indent=1) + "\n")
