"""How a loop over NumPy arrays is compiled (by numba), and the few functions of a number that such loops need.

Two settings decide whether the compiler makes vector instructions of a loop.  With `error_model="numpy"` a division
never raises.  The relaxations of rounding are those that keep nan and inf: `reassoc` lets a sum be added up in several
parts at a time, and `contract` multiplies and adds at once; the complete "fast math" would take it for granted that no
number is nan.  A formula, whose steps are to be rounded as they are written, does without `reassoc`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit, types
from numba.core import event
from numba.np.numpy_support import carray

from ..blas import PLAIN, ROW_MAJOR, TRANSPOSED

intrinsic: Any = extending.intrinsic  # a function for loops, which do not pass the `context`
MAX_SILENCE = 1.0  # seconds of compiling after which the user is told what takes so long
f4, i4 = np.float32, np.int32
i8 = np.int64  # a loop is compiled anew for an argument that is a constant, or an address as NumPy has it
u8 = np.uint64  # an index without a sign does not count from the end of an axis: only then is a loop vectorised


def compiled(function: Callable, relaxed: set[str], **more: Any) -> Callable:
    """The function compiled when first called for each set of argument types, and kept on disk if there is a place."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": relaxed, **more}
    options["no_cfunc_wrapper"] = True  # C does not call it
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no directory may be written into
        return njit(**options)(function)


def loop(function: Callable) -> Any:
    """Compile a loop, which may add its sums up in any order."""
    return compiled(function, {"contract", "reassoc", "arcp", "nsz", "afn"})


def formula(function: Callable) -> Any:
    """Compile a function of numbers that loops call, whose operations keep their order.

    It is inlined wherever it is called, since a loop with a call in it is not vectorised.  Python cannot call it.
    """
    return compiled(function, {"contract", "nsz"}, forceinline=True, no_cpython_wrapper=True)


class Teller(event.Listener):
    """Says once, on stderr, that kernels are being compiled, if that takes more than MAX_SILENCE."""

    def __init__(self):
        self.depth, self.timer = 0, threading.Timer(MAX_SILENCE, self.tell)

    def on_start(self, event: Any) -> None:
        self.depth += 1
        if self.depth == 1 and not self.timer.finished.is_set():
            self.timer = threading.Timer(MAX_SILENCE, self.tell)
            self.timer.daemon = True
            self.timer.start()

    def on_end(self, event: Any) -> None:
        self.depth -= 1
        if not self.depth and self.timer.is_alive():
            self.timer.cancel()
            self.timer = threading.Timer(MAX_SILENCE, self.tell)

    def tell(self) -> None:
        print("minigrad compiles its kernels for this processor, once: this takes some seconds", file=sys.stderr)


event.register("numba:compile", Teller())


@intrinsic
def float_of_bits(context, bits):
    """The float32 with the bits of an int32."""
    make = lambda context, builder, signature, args: builder.bitcast(args[0], ir.FloatType())  # noqa: E731
    return types.float32(types.int32), make


@intrinsic
def bits_of_float(context, x):
    """The bits of a float32, as an int32."""
    make = lambda context, builder, signature, args: builder.bitcast(args[0], ir.IntType(32))  # noqa: E731
    return types.int32(types.float32), make


@formula
def exp_sum(x, more):
    """e^(x + more) in float32, within 2e-7 of itself, for a `more` that is small beside 1; nan and inf as they come.

    (numba has no vector `exp` without a library of Intel's, and a call for each entry takes ten times as long.)
    With k the whole number nearest to x / log 2, eˣ = 2ᵏ e^(x - k log 2); the power of e is a polynomial of degree 7.
    """
    t = min(max(x * f4(1.4426950408889634), f4(-150)), f4(129))
    k = np.floor(t + f4(0.5))
    f = x - k * f4(0.693359375)
    f = f + k * f4(2.12194440e-4) + more
    p = f4(1.9875691500e-4)
    p = p * f + f4(1.3981999507e-3)
    p = p * f + f4(8.3334519073e-3)
    p = p * f + f4(4.1665795894e-2)
    p = p * f + f4(1.6666665459e-1)
    p = p * f + f4(5.0000001201e-1)
    p = p * f * f + f + f4(1)
    half = i4(k) >> i4(1)  # 2ᵏ as two factors, for k beyond what one exponent holds
    y = p * float_of_bits((half + i4(127)) << i4(23)) * float_of_bits((i4(k) - half + i4(127)) << i4(23))
    y = f4(np.inf) if x > f4(88.73) else y
    y = f4(0) if x < f4(-103.98) else y
    return x if x != x else y


