"""How the encoder finds the coefficients: logistic regression by Newton's method on a sample of the weights.

Nothing here is repeated by the decoder, so floating point may differ from machine to machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submasking.tasks.codec import kernels
from submasking.tasks.codec.context import LEVELS, OCTAVE, Context, Ints
from submasking.tasks.codec.model import ALL_OFF, ALL_ON, AXES, CLASSES, FINE, KNOTS, SHIFTS, SLOPES, Model
from submasking.tasks.codec.plane import Plane
from submasking.tasks.codec.refinement import PLAIN, Refinement

Floats = NDArray[np.float64]
SAMPLE = 50_000
ROUNDS = 12
RIDGE = 1.0
OWN = 20.0  # the same for a tensor's own coefficients
OWN_BITS = (40, 50, 64, 100, np.inf)  # what these may have to save, tried in turn
PULL = 128  # a pull of so much adds a nat where its coefficient is one
TERM_UNITS = np.array([SHIFTS, 64, 32, 32, 128, 128, 128, 128])  # what one is, of each coefficient of a refinement
_HATS = np.stack([np.interp(np.arange(LEVELS), KNOTS, row) for row in np.eye(len(KNOTS))], 1)


class Sample:
    """The weights that the model is fitted on: up to `SAMPLE` that are off, as many that are on, each with its share.

    Args:
        off, on: how many weights of the mask are off and on.
    """

    def __init__(self, off: int, on: int) -> None:
        self.steps = {True: max(off // SAMPLE, 1), False: max(on // SAMPLE, 1)}
        self.parts: list[tuple[Floats, NDArray[np.bool_], int]] = []
        self.places: dict[tuple[int, int], NDArray[np.intp]] = {}

    def add(self, tensor: int, context: Context, stage: int, lifts: Sequence[Ints], off: NDArray[np.bool_],
            sibling: NDArray[np.bool_] | None) -> None:  # fmt: skip
        """Take weights of one stage, all that are off alike and all that are on alike."""
        flat = off.reshape(-1)
        taken = [np.flatnonzero(flat)[:: self.steps[True]]]
        some = np.arange((5 * tensor + 3 * stage) % self.steps[False], flat.size, self.steps[False])
        real = ~flat[some] if context.valid is None else ~flat[some] & context.valid[stage].reshape(-1)[some]
        chosen = np.concatenate([*taken, some[real]])
        beside = sibling.reshape(-1)[chosen] if sibling is not None else np.zeros(chosen.size, np.bool_)
        self.places[tensor, stage] = chosen
        self.parts.append((_features(context, stage, lifts, chosen, beside), flat[chosen], tensor))

    def fit(self, flags: NDArray[np.int8]) -> Model:
        """The model, with empty classes; `flags` hold `ALL_ON` or `ALL_OFF` for tensors without a choice, else 0."""
        if not self.parts:
            zeros = np.zeros(len(KNOTS), np.int64), np.zeros((AXES, 3), np.int64)
            return Model(*zeros, 0, flags, np.zeros(CLASSES, np.uint8))
        features = np.concatenate([part[0] for part in self.parts])
        off = np.concatenate([part[1] for part in self.parts])
        tensor = np.repeat([part[2] for part in self.parts], [part[1].size for part in self.parts])
        steps = np.where(off, self.steps[True], self.steps[False]).astype(np.float64)
        beta, shift = newton(features, tensor, off, steps, flags.size)
        shifts = np.where(flags == 0, np.clip(np.round(shift * SHIFTS), ALL_ON + 1, ALL_OFF - 1), flags)
        whole = np.clip(np.round(beta * FINE), -8000, 8000).astype(np.int64)
        slopes = np.round(beta[len(KNOTS) : -1] * FINE * SLOPES / OCTAVE).astype(np.int64)
        slopes = np.clip(slopes, -32000, 32000).reshape(AXES, 3)
        return Model(whole[: len(KNOTS)], slopes, int(whole[-1]), shifts.astype(np.int8), np.zeros(CLASSES, np.uint8))

    def refine(self, planes: Sequence[Plane], tensors: int) -> Refinement | None:
        """Coefficients of the planes of large tensors, own ones where these pay; None where none do."""
        if not planes:
            return None
        parts = [self._second(plane) for plane in planes]
        features, off, steps = (np.concatenate([part[column] for part in parts]) for column in range(3))
        group = np.repeat(np.arange(len(parts)), [part[1].size for part in parts])
        beta, shift = newton(features, group, off, steps, len(parts))
        ones = np.ones((len(features), 1))
        common = _whole(logistic(np.concatenate([ones, features], 1), off, steps, np.array([0.0, *beta])))
        bits, own = [], []
        for (seen, fallen, counts), start in zip(parts, shift, strict=True):
            rows = np.concatenate([np.ones((len(seen), 1)), seen], 1)
            own.append(_whole(logistic(rows, fallen, counts, np.array([start, *beta]))))
            kinds = (np.array(PLAIN, np.int8), common, own[-1])
            bits.append([_bits(rows @ (kind / TERM_UNITS), fallen, counts) for kind in kinds])
        return _smallest(np.array(bits), common, np.array(own), np.array([plane.number for plane in planes]), tensors)

    def _second(self, plane: Plane) -> tuple[Floats, NDArray[np.bool_], Floats]:
        """Of the sampled weights of a plane: what the refinement weighs, whether they are off, the share of each."""
        columns: list[Floats] = []
        off: list[NDArray[np.bool_]] = []
        for stage in plane.stages:
            chosen = self.places[plane.number, stage]
            index, pull = (values[stage].reshape(-1)[chosen] for values in (plane.index, plane.pull))
            codes = plane.context.codes[stage].reshape(-1)[chosen]
            row, place = plane.context.layout.places_of(stage, chosen)
            sign = (codes >= LEVELS).astype(np.intp)
            (rows, across, _), column = plane.lifts[stage], place // plane.context.layout.kernel
            lifts = [rows[row, sign], rows[row, 1 - sign], across[column, sign], across[column, 1 - sign]]
            strength = pull / PULL
            done = stage / plane.context.layout.stages
            columns.append(np.stack([index / FINE, strength, strength * done, *(lift / OCTAVE for lift in lifts)], 1))
            off.append(plane.off[stage].reshape(-1)[chosen])
        bits = np.concatenate(off)
        return np.concatenate(columns), bits, np.where(bits, self.steps[True], self.steps[False]).astype(np.float64)


def _smallest(
    bits: Floats, common: NDArray[np.int8], own: NDArray[np.int8], numbers: NDArray[np.intp], tensors: int
) -> Refinement | None:
    """The refinement that makes the mask smallest, itself included; None where none does.

    Args:
        bits: of each large tensor without one, with common and with own coefficients: (large tensors, 3).
        common: coefficients that fit all of them.
        own: those that fit each: (large tensors, 8).
        numbers: places of the large tensors among all.
        tensors: number of all.
    """
    best, least = None, bits[:, 0].sum() + 8
    large = np.isin(np.arange(tensors), numbers)
    for worth in OWN_BITS:
        alone = bits[:, 2] + worth < bits[:, 1]
        coefficients = np.tile(np.array(PLAIN, np.int8), (tensors, 1))
        coefficients[numbers] = np.where(alone[:, None], own, common)
        refinement = Refinement(coefficients)
        total = np.where(alone, bits[:, 2], bits[:, 1]).sum() + 8 * len(refinement.pack(large))
        if total < least:
            best, least = refinement, total
    return best


def logistic(features: Floats, off: NDArray[np.bool_], steps: Floats, start: Floats) -> Floats:
    """Coefficients that maximise the likelihood of `off`, less OWN / 2 times their squared distance from `start`."""
    beta = start
    for _ in range(ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(features @ beta, -30, 30)))
        weighted = features * (steps * p * (1 - p))[:, None]
        slope = features.T @ (steps * (off - p)) - OWN * (beta - start)
        change = np.linalg.solve(features.T @ weighted + OWN * np.eye(beta.size), slope)
        beta = beta + change * min(1.0, 1.0 / max(float(np.abs(change).max()), 1e-9))
        if np.abs(change).max() < 1e-2:
            break
    return beta


def _whole(coefficients: Floats) -> NDArray[np.int8]:
    return np.clip(np.round(coefficients * TERM_UNITS), -127, 127).astype(np.int8)


def _bits(log_odds: Floats, off: NDArray[np.bool_], steps: Floats) -> float:
    return float((steps * np.logaddexp(0, np.where(off, -log_odds, log_odds))).sum() / np.log(2))


def newton(
    features: Floats, tensor: NDArray[np.intp], off: NDArray[np.bool_], steps: Floats, tensors: int
) -> tuple[Floats, Floats]:
    """Coefficients and a shift per tensor that maximise the likelihood of `off`, less RIDGE / 2 * |coefficients|^2.

    The Hessian is an arrow: dense in the coefficients, diagonal in the shifts, so these are eliminated first.

    Args:
        features: (weights, features).
        tensor: the tensor of each weight.
        off: what is to be explained.
        steps: how many weights each stands for.
        tensors: their number.
    """
    ones = np.bincount(tensor, steps * off, tensors) + 0.5
    shift = start = np.log(ones / (np.bincount(tensor, steps * ~off, tensors) + 0.5))
    beta = np.zeros(features.shape[1])
    for _ in range(ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(features @ beta + shift[tensor], -30, 30)))
        curved, left = steps * p * (1 - p), steps * (off - p)
        weighted = features * curved[:, None]
        within = kernels.by_group(weighted, tensor, tensors)  # (tensors, features)
        diagonal = np.bincount(tensor, curved, tensors) + RIDGE
        slope = np.bincount(tensor, left, tensors) - RIDGE * (shift - start)
        system = features.T @ weighted + RIDGE * np.eye(beta.size) - within.T @ (within / diagonal[:, None])
        change = np.linalg.solve(system, features.T @ left - RIDGE * beta - within.T @ (slope / diagonal))
        change *= min(1.0, 4.0 / max(float(np.abs(change).max()), 1e-9))
        shift = shift + np.clip((slope - within @ change) / diagonal, -4, 4)
        beta = beta + change
        if np.abs(change).max() < 1e-2:
            break
    return beta, shift


def _features(
    context: Context, stage: int, lifts: Sequence[Ints], chosen: NDArray[np.intp], beside: NDArray[Any]
) -> Floats:
    code = context.codes[stage].reshape(-1)[chosen]
    row, place = context.layout.places_of(stage, chosen)
    column, kernel = place // context.layout.kernel, place % context.layout.kernel
    sign = (code >= LEVELS).astype(np.intp)
    columns = []
    for mean, lift, index in zip(context.means, lifts, (row, column, kernel), strict=True):
        columns += [mean[index], lift[index, sign], lift[index, 1 - sign]]
    rest = np.stack([*columns, OCTAVE * beside.astype(np.int64)], 1) / OCTAVE
    return np.concatenate([_HATS[code % LEVELS], rest], 1)
