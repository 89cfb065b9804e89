"""Products with weights of 8 and 4 bits, in the layout of shared/quantized.py, without expanding them in memory.

For a few rows, as in text generation, each weight is read once and converted to a float in a register: the time is that
of reading the weights, which have a quarter or an eighth of the bytes.  For more rows, blocks of weights are converted
in a core's cache and multiplied in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...record import Kernel
from ...shared.quantized import GROUP, of_scale
from .. import cores
from ..blas import gemm
from ..memory import rows
from .compile import f4, i4, intrinsic, loop, u8

MAX_FEW = 16  # rows of x up to which weights are converted in registers
MIN_SHARED = 1 << 19  # weights from which another core saves more time than it takes to wake it
BLOCK = 1 << 22  # weights that are converted to floats at a time
LANES, TOGETHER = 16, 4  # numbers in a vector, and rows of weights that are multiplied at a time
size, number, byte = ir.IntType(64), ir.FloatType(), ir.IntType(8)
vector, whole, places = (ir.VectorType(kind, LANES) for kind in (number, ir.IntType(32), byte))
ZERO = ir.Constant(vector, [0.0] * LANES)


def at(builder: Any, address: Any, kind: ir.Type) -> Any:
    """Load the value at an address."""
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=4 if kind in (vector, number) else 1)


def spread(builder: Any, value: Any) -> Any:
    """A vector with the same number in every lane."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, first, ir.Constant(whole, [0] * LANES))


def times(builder: Any, a: Any, b: Any, total: Any) -> Any:
    """a b + total."""
    return builder.fadd(total, builder.fmul(a, b, flags=("contract",)), flags=("contract",))


def prefetch(builder: Any, address: Any) -> None:
    """Fetch the cache line at an address that will soon be read: each row is too short for the processor to foresee."""
    flag = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), *[flag] * 3])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [builder.inttoptr(address, byte.as_pointer()), flag(0), flag(3), flag(1)])


def add_int8(builder: Any, weight: Any, x: list, scale: Any, total: Any) -> Any:
    """total + the products of LANES int8 weights."""
    return times(builder, builder.sitofp(builder.sext(at(builder, weight, places), whole), vector), x[0], total)


def add_int4(builder: Any, weight: Any, x: list, scale: Any, total: Any) -> Any:
    """total + scale · the products of a group of int4 weights."""
    half = GROUP // 2
    pairs = ir.VectorType(byte, half)
    both, part = at(builder, weight, pairs), ZERO
    low, high = builder.and_(both, pairs([15] * half)), builder.lshr(both, pairs([4] * half))
    numbers = [builder.sub(side, pairs([8] * half)) for side in (low, high)]
    for i, values in enumerate(x):
        side, first = divmod(i * LANES, half)
        index = ir.Constant(ir.VectorType(ir.IntType(32), LANES), list(range(first, first + LANES)))
        some = builder.shuffle_vector(numbers[side], numbers[side], index)
        part = times(builder, builder.sitofp(builder.sext(some, whole), vector), values, part)
    return times(builder, part, spread(builder, at(builder, scale, number)), total)


def dots(many: int, step: Any, columns: int, bytes_: int, scaled: int) -> Any:
    """The products of `many` rows of weights with a vector, as a function for loops.

    `step` processes `columns` columns at a time, which take the given bytes, and `scaled` bytes of scales.
    """

    def generate(context, builder, signature, args):
        weight, row, scale, scale_row, x, count, out = args
        start, check, body, end = builder.block, *(builder.append_basic_block() for _ in range(3))
        builder.branch(check)
        builder.position_at_end(check)
        moving = [(builder.phi(size), first, by) for first, by in ((size(0), 1), (weight, bytes_), (x, 4 * columns))]
        moving.append((builder.phi(size), scale, scaled))
        totals = [builder.phi(vector) for _ in range(many)]
        (i, *_), (w, *_), (values, *_), (s, *_) = moving
        builder.cbranch(builder.icmp_signed("<", i, count), body, end)

        builder.position_at_end(body)
        some = [at(builder, builder.add(values, size(4 * j)), vector) for j in range(0, columns, LANES)]
        new = []
        for r, total in enumerate(totals):
            here, beside = (builder.add(a, builder.mul(b, size(r))) for a, b in ((w, row), (s, scale_row)))
            new.append(step(builder, here, some, beside, total))
            prefetch(builder, builder.add(here, builder.mul(row, size(many))))  # the same place in the next rows
        following = [builder.add(phi, size(by)) for phi, _, by in moving]
        builder.branch(check)
        for (phi, first, _), after in zip(moving, following):
            phi.add_incoming(first, start)
            phi.add_incoming(after, body)
        for total, after in zip(totals, new):
            total.add_incoming(ZERO, start)
            total.add_incoming(after, body)

        builder.position_at_end(end)
        kind = ir.FunctionType(number, [number, vector])
        add_up = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{LANES}f32")
        for r, total in enumerate(totals):
            value = builder.call(add_up, [number(-0.0), total], fastmath=("reassoc",))
            place = builder.inttoptr(builder.add(out, size(4 * r)), number.as_pointer())
            builder.store(value, place, align=4)
        return context.get_dummy_value()

    def function(context, weight, row, scale, scale_row, x, count, out):
        return types.void(*[types.int64] * 7), generate

    return intrinsic(function)