@formula
def exp(x):
    """eˣ in float32: see `exp_sum`."""
    return exp_sum(x, f4(0))


@formula
def less(x, a, b):
    """(x - a) - b, in this order: a + b would be rounded."""
    return (x - a) - b


@formula
def log_of(total, top):
    """top + log(total) as two numbers whose sum it is, the first of them `top` unless that is 0."""
    exact = np.log(np.float64(total))
    first = top if top != f4(0) else f4(exact)
    return first, f4(exact - (first - top))


@formula
def sigmoid(x):
    """1 / (1 + e⁻ˣ)."""
    return f4(1) / (f4(1) + exp(-x))


@formula
def bell(x, factor):
    """exp(factor · x²), with x² as the sum of two float32 numbers; the factor is minus a power of two."""
    high = float_of_bits(bits_of_float(x) & i4(-4096))  # 12 bits, whose square is exact
    y = exp_sum(factor * high * high, factor * (x - high) * (x + high))
    return y if abs(x) < f4(20) else (f4(0) if x == x else x)


@formula
def normal_cdf(x, dens):
    """The normal distribution function Φ, given exp(-x²/2).

    Φ(-t) / exp(-t²/2) is a polynomial in 1 / (1 + 0.35 t), whose largest relative error on 0 <= t <= 14.5 is 3e-8.
    (Least squares at 400 Chebyshev points, the points with large errors given more and more weight.)
    """
    u = f4(1) / (f4(1) + f4(0.35) * abs(x))
    p = f4(-0.02915788569)
    p = p * u + f4(0.1440309191)
    p = p * u + f4(-0.2558390027)
    p = p * u + f4(0.1593196935)
    p = p * u + f4(-0.02321235183)
    p = p * u + f4(0.1055525014)
    p = p * u + f4(0.119821288)
    p = p * u + f4(0.1398635154)
    p = p * u + f4(0.1396213068)
    tail = p * u * dens
    return f4(1) - tail if x > f4(0) else tail


@formula
def tanh(x):
    """The hyperbolic tangent, within 3e-7 of itself; near 0 by the polynomial of the Cephes library."""
    s = x * x
    p = f4(-5.70498872745e-3)
    p = p * s + f4(2.06390887954e-2)
    p = p * s + f4(-5.37397155531e-2)
    p = p * s + f4(1.33314422036e-1)
    p = p * s + f4(-3.33332819422e-1)
    return p * s * x + x if abs(x) < f4(0.625) else f4(1) - f4(2) / (f4(1) + exp(f4(2) * x))


def product_of(lies: int) -> Any:
    """BLAS's out = alpha · a @ b + beta · out, of an m × k and a k × n matrix, by the address of `cblas_sgemm`.

    The interpreter has no part in it.  The first matrix `lies` PLAIN in memory, or TRANSPOSED.  `a`, `b` and `out` are
    addresses, `…_rows` the number of entries from one row to the next.  Whole numbers are passed as 64 bits, of which a
    BLAS with 32 reads the lower half.
    """
    size, number = types.int64, types.float32
    signature = types.void(*[size] * 4, number, *[size] * 4, number, *[size] * 2)

    def generate(context, builder, signature, args):
        address, m, n, k, alpha, a, a_rows, b, b_rows, beta, out, out_rows = args
        whole, wide, real = ir.IntType(32), ir.IntType(64), ir.FloatType()
        kinds = [whole] * 3 + [wide] * 3 + [real] + [wide] * 4 + [real] + [wide] * 2
        function = builder.inttoptr(address, ir.FunctionType(ir.VoidType(), kinds).as_pointer())
        how = whole(ROW_MAJOR), whole(lies), whole(PLAIN)
        builder.call(function, [*how, m, n, k, alpha, a, a_rows, b, b_rows, beta, out, out_rows])
        return context.get_dummy_value()

    def function(context, address, m, n, k, alpha, a, a_rows, b, b_rows, beta, out, out_rows):
        return signature, generate

    return intrinsic(function)


sgemm, sgemm_turned = product_of(PLAIN), product_of(TRANSPOSED)


@intrinsic
def pointer(context, address):
    """Where float32 numbers lie, given the address as a whole number."""
    make = lambda context, builder, signature, args: builder.inttoptr(args[0], ir.FloatType().as_pointer())  # noqa: E731
    return types.CPointer(types.float32)(types.int64), make


@formula
def numbers(address, count):
    """An array of as many float32 numbers as lie in a row at the address."""
    return carray(pointer(address), count)
