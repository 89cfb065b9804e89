"""The matrix product in float32, used where it is faster than BLAS: on AMD's processors with AVX-512.

(One core of a Zen 4 reaches 105 – 114 GFLOP/s, with OpenBLAS and MKL 90 – 103.)  Blocks of b are copied to panels of
columns, and blocks of a transposed a are copied too; the products are computed in registers.
"""

from __future__ import annotations

import numpy as np
from llvmlite import binding

from .compile import f4, i8, loop, numbers
from .registers import LANES, PANEL, copy, multiply, turn

PAYS = binding.get_host_cpu_name().startswith("znver") and LANES == 16
DEPTH, HEIGHT = 384, 256  # size of the blocks, which fit in a core's cache


STARTS = np.arange(DEPTH) * PANEL  # where the rows of a panel begin, in floats


def product(m, n, k, a, a_row, a_step, b, b_row, b_step, out, out_row, add):
    """out = a @ b, or out += a @ b with 1 for `add`: of an m × k and a k × n matrix.

    a, b and out are addresses, `…_row` the floats from one row to the next, `…_step` from one column to the next.
    """
    low, few = min(m, HEIGHT), min(k, DEPTH)
    block, panel, edge = (np.empty(size, np.float32) for size in (low * few, few * PANEL, low * PANEL))
    scratch = block.ctypes.data, panel.ctypes.data, edge.ctypes.data, STARTS.ctypes.data
    multiply_blocks(m, n, k, a, a_row, a_step, b, b_row, b_step, out, out_row, add, *scratch)


@loop
def multiply_blocks(m, n, k, a, a_row, a_step, b, b_row, b_step, out, out_row, add, block, panel, edge, starts):
    """The product by blocks; columns that do not fill a vector go through `edge`: `multiply` writes whole vectors."""
    low, few, wide = min(m, HEIGHT), min(k, DEPTH), i8(PANEL)
    for top in range(0, m, low):
        rows = min(low, m - top)
        for first in range(0, k, few):
            deep, more = min(few, k - first), 1 if first or add else 0
            lay(a + 4 * (top * a_row + first * a_step), a_row, a_step, rows, deep, block, few)
            for j in range(0, n, wide):
                width, into = min(wide, n - j), out + 4 * (top * out_row + j)
                lay(b + 4 * (first * b_row + j * b_step), b_row, b_step, deep, width, panel, wide)
                whole = width % LANES == 0
                to, to_row, add_now = (into, out_row, more) if whole else (edge, wide, 0)
                multiply(block, few, rows, panel, starts, width, deep, to, to_row, add_now)
                for r in range(0 if whole else rows):
                    line, sums = numbers(into + 4 * r * out_row, width), numbers(edge + 4 * r * wide, width)
                    for c in range(width):
                        line[c] = sums[c] + (line[c] if more else f4(0))


@loop
def lay(source, row, step, rows, columns, target, target_row):
    """Copy a matrix whose rows or columns are contiguous."""
    if step == 1:
        for i in range(rows):
            copy(source + 4 * i * row, target + 4 * i * target_row, columns)
    else:
        turn(source, step, columns, rows, target, target_row)
