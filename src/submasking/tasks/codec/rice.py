"""Small whole numbers in few bits: a Rice code with a parameter for each column of a table.

R. F. Rice, "Some practical universal noiseless coding techniques", 1979.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PARAMETER_BITS = 3
LARGEST = 1 << 9  # numbers lie in -256..255, folded below this


def pack(table: NDArray[np.int64]) -> bytes:
    """The table, column by column: a parameter k of 3 bits, then each number v of -256..255.

    v is folded to u = 2 v, or -2 v - 1 where it is negative; u // 2 ** k ones, a zero and the k low bits of u follow.
    Zeros fill the last byte. A table without rows takes none.
    """
    if not len(table):
        return b""
    bits = ""
    for column in table.T.tolist():
        folded = [2 * value if value >= 0 else -2 * value - 1 for value in column]
        k = min(range(1 << PARAMETER_BITS), key=lambda k: sum((value >> k) + k for value in folded))
        bits += f"{k:03b}"
        bits += "".join("1" * (value >> k) + f"{value % (1 << k):0{k + 1}b}" for value in folded)
    return np.packbits(np.array(list(bits), np.uint8)).tobytes()


def unpack(data: bytes | memoryview, rows: int, columns: int) -> tuple[NDArray[np.int64], int]:
    """Read a table of so many rows and columns; returns it and the number of bytes read.

    Raises:
        ValueError: the data end early, or a number is out of range.
    """
    if rows == 0:
        return np.zeros((0, columns), np.int64), 0
    most = columns * (PARAMETER_BITS + rows * (LARGEST + (1 << PARAMETER_BITS)))
    bits = np.unpackbits(np.frombuffer(data, np.uint8)[: -(-most // 8)]).tolist()
    table = np.zeros((rows, columns), np.int64)
    at = 0
    for column in range(columns):
        k = _number(bits, at, PARAMETER_BITS)
        at += PARAMETER_BITS
        for row in range(rows):
            ones = 0
            while at + ones < len(bits) and bits[at + ones]:
                ones += 1
            folded = (ones << k) + _number(bits, at + ones + 1, k)
            if folded >= LARGEST:
                raise ValueError(f"numbers of a Rice code lie in -256..255 here, got one folded to {folded}")
            at += ones + 1 + k
            table[row, column] = folded >> 1 if folded % 2 == 0 else -(folded >> 1) - 1
    if at > len(bits):
        raise ValueError(f"a Rice code of {rows * columns} numbers has {at} bits here, got {len(bits)}")
    return table, -(-at // 8)


def _number(bits: list[int], start: int, length: int) -> int:
    number = 0
    for bit in bits[start : start + length]:
        number = 2 * number + bit
    return number
