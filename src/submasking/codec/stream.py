"""Masks to bytes and back: the range coder over the classes of the context model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from submasking.codec.context import Context, Ints, stages
from submasking.codec.fit import Sample
from submasking.codec.model import ALL_OFF, ALL_ON, CLASSES, Model, classes, nearest_codes

Bits = NDArray[np.bool_]
VERSION = 1
# its probabilities are exact binary fractions, so that float and rounding are the same everywhere
BERNOULLI = constriction.stream.model.Bernoulli(perfect=False)


@dataclass
class Plane:
    """One tensor on its way through the encoder: its bits and its sibling's in stages, the lifts before each stage."""

    number: int
    context: Context
    off: Bits
    sibling: Bits | None
    lifts: list[list[Ints]] = field(default_factory=list)

    def indexed(self, model: Model) -> Iterator[tuple[NDArray[np.int16], Bits]]:
        """Class and bit of every weight, stage by stage."""
        for stage in stages():
            place = _classes(model, self.number, self.context, stage, self.lifts[stage], self.sibling)
            real = self.context.valid[stage] if self.context.valid is not None else slice(None)
            yield place[real].reshape(-1), self.off[stage][real].reshape(-1)


def encode(
    off: Mapping[str, Bits], weights: Mapping[str, NDArray[np.float32]], sibling: Mapping[str, Bits] | None
) -> bytes:
    """Code which weights are off; the arguments are those of `submasking.codec.encode` as arrays."""
    names = sorted(off)
    flags = np.array([_flag(off[name]) for name in names], np.int8)
    planes = []
    for number, name in enumerate(names):
        if flags[number] == 0:
            context = Context(weights[name])
            beside = None if sibling is None else context.layout.split(sibling[name])
            planes.append(Plane(number, context, context.layout.split(off[name]), beside))
    count = sum(int(off[names[plane.number]].sum()) for plane in planes)
    model = _fitted(planes, Sample(count, sum(off[names[plane.number]].size for plane in planes) - count), flags)
    coded = [pair for plane in planes for pair in plane.indexed(model)]
    model = _counted(model, coded)
    probabilities, coder = model.probabilities(), constriction.stream.queue.RangeEncoder()
    for place, bits in coded:
        coder.encode(bits.astype(np.int32), BERNOULLI, probabilities[place])
    return bytes([VERSION]) + model.pack() + coder.get_compressed().astype("<u4").tobytes()


def decode(
    data: bytes, weights: Mapping[str, NDArray[np.float32]], sibling: Mapping[str, Bits] | None
) -> dict[str, Bits]:
    """Undo `encode`; `weights` hold the coded tensors and no others.

    Raises:
        ValueError: the data are not a coded mask of these tensors.
    """
    if not data or data[0] != VERSION:
        raise ValueError(f"a coded mask starts with its version, {VERSION}; got {data[:1].hex() or 'nothing'}")
    names = sorted(weights)
    model, used = Model.unpack(data[1:], len(names))
    words = data[1 + used :]
    if len(words) % 4:
        raise ValueError(f"the coded bits come in words of 4 bytes, got {len(words)} bytes")
    coder = constriction.stream.queue.RangeDecoder(np.frombuffer(words, "<u4").astype(np.uint32))
    try:
        return {
            name: _decoded(coder, model, number, weights[name], None if sibling is None else sibling[name])
            for number, name in enumerate(names)
        }
    except AssertionError as error:
        raise ValueError(f"the coded bits do not fit the model ({error})") from error


def _decoded(coder: Any, model: Model, number: int, weights: NDArray[np.float32], sibling: Bits | None) -> Bits:
    flag = int(model.shifts[number])
    if flag in (ALL_ON, ALL_OFF) or weights.size == 0:
        return np.full(weights.shape, flag == ALL_OFF)
    context, probabilities = Context(weights), model.probabilities()
    beside = None if sibling is None else context.layout.split(sibling)
    off = np.zeros(context.layout.staged_shape, np.bool_)
    for stage in stages():
        place = _classes(model, number, context, stage, context.lifts(), beside)
        real = context.valid[stage] if context.valid is not None else np.ones(place.shape, np.bool_)
        off[stage][real] = coder.decode(BERNOULLI, probabilities[place[real]])
        context.update(stage, off[stage])
    return context.layout.join(off).reshape(weights.shape)


def _classes(
    model: Model, number: int, context: Context, stage: int, lifts: list[Ints], sibling: Bits | None
) -> NDArray[np.int16]:
    curve = model.curve() + np.int16(2 * int(model.shifts[number]))
    index = context.index(stage, curve, model.terms(context.means, lifts))
    if sibling is not None:
        index += np.int16(model.sibling) * sibling[stage]
    return classes(index)


def _flag(off: Bits) -> int:
    if not off.any():
        return ALL_ON
    return ALL_OFF if off.all() else 0


def _fitted(planes: list[Plane], sample: Sample, flags: NDArray[np.int8]) -> Model:
    for plane in planes:
        for stage in stages():
            plane.lifts.append(plane.context.lifts())
            beside = None if plane.sibling is None else plane.sibling[stage]
            sample.add(plane.number, plane.context, stage, plane.lifts[-1], plane.off[stage], beside)
            plane.context.update(stage, plane.off[stage])
    return sample.fit(flags)


def _counted(model: Model, coded: list[tuple[NDArray[np.int16], Bits]]) -> Model:
    """The model with the share of each class that is off."""
    total, off = np.zeros(CLASSES), np.zeros(CLASSES)
    for place, bits in coded:
        total += np.bincount(place, minlength=CLASSES)
        off += np.bincount(place[bits], minlength=CLASSES)
    shares = np.where(total > 0, nearest_codes((off + 0.02) / (total + 0.04)), 0).astype(np.uint8)
    return Model(model.knots, model.slopes, model.sibling, model.shifts, shares)
