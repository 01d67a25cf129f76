"""Floating-point numbers to bytes and back, bit for bit, whatever they are: NaN, infinities, denormals, -0.

Exponents, signs and the first bits of mantissas are coded with the shares that were counted, as a binary tree. The
other bits are noise and stand as they are, but those that are zero in all numbers alike cost nothing: numbers that were
rounded, to few digits or to multiples of a step, take as many bits as they hold. What decides is whole numbers and
exact fractions, so that the bytes mean the same on every machine. The book's page on the mask file describes them.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Protocol

import constriction
import numpy as np
from numpy.typing import NDArray

from submasking.tasks.shares import BERNOULLI, counted_codes, probability

Ints = NDArray[np.int64]
MODELLED = 2  # first bits of a mantissa that belong to the tree; a third costs more in shares than it gains
DENSEST = 8  # most numbers to a byte of code: real ones take a few bits each, and a lie cannot ask for much memory
_HEAD = struct.Struct("<BhHI")


class Kind(NamedTuple):
    """A floating-point type: below the bit of the sign lie those of the exponent, then those of the mantissa."""

    exponent: int
    mantissa: int


KINDS = {"float16": Kind(5, 10), "bfloat16": Kind(8, 7), "float32": Kind(8, 23), "float64": Kind(11, 52)}


def encode(words: Ints, kind: Kind) -> bytes | None:
    """Code numbers of a kind, each given as its pattern of bits; None where they are too much alike for this code."""
    fields, depths = _fields(words, kind), _depths(words, kind)
    kept = int(depths.max(initial=0))
    step = int((fields - depths)[depths > 0].min(initial=1 << kind.exponent))
    writer = _Writer(words)
    _walk(writer, words.size, kind, kept, step)
    stream = writer.coder.get_compressed().astype("<u4")
    head = _HEAD.pack(kept, step, len(writer.table), len(stream))
    data = head + bytes(writer.table) + stream.tobytes() + bytes(writer.plain)
    return data if words.size <= DENSEST * len(data) else None


def decode(data: bytes, count: int, kind: Kind) -> Ints:
    """Undo `encode` of so many numbers.

    Raises:
        ValueError: the bytes are not the code of so many numbers of this kind.
    """
    if len(data) < _HEAD.size or count > DENSEST * len(data):
        raise ValueError(f"{count} numbers take {_HEAD.size} bytes, and one for {DENSEST} of them; got {len(data)}")
    kept, step, table, stream = _HEAD.unpack_from(data)
    if kept > kind.mantissa or len(data) < _HEAD.size + table + 4 * stream:
        raise ValueError(f"numbers have up to {kind.mantissa} bits behind the point, got {kept}, or they are cut off")
    reader = _Reader(data[_HEAD.size :], table, stream)
    try:
        words = _walk(reader, count, kind, kept, step)
    except AssertionError as error:
        raise ValueError(f"the coded numbers do not fit their shares ({error})") from error
    if reader.rest() != 0:
        raise ValueError(f"{count} coded numbers must fill their bytes, {reader.rest()} are left over")
    return words


class _Bits(Protocol):
    """Where the bits of numbers come from, and go to."""

    def modelled(self, position: int, where: Ints, nodes: Ints, size: int) -> Ints:
        """The bits at a position of some of the numbers, by the shares of `size` nodes of the tree."""
        ...

    def unmodelled(self, position: int, where: Ints) -> Ints:
        """The bits at a position of some of the numbers, as they are."""
        ...


def _walk(source: _Bits, count: int, kind: Kind, kept: int, step: int) -> Ints:
    """All bits of all numbers, position by position: exponent, sign, mantissa."""
    every, fields = np.arange(count), np.zeros(count, np.int64)
    for level in range(kind.exponent):
        fields = 2 * fields + source.modelled(kind.mantissa + kind.exponent - 1 - level, every, fields, 1 << level)
    top = kind.mantissa + kind.exponent
    words = fields << kind.mantissa | source.modelled(top, every, np.zeros(count, np.int64), 1) << top
    needed, nodes = np.clip(fields - step, 0, kept), fields
    for level in range(kept):
        position, where = kind.mantissa - 1 - level, np.flatnonzero(needed > level)
        if level < MODELLED:
            bits = source.modelled(position, where, nodes[where], 1 << (kind.exponent + level))
            nodes = 2 * nodes
            nodes[where] += bits
        else:
            bits = source.unmodelled(position, where)
        words[where] |= bits << position
    return words


class _Writer:
    """Writes the bits of numbers that are known."""

    def __init__(self, words: Ints) -> None:
        self.words = words
        self.table, self.plain = bytearray(), bytearray()
        self.coder = constriction.stream.queue.RangeEncoder()

    def modelled(self, position: int, where: Ints, nodes: Ints, size: int) -> Ints:
        bits = self._bits(position, where)
        total = np.bincount(nodes, minlength=size)
        used = np.flatnonzero(total)
        ones = np.bincount(nodes[bits > 0], minlength=size)
        codes = counted_codes(ones[used].astype(np.float64), total[used].astype(np.float64))
        self.table += codes.tobytes()
        if nodes.size:
            self.coder.encode(bits.astype(np.int32), BERNOULLI, _at(nodes, used, codes, size))
        return bits

    def unmodelled(self, position: int, where: Ints) -> Ints:
        bits = self._bits(position, where)
        self.plain += np.packbits(bits.astype(np.bool_)).tobytes()
        return bits

    def _bits(self, position: int, where: Ints) -> Ints:
        return self.words[where] >> position & 1


class _Reader:
    """Reads them: `data` holds so many bytes of shares, so many words of the range coder, and the other bits."""

    def __init__(self, data: bytes, table: int, stream: int) -> None:
        end = table + 4 * stream
        self.table, self.plain = np.frombuffer(data, np.uint8, table), np.frombuffer(data, np.uint8, offset=end)
        words = np.frombuffer(data, "<u4", stream, table).astype(np.uint32)
        self.coder = constriction.stream.queue.RangeDecoder(words)

    def modelled(self, position: int, where: Ints, nodes: Ints, size: int) -> Ints:
        used = np.flatnonzero(np.bincount(nodes, minlength=size))
        codes, self.table = self.table[: used.size], self.table[used.size :]
        if codes.size < used.size:
            raise ValueError(f"{used.size} shares are needed here, there are {codes.size}")
        if not nodes.size:
            return nodes
        return self.coder.decode(BERNOULLI, _at(nodes, used, codes, size)).astype(np.int64)

    def unmodelled(self, position: int, where: Ints) -> Ints:
        size = -(-where.size // 8)
        if self.plain.size < size:
            raise ValueError(f"{size} bytes of bits are needed here, there are {self.plain.size}")
        bits, self.plain = self.plain[:size], self.plain[size:]
        return np.unpackbits(bits, count=where.size).astype(np.int64)

    def rest(self) -> int:
        """Number of bytes that nothing has asked for."""
        return self.table.size + self.plain.size


def _at(nodes: Ints, used: Ints, codes: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """The probability of a one at each number's node."""
    table = np.zeros(size, np.float32)
    table[used] = probability(codes)
    return table[nodes]


def _fields(words: Ints, kind: Kind) -> Ints:
    """The bits of the exponent as a number."""
    return words >> kind.mantissa & (1 << kind.exponent) - 1


def _depths(words: Ints, kind: Kind) -> Ints:
    """How many bits of the mantissa there are down to the last that is one."""
    mantissas = words & (1 << kind.mantissa) - 1
    zeros = np.bitwise_count((mantissas & -mantissas) - 1).astype(np.int64)  # below the lowest bit that is one
    return np.where(mantissas > 0, kind.mantissa - zeros, 0)
