"""Masks to bytes and back: the range coder over the classes of the context model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from submasking.tasks.codec.context import Context
from submasking.tasks.codec.factors import Factors
from submasking.tasks.codec.fit import Sample
from submasking.tasks.codec.layout import Layout
from submasking.tasks.codec.model import ALL_OFF, ALL_ON, CLASSES, Model, classes
from submasking.tasks.codec.plane import Plane
from submasking.tasks.codec.refinement import Refinement
from submasking.tasks.shares import BERNOULLI, counted_codes

Bits = NDArray[np.bool_]
VERSION = 3
STAGES = {1: 8, 2: None, 3: None}  # of each version that was ever written; None is by size; the first has no refinement
Pairs = list[tuple[NDArray[np.int16], Bits]]  # classes and bits, in the order in which they are coded


def encode(
    off: Mapping[str, Bits], weights: Mapping[str, NDArray[np.float32]], sibling: Mapping[str, Bits] | None
) -> bytes:
    """Code which weights are off; the arguments are those of `submasking.tasks.codec.encode` as arrays."""
    head, model, pairs = prepare(off, weights, sibling)
    probabilities, coder = model.probabilities(), constriction.stream.queue.RangeEncoder()
    for place, bits in pairs:
        coder.encode(bits.astype(np.int32), BERNOULLI, probabilities[place])
    return head + coder.get_compressed().astype("<u4").tobytes()


def prepare(
    off: Mapping[str, Bits], weights: Mapping[str, NDArray[np.float32]], sibling: Mapping[str, Bits] | None
) -> tuple[bytes, Model, Pairs]:
    """All that comes before the range coder: the bytes ahead of its own, the model, and what it has to code."""
    names = sorted(off)
    flags = np.array([_flag(off[name]) for name in names], np.int8)
    planes = []
    for number, name in enumerate(names):
        if flags[number] == 0:
            context = Context(weights[name])
            beside = None if sibling is None else context.layout.split(sibling[name])
            planes.append(Plane(number, context, context.layout.split(off[name]), beside))
    count = sum(int(off[names[plane.number]].sum()) for plane in planes)
    sample = Sample(count, sum(off[names[plane.number]].size for plane in planes) - count)
    model = _fitted(planes, sample, flags)
    refinement = _refined(planes, sample, len(names))
    pairs = [pair for plane in planes for pair in plane.coded(refinement)]
    model = _counted(model, pairs)
    refined = b"\0" if refinement is None else refinement.pack(_large(model, off))
    return bytes([VERSION]) + model.pack() + refined, model, pairs


def ideal_bits(model: Model, pairs: Pairs) -> float:
    """What the model says that the bits cost: -log2 of their probabilities, in all."""
    p = model.probabilities().astype(np.float64)
    return float(sum(-np.log2(np.where(bits, p[place], 1 - p[place])).sum() for place, bits in pairs))


def decode(
    data: bytes, weights: Mapping[str, NDArray[np.float32]], sibling: Mapping[str, Bits] | None
) -> dict[str, Bits]:
    """Undo `encode`; `weights` hold the coded tensors and no others.

    Raises:
        ValueError: the data are not a coded mask of these tensors.
    """
    if not data or data[0] not in STAGES:
        known = " or ".join(str(version) for version in STAGES)
        raise ValueError(f"a coded mask starts with its version, {known}; got {data[:1].hex() or 'nothing'}")
    version, names = data[0], sorted(weights)
    model, used = Model.unpack(data[1:], len(names))
    words = memoryview(data)[1 + used :]
    refinement = None
    if version > 1:
        refinement, used = Refinement.unpack(words, _large(model, weights), version)
        words = words[used:]
    if len(words) % 4:
        raise ValueError(f"the coded bits come in words of 4 bytes, got {len(words)} bytes")
    coder = constriction.stream.queue.RangeDecoder(np.frombuffer(words, "<u4").astype(np.uint32))
    off = {}
    try:
        for number, name in enumerate(names):
            if not _chosen(model.shifts[number]) or weights[name].size == 0:
                off[name] = np.full(weights[name].shape, model.shifts[number] == ALL_OFF)
                continue
            context = Context(weights[name], STAGES[version])
            beside = None if sibling is None else context.layout.split(sibling[name])
            off[name] = _decoded(coder, model, refinement, number, context, beside).reshape(weights[name].shape)
    except AssertionError as error:
        raise ValueError(f"the coded bits do not fit the model ({error})") from error
    return off


def _decoded(
    coder: Any, model: Model, refinement: Refinement | None, number: int, context: Context, sibling: Bits | None
) -> Bits:
    probabilities, layout = model.probabilities(), context.layout
    factors = Factors(context) if refinement is not None and layout.large else None
    off = np.zeros(layout.staged_shape, np.bool_)
    curve = model.curve(number)
    for stage in range(layout.stages):
        lifts = context.lifts()
        index = final = model.index(curve, context, stage, lifts, None if sibling is None else sibling[stage])
        if refinement is not None and factors is not None:
            final = refinement.index(number, context, stage, index, factors.pull(stage), lifts)
        real = context.valid[stage] if context.valid is not None else np.ones(index.shape, np.bool_)
        off[stage][real] = coder.decode(BERNOULLI, probabilities[classes(final[real])])
        context.update(stage, off[stage])
        if factors is not None:
            factors.update(stage, off[stage], index)
    return layout.join(off)


def _chosen(shift: int) -> bool:
    return shift not in (ALL_ON, ALL_OFF)


def _large(model: Model, tensors: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Which tensors, by name, a refinement speaks of."""
    pairs = zip(model.shifts, sorted(tensors), strict=True)
    return np.array([_chosen(shift) and Layout.of(tensors[name].shape).large for shift, name in pairs], np.bool_)


def _flag(off: Bits) -> int:
    if not off.any():
        return ALL_ON
    return ALL_OFF if off.all() else 0


def _fitted(planes: list[Plane], sample: Sample, flags: NDArray[np.int8]) -> Model:
    """The model, from a sample of all planes; the planes then have their lifts and their index."""
    for plane in planes:
        for stage in plane.stages:
            plane.lifts.append(plane.context.lifts())
            sample.add(plane.number, plane.context, stage, plane.lifts[-1], plane.off[stage], plane.beside(stage))
            plane.context.update(stage, plane.off[stage])
    model = sample.fit(flags)
    for plane in planes:
        curve = model.curve(plane.number)
        for stage in plane.stages:
            plane.index.append(model.index(curve, plane.context, stage, plane.lifts[stage], plane.beside(stage)))
    return model


def _refined(planes: list[Plane], sample: Sample, tensors: int) -> Refinement | None:
    """The refinement, None where it would not pay; the planes of large tensors then have their pull."""
    for plane in planes:
        if not plane.context.layout.large:
            continue
        factors = Factors(plane.context)
        for stage in plane.stages:
            plane.pull.append(factors.pull(stage))
            factors.update(stage, plane.off[stage], plane.index[stage])
    return sample.refine([plane for plane in planes if plane.pull], tensors)


def _counted(model: Model, coded: Pairs) -> Model:
    """The model with the share of each class that is off."""
    total, off = np.zeros(CLASSES), np.zeros(CLASSES)
    for place, bits in coded:
        total += np.bincount(place, minlength=CLASSES)
        off += np.bincount(place[bits], minlength=CLASSES)
    return Model(model.knots, model.slopes, model.sibling, model.shifts, counted_codes(off, total))
