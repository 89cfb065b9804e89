"""Products of small matrices in registers, from which loops over blocks of large matrices are built.

The compiler does not find the best order by itself: ROWS × VECTORS vectors of sums stay in registers during the loop
over `k`, each step of which multiplies VECTORS vectors of b by ROWS numbers of a, so that each loaded number is used
several times.  (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.)
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from .compile import intrinsic, loop

FEATURES = binding.get_host_cpu_features()
LANES = 16 if FEATURES.get("avx512f") else 8 if FEATURES.get("avx2") else 4  # float32 numbers in a vector register
ROWS = 8 if FEATURES.get("avx512f") or platform.machine() in ("aarch64", "arm64") else 4  # 32 registers, or 16
VECTORS = 3
PANEL = LANES * VECTORS  # columns of b that are multiplied at a time
number, size, vector = ir.FloatType(), ir.IntType(64), ir.VectorType(ir.FloatType(), LANES)


def at(builder: Any, address: Any, step: Any, count: int, kind: ir.Type) -> Any:
    """A pointer to the number `count` steps (in floats) after an address."""
    offset = builder.mul(step, size(4 * count))
    return builder.inttoptr(builder.add(address, offset), kind.as_pointer())


def spread_out(builder: Any, value: Any, kind: ir.VectorType) -> Any:
    """A vector with the same number in every lane."""
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def sums(rows: int, vectors: int) -> Any:
    """The product of `rows` rows of a and `vectors` vectors of columns of b, as a function for loops."""

    def generate(context, builder, signature, args):
        a, a_row, b, rows_of_b, k, out, out_row, add = args
        block = [(r, v) for r in range(rows) for v in range(vectors)]

        def places(address, row):
            return [at(builder, builder.add(address, size(4 * LANES * v)), row, r, vector) for r, v in block]

        start, again, last, plain, adding, end = builder.block, *(builder.append_basic_block() for _ in range(5))
        into = places(out, out_row)
        builder.branch(again)

        builder.position_at_end(again)  # for i in range(k): total[r, v] += a[r, i] · b[i, v]
        totals, counts = [builder.phi(vector) for _ in block], [builder.phi(size) for _ in "ia"]
        i, a_now = counts
        row = builder.load(
            builder.inttoptr(builder.add(rows_of_b, builder.shl(i, size(3))), size.as_pointer()), align=8
        )
        columns = [
            builder.load(at(builder, builder.add(b, size(4 * LANES * v)), row, 1, vector), align=4)
            for v in range(vectors)
        ]
        new = []
        for r, v in block:
            if v == 0:
                one = builder.load(at(builder, a_now, a_row, r, number), align=4)
                factor = spread_out(builder, one, vector)
            term = builder.fmul(factor, columns[v], flags=("contract",))
            new.append(builder.fadd(totals[len(new)], term, flags=("contract",)))
        following = [builder.add(i, size(1)), builder.add(a_now, size(4))]
        builder.cbranch(builder.icmp_signed("<", following[0], k), again, last)
        for total, sum_ in zip(totals, new):
            total.add_incoming(ir.Constant(vector, [0.0] * LANES), start)
            total.add_incoming(sum_, again)
        for count, first, after in zip(counts, (size(0), a), following):
            count.add_incoming(first, start)
            count.add_incoming(after, again)

        builder.position_at_end(last)
        builder.cbranch(builder.icmp_signed("!=", add, size(0)), adding, plain)
        for block_, values in ((plain, new), (adding, None)):
            builder.position_at_end(block_)
            values = values or [builder.fadd(builder.load(place, align=4), value) for place, value in zip(into, new)]
            for value, place in zip(values, into):
                builder.store(value, place, align=4)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    def function(context, a, a_row, b, rows_of_b, k, out, out_row, add):
        return types.void(*[types.int64] * 8), generate

    return intrinsic(function)


one_1, one_2, one_3 = sums(1, 1), sums(1, 2), sums(1, 3)
all_1, all_2, all_3 = sums(ROWS, 1), sums(ROWS, 2), sums(ROWS, 3)


@loop
def multiply(a, a_row, rows, b, rows_of_b, columns, k, out, out_row, add):
    """out = a @ b, or out += a @ b with 1 for `add`, of a (rows, k) and b (k, columns), columns <= PANEL.

    a, b and out are addresses, `…_row` the floats from one row to the next; row i of b begins rows_of_b[i] floats after
    b, which may be any address.  Whole vectors of columns are read and written; k is at least 1.
    """
    r, vectors = 0, (columns + LANES - 1) // LANES
    while r < rows:
        x, y = a + 4 * r * a_row, out + 4 * r * out_row
        if rows - r >= ROWS:
            if vectors == 1:
                all_1(x, a_row, b, rows_of_b, k, y, out_row, add)
            elif vectors == 2:
                all_2(x, a_row, b, rows_of_b, k, y, out_row, add)
            else:
                all_3(x, a_row, b, rows_of_b, k, y, out_row, add)
            r += ROWS
        else:
            if vectors == 1:
                one_1(x, a_row, b, rows_of_b, k, y, out_row, add)
            elif vectors == 2:
                one_2(x, a_row, b, rows_of_b, k, y, out_row, add)
            else:
                one_3(x, a_row, b, rows_of_b, k, y, out_row, add)
            r += 1


def masked(builder: Any, count: Any) -> Any:
    """A mask of the first `count` lanes of a vector."""
    numbers = ir.VectorType(ir.IntType(32), LANES)
    limit = spread_out(builder, builder.trunc(count, ir.IntType(32)), numbers)
    return builder.icmp_signed("<", ir.Constant(numbers, list(range(LANES))), limit)


def load(builder: Any, address: Any, count: Any = None) -> Any:
    """The vector at an address, or its first `count` numbers followed by zeros."""
    place = builder.inttoptr(address, vector.as_pointer())
    if count is None:
        return builder.load(place, align=4)
    mask, zero = masked(builder, count), ir.Constant(vector, [0.0] * LANES)
    kind = ir.FunctionType(vector, [place.type, ir.IntType(32), mask.type, vector])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.v{LANES}f32.p0")
    return builder.call(function, [place, ir.IntType(32)(4), mask, zero])


def store(builder: Any, value: Any, address: Any, count: Any = None) -> None:
    """Write a vector, or its first `count` numbers, to an address."""
    place = builder.inttoptr(address, vector.as_pointer())
    if count is None:
        builder.store(value, place, align=4)
        return
    mask = masked(builder, count)
    kind = ir.FunctionType(ir.VoidType(), [vector, place.type, ir.IntType(32), mask.type])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.v{LANES}f32.p0")
    builder.call(function, [value, place, ir.IntType(32)(4), mask])


@intrinsic
def move(context, source, target):
    """Copy a vector from one address to another."""

    def generate(context, builder, signature, args):
        store(builder, load(builder, args[0]), args[1])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def move_some(context, source, target, count):
    """Copy the first `count` numbers of a vector."""

    def generate(context, builder, signature, args):
        source, target, count = args
        store(builder, load(builder, source, count), target, count)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


@intrinsic
def clear(context, target, count):
    """Set the first `count` numbers of a vector to 0."""

    def generate(context, builder, signature, args):
        store(builder, ir.Constant(vector, [0.0] * LANES), *args)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def settling(some: bool) -> Any:
    """max(scale · x + shift + more, floor) for a vector, or its first `count` numbers; nan is preserved.

    x is at the address `source`, `more` at `also` unless that is 0, and the result is written to `target`.
    """

    def generate(context, builder, signature, args):
        source, scale, shift, also, floor, target, *count = args
        y = builder.fmul(load(builder, source), spread_out(builder, scale, vector))
        y = builder.fadd(y, spread_out(builder, shift, vector))
        start, add, end = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed("!=", also, size(0)), add, end)
        builder.position_at_end(add)
        more = builder.fadd(y, load(builder, also, *count))
        builder.branch(end)
        builder.position_at_end(end)
        result = builder.phi(vector)
        result.add_incoming(y, start)
        result.add_incoming(more, add)
        least = spread_out(builder, floor, vector)
        store(builder, builder.select(builder.fcmp_ordered("<", result, least), least, result), target, *count)
        return context.get_dummy_value()

    arguments = [types.int64, types.float32, types.float32, types.int64, types.float32, types.int64]

    def all_of_it(context, source, scale, shift, also, floor, target):
        return types.void(*arguments), generate

    def some_of_it(context, source, scale, shift, also, floor, target, count):
        return types.void(*arguments, types.int64), generate

    return intrinsic(some_of_it if some else all_of_it)


settle, settle_some = settling(False), settling(True)


@intrinsic
def fetch(context, address):
    """Prefetch the cache line at an address that will soon be written."""

    def generate(context, builder, signature, args):
        byte, whole = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, whole, whole, whole])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(prefetch, [builder.inttoptr(args[0], byte), whole(1), whole(3), whole(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


def turning(some: bool) -> Any:
    """Transpose LANES × LANES numbers, or the first `rows` × `columns` of them, given the floats from row to row."""

    def generate(context, builder, signature, args):
        source, row, target, target_row, *part = args
        half = LANES // 2

        def places(address, step, count=None, wide=None):
            """The address of each row, and the number of its lanes to use, if not all."""
            for i in range(LANES):
                place = builder.add(address, builder.mul(step, size(4 * i)))
                there = builder.icmp_signed("<", size(i), count) if some else None
                yield (place, builder.select(there, wide, size(0))) if some else (place,)

        rows = [load(builder, *place) for place in places(source, row, *part)]
        low, high = (
            ir.Constant(ir.VectorType(ir.IntType(32), LANES), [i for j in range(half) for i in (j + k, j + k + LANES)])
            for k in (0, half)
        )
        for _ in range(LANES.bit_length() - 1):  # interleave each row with its partner in the other half
            pairs = zip(rows[:half], rows[half:])
            rows = [builder.shuffle_vector(a, b, side) for a, b in pairs for side in (low, high)]
        for line, place in zip(rows, places(target, target_row, *part[::-1])):
            store(builder, line, *place)
        return context.get_dummy_value()

    def all_of_it(context, source, row, target, target_row):
        return types.void(*[types.int64] * 4), generate

    def some_of_it(context, source, row, target, target_row, rows, columns):
        return types.void(*[types.int64] * 6), generate

    return intrinsic(some_of_it if some else all_of_it)


turn_square, turn_some = turning(False), turning(True)


@loop
def copy(source, target, count):
    """Copy `count` numbers from one address to another."""
    for i in range(0, count - LANES + 1, LANES):
        move(source + 4 * i, target + 4 * i)
    i = count // LANES * LANES
    if i < count:
        move_some(source + 4 * i, target + 4 * i, count - i)


@loop
def turn(source, row, rows, columns, target, target_row):
    """target[j, i] = source[i, j], from one address to another."""
    for i in range(0, rows, LANES):
        for j in range(0, columns, LANES):
            block, into = source + 4 * (i * row + j), target + 4 * (j * target_row + i)
            if i + LANES <= rows and j + LANES <= columns:
                turn_square(block, row, into, target_row)
            else:
                turn_some(block, row, into, target_row, min(LANES, rows - i), min(LANES, columns - j))
