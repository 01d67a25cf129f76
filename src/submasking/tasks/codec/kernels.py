"""Loops over the weights of a tensor, compiled: one pass where numpy would make many.

Each does whole-number arithmetic, or arithmetic of floats whose results are exact or rounded once, in a fixed order,
so that every machine gets the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])
LIMIT = 8000  # of what a term adds to an index: five of them stay within 16 bits
NEGATIVE = 256  # codes from here on are of negative weights


def compiled(function: Function) -> Function:
    """The function compiled at its first call; kept on disk for other processes, where a folder can be written."""
    try:
        return cast(Function, numba.njit(function, cache=True))
    except RuntimeError:  # numba finds no such folder
        return cast(Function, numba.njit(function))


@compiled
def sums(level: Array, negative: Array, squares: Array) -> Any:
    """Sums of levels and, by sign, of squares, over each row, column and kernel position.

    Args:
        level: of each magnitude: (rows, columns, kernel).
        negative: sign, of the same shape.
        squares: of each level.

    Returns:
        For rows, columns and kernel positions, one after the other in one array: (rows + columns + kernel, 3) with the
        sum of levels, of squares of positive and of negative weights.
    """
    rows, columns, kernel = level.shape
    found = np.zeros((rows + columns + kernel, 3), np.int64)
    for row in range(rows):
        for column in range(columns):
            for position in range(kernel):
                value = int(level[row, column, position])
                sign = 2 if negative[row, column, position] else 1
                found[row, 0] += value
                found[row, sign] += squares[value]
                found[rows + column, 0] += value
                found[rows + column, sign] += squares[value]
                found[rows + columns + position, 0] += value
                found[rows + columns + position, sign] += squares[value]
    return found


@compiled
def log2(value: int) -> int:
    """16 times the base-2 logarithm of a positive number, linear between powers of two, rounded down: exact."""
    return int(np.float32(value).view(np.int32)) >> 19


@compiled
def lifts(offs: Array, squares: Array, total: int, shift: int, whole: int) -> Array:
    """16 log2 of (off + 1) / (expected off + 1), where the squares over `whole` share out the total."""
    found = np.empty(offs.shape, np.int64)
    for place in range(offs.shape[0]):
        for sign in range(2):
            expected = total * 256 * (squares[place, sign] >> shift) // whole
            found[place, sign] = log2(offs[place, sign] * 256 + 256) - log2(expected + 256)
    return found


@compiled
def count(off: Array, codes: Array, stage: int, columns: int, kernel: int, rows_off: Array, columns_off: Array,
          kernel_off: Array) -> None:  # fmt: skip
    """Add the weights of a stage that are off to the counts by row, column and kernel position, and sign."""
    blocks, stages, places = off.shape
    for block in range(blocks):
        for turn in range(stages):
            for place in range(places):
                if off[block, turn, place]:
                    sign = 1 if codes[block, turn, place] >= NEGATIVE else 0
                    across = place_of(place, turn, stage, stages, places)
                    rows_off[block * stages + turn, sign] += 1
                    columns_off[across // kernel, sign] += 1
                    kernel_off[across % kernel, sign] += 1


@compiled
def place_of(place: int, turn: int, stage: int, stages: int, places: int) -> int:
    """Where in its row a place of a stage lies, in a row that was turned by so much."""
    across = place * stages + stage - turn
    return across if across >= 0 else across + places * stages


@compiled
def fill(across: Array, lines: Array, turn: int, stage: int, stages: int) -> None:
    """Write the terms of each place of a row turned by so much: (signs, places) from (width, signs)."""
    places = lines.shape[1]
    for place in range(places):
        where = place_of(place, turn, stage, stages, places)
        for sign in range(2):
            lines[sign, place] = across[where, sign] if where < across.shape[0] else 0


@compiled
def bounded(value: int) -> int:
    """The value, or the nearest that a term may have."""
    return min(max(value, -LIMIT), LIMIT)


@compiled
def across_width(columns: Array, kernel: Array) -> Array:
    """What a place of a row gets by its column and its kernel position: (width, signs)."""
    found = np.empty((columns.shape[0] * kernel.shape[0], 2), np.int16)
    for column in range(columns.shape[0]):
        for position in range(kernel.shape[0]):
            for sign in range(2):
                found[column * kernel.shape[0] + position, sign] = bounded(columns[column, sign]) + bounded(
                    kernel[position, sign]
                )
    return found


@compiled
def term(slope: Array, mean: Array, lift: Array) -> Array:
    """What the model adds for each row, column or kernel position, by sign."""
    found = np.empty(lift.shape, np.int64)
    for place in range(lift.shape[0]):
        for sign in range(2):
            found[place, sign] = (
                slope[0] * mean[place] + slope[1] * lift[place, sign] + slope[2] * lift[place, 1 - sign]
            ) >> 6
    return found


@compiled
def spread(values: Array, codes: Array, rows: Array, across: Array, stage: int) -> None:
    """Add to the index of each place of a stage what its row and its place in the row add.

    Args:
        values: the index, changed in place: (blocks, rows of a block, places).
        codes: of the stage, of the same shape.
        rows: what each row adds by sign.
        across: what each place of a row adds by sign.
        stage: which.
    """
    blocks, stages, places = codes.shape
    lines = np.empty((2, places), np.int16)
    for turn in range(stages):
        fill(across, lines, turn, stage, stages)
        for block in range(blocks):
            row = block * stages + turn
            positive = bounded(rows[row, 0]) if row < rows.shape[0] else 0
            negative = bounded(rows[row, 1]) if row < rows.shape[0] else 0
            for place in range(places):
                if codes[block, turn, place] >= NEGATIVE:
                    values[block, turn, place] += negative + lines[1, place]
                else:
                    values[block, turn, place] += positive + lines[0, place]


@compiled
def scaled(given: Array, pull: Array, scale: int, strength: int, shift: int) -> Array:
    """The index that is given times `scale` / 64, plus the pull times `strength` / 128, plus a shift."""
    found = np.empty(given.shape, np.int16)
    for at in range(given.size):
        value = (int(given.flat[at]) * scale >> 6) + (int(pull.flat[at]) * strength >> 7) + shift
        found.flat[at] = bounded(value)
    return found


@compiled
def surprises(surprise: Array, off: Array, given: Array, codes: Array, stage: int, one: int, expected: Array,
              rows: int, width: int) -> int:  # fmt: skip
    """Write the signed surprises of a stage into the matrix of all; returns the sum of their squares."""
    blocks, stages, places = off.shape
    squares = 0
    for block in range(blocks):
        for turn in range(stages):
            row = block * stages + turn
            for place in range(places if row < rows else 0):
                across = place_of(place, turn, stage, stages, places)
                if across < width:
                    near = min(max(given[block, turn, place], -128), 127)
                    value = (one if off[block, turn, place] else 0) - int(expected[near + 128])
                    squares += value * value
                    surprise[row, across] = -value if codes[block, turn, place] >= NEGATIVE else value
    return squares


@compiled
def pulls(left: Array, right: Array, codes: Array, stage: int, scale: Any, limit: int) -> Array:
    """The product of the factors at each place of a stage, times a scale and the sign of the weight, rounded.

    Args:
        left: (rows, rank).
        right: (width, rank).
        codes: of the stage.
        stage: which.
        scale: a float of the factors' type.
        limit: of the size of what is returned.
    """
    blocks, stages, places = codes.shape
    rank = left.shape[1]
    found = np.empty(codes.shape, np.int16)
    lines, sums = np.empty((rank, places), left.dtype), np.empty(places, left.dtype)
    for turn in range(stages):
        for place in range(places):
            where = place_of(place, turn, stage, stages, places)
            for factor in range(rank):
                lines[factor, place] = right[where, factor]
        for block in range(blocks):
            sums[:] = 0
            for factor in range(rank):
                weight = left[block * stages + turn, factor]
                for place in range(places):
                    sums[place] += weight * lines[factor, place]
            for place in range(places):
                value = min(max(np.rint(sums[place] * scale), -limit), limit)
                found[block, turn, place] = -value if codes[block, turn, place] >= NEGATIVE else value
    return found


@compiled
def below(columns: Array, bits: int) -> Array:
    """Each column times a power of two, so that its largest entry lies below 2 ** bits, rounded."""
    found = np.empty(columns.shape, np.float64)
    largest = np.zeros(columns.shape[1])
    for row in range(columns.shape[0]):
        for column in range(columns.shape[1]):
            largest[column] = max(largest[column], abs(columns[row, column]))
    for column in range(columns.shape[1]):
        largest[column] = math.ldexp(1.0, bits - math.frexp(largest[column])[1])
    for row in range(columns.shape[0]):
        for column in range(columns.shape[1]):
            found[row, column] = np.rint(np.float64(columns[row, column]) * largest[column])
    return found


@compiled
def mixing(gram: Array, unit: float) -> Array:
    """The rows that turn columns with these products into orthogonal ones of about the length `unit`, in order.

    Args:
        gram: products of the columns with one another; it is overwritten.
        unit: the length.
    """
    rank = gram.shape[0]
    mixed, least = np.eye(rank), np.diag(gram) * 2.0**-16
    for j in range(rank):
        if gram[j, j] <= least[j]:
            gram[j, :] = 0
            gram[:, j] = 0
            mixed[j, :] = 0
            continue
        for i in range(j + 1, rank):
            share = gram[i, j] / gram[j, j]
            for k in range(rank):
                mixed[i, k] -= share * mixed[j, k]
                gram[i, k] -= share * gram[j, k]
        scale = unit / math.sqrt(gram[j, j])
        for k in range(rank):
            mixed[j, k] *= scale
    return mixed


@compiled
def inverted(matrix: Array) -> Array:
    """The inverse of a positive definite matrix, by Gauss-Jordan; the matrix is overwritten."""
    size = matrix.shape[0]
    inverse, share = np.eye(size), np.empty(size)
    for j in range(size):
        pivot = matrix[j, j]
        for k in range(size):
            matrix[j, k] /= pivot
            inverse[j, k] /= pivot
        for i in range(size):
            share[i] = matrix[i, j]
        for i in range(size):
            if i != j:
                for k in range(size):
                    matrix[i, k] -= share[i] * matrix[j, k]
                    inverse[i, k] -= share[i] * inverse[j, k]
    return inverse


@compiled
def by_group(values: Array, group: Array, groups: int) -> Array:
    """Sums of the rows of each group: (groups, columns)."""
    found = np.zeros((groups, values.shape[1]))
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            found[group[row], column] += values[row, column]
    return found