int8_1, int8_4 = (dots(many, add_int8, LANES, LANES, 0) for many in (1, TOGETHER))
int4_1, int4_4 = (dots(many, add_int4, GROUP, GROUP // 2, 4) for many in (1, TOGETHER))


@loop
def few_int8(x, weight, scale, bias, out):
    """out[i, m] = Σ x[m, j] weight[i, j] · scale[i] + bias[i], unless the bias is empty."""
    features, i = x.shape[1], 0
    whole_vectors, sums = features // LANES, np.empty(TOGETHER, np.float32)
    while i < len(weight):
        many = TOGETHER if len(weight) - i >= TOGETHER else 1
        here = weight.ctypes.data + i * features
        for m in range(len(x)):
            row = x.ctypes.data + 4 * m * features
            if many == 1:
                int8_1(here, features, 0, 0, row, whole_vectors, sums.ctypes.data)
            else:
                int8_4(here, features, 0, 0, row, whole_vectors, sums.ctypes.data)
            for r in range(many):
                total = sums[r]
                for j in range(whole_vectors * LANES, features):
                    total += f4(weight[i + r, j]) * x[m, j]
                out[i + r, m] = total * scale[i + r] + (bias[i + r] if len(bias) else f4(0))
        i += many


@loop
def few_int4(x, weight, scale, bias, out):
    """The same for int4, with a scale for each group; x is padded to a whole number of groups."""
    columns, i = x.shape[1], 0
    groups, width, sums = columns // GROUP, columns // 2, np.empty(TOGETHER, np.float32)
    while i < len(weight):
        many = TOGETHER if len(weight) - i >= TOGETHER else 1
        here, scales = weight.ctypes.data + i * width, scale.ctypes.data + 4 * i * groups
        for m in range(len(x)):
            row = x.ctypes.data + 4 * m * columns
            if many == 1:
                int4_1(here, width, scales, 4 * groups, row, groups, sums.ctypes.data)
            else:
                int4_4(here, width, scales, 4 * groups, row, groups, sums.ctypes.data)
            for r in range(many):
                out[i + r, m] = sums[r] + (bias[i + r] if len(bias) else f4(0))
        i += many


@loop
def fill_int8(weight, scale, out):
    """Convert int8 weights to floats."""
    for i in range(len(weight)):
        for j in range(weight.shape[1]):
            out[i, j] = f4(weight[i, j]) * scale[i]


@loop
def fill_int4(weight, scale, out):
    """Convert whole groups of int4 weights to floats."""
    half = u8(GROUP // 2)
    for i in range(len(weight)):
        for g in range(scale.shape[1]):
            first = u8(g) * half
            for j in range(half):
                pair = i4(weight[i, first + j])
                out[i, u8(2) * first + j] = f4((pair & i4(15)) - i4(8)) * scale[i, g]
                out[i, u8(2) * first + half + j] = f4((pair >> i4(4)) - i4(8)) * scale[i, g]


def floats(weight: np.ndarray, scale: np.ndarray, features: int) -> np.ndarray:
    """Rows of weights as floats, (n, features)."""
    is_eight = weight.dtype == np.int8
    out = np.empty((len(weight), features if is_eight else scale.shape[1] * GROUP), np.float32)
    (fill_int8 if is_eight else fill_int4)(weight, scale, out)
    return out[:, :features]


def blocks(weight: np.ndarray, features: int, among: int) -> list[slice]:
    """The number of rows of weights to convert at a time."""
    return cores.evenly(len(weight), max(1, BLOCK // features), among)


def forward(xp, x, scale, bias, weight):
    (x_rows,), features, n = rows(x), x.shape[-1], len(weight)
    y = np.empty((*x.shape[:-1], n), np.float32)
    (into,) = rows(y)
    if len(x_rows) > MAX_FEW:

        def work(some):
            if bias is not None:
                into[:, some] = bias[some]
            gemm(x_rows, floats(weight[some], scale[some], features).T, into[:, some], add=bias is not None)

        cores.share(work, blocks(weight, features, cores.CORES if x_rows.size * n >= MIN_SHARED else 1))
        return y, (x.shape, x, scale)
    few, more = few_int8, bias if bias is not None else scale.reshape(-1)[:0]
    if weight.dtype == np.uint8:
        few, missing = few_int4, scale.shape[1] * GROUP - features
        x_rows = np.pad(x_rows, ((0, 0), (0, missing))) if missing else x_rows
    out = into.reshape(n, 1) if len(x_rows) == 1 else np.empty((n, len(x_rows)), np.float32)
    if len(x_rows) * weight.size < MIN_SHARED or cores.CORES == 1:
        few(x_rows, weight, scale, more, out)
    else:
        parts = cores.evenly(n, -(-n // cores.CORES), cores.CORES)
        cores.share(lambda some: few(x_rows, weight[some], scale[some], more[some], out[some]), parts)
    if len(x_rows) > 1:
        into[...] = out.T
    return y, (x.shape, x, scale)


def backward(xp, g, saved, wanted, weight):
    shape, x, scale = saved
    (g_rows,), gx, features = rows(g), None, shape[-1]
    if wanted[0]:
        gx = np.empty(shape, np.float32)
        (into,) = rows(gx)

        def work(some):
            for i, part in enumerate(blocks(weight, features, 1)):
                gemm(g_rows[some, part], floats(weight[part], scale[part], features), into[some], add=i > 0)

        among = cores.CORES if len(g_rows) * weight.size >= MIN_SHARED else 1
        cores.share(work, cores.evenly(len(g_rows), -(-len(g_rows) // among), among))
    gs = of_scale(xp, g_rows.T @ rows(x)[0], weight) if wanted[1] else None
    return gx, gs, g_rows.sum(0) if wanted[2] else None


table = {"quantized_linear": Kernel(forward, backward)}
