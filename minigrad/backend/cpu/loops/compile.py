"""Compiles loops over NumPy arrays with numba, and provides the elementary functions that such loops need.

Two settings decide whether the compiler vectorises a loop.  With `error_model="numpy"` a division never raises.  The
relaxations of rounding are those that preserve nan and inf: `reassoc` lets a sum be accumulated in several parts, and
`contract` fuses multiplications and additions; the complete "fast math" would assume that no number is nan.  A formula,
whose operations must be rounded in the order in which they are written, is compiled without `reassoc`.
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

MAX_SILENCE = 1.0  # seconds of compiling after which a message is printed
f4, i4 = np.float32, np.int32
i8 = np.int64  # for scalar arguments: literals and addresses from NumPy have types of their own, and recompile a loop
u8 = np.uint64  # the type of indices: signed ones may count from the end of an axis, which prevents vectorisation


def intrinsic(function: Callable) -> Any:
    """Make a function of LLVM's for loops, which do not pass the `context`."""
    return extending.intrinsic(function)


def compiled(function: Callable, relaxed: set[str], **more: Any) -> Callable:
    """The function, compiled at the first call with each set of argument types, and cached on disk if possible."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": relaxed, **more}
    options["no_cfunc_wrapper"] = True  # it is never called from C
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no directory for the cache is writable
        return njit(**options)(function)


def loop(function: Callable) -> Any:
    """Compile a loop, whose sums may be accumulated in any order."""
    return compiled(function, {"contract", "reassoc", "arcp", "nsz", "afn"})


def formula(function: Callable) -> Any:
    """Compile a function of numbers for use in loops, whose operations keep their order.

    It is inlined wherever it is called, since a loop that contains a call is not vectorised.  Python cannot call it.
    """
    return compiled(function, {"contract", "nsz"}, forceinline=True, no_cpython_wrapper=True)


class CompilationNotice(event.Listener):
    """Prints once, on stderr, that kernels are being compiled, if that takes more than MAX_SILENCE."""

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
        print("minigrad is compiling its kernels for this processor, which takes some seconds once", file=sys.stderr)


event.register("numba:compile", CompilationNotice())


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
    """e^(x + more) in float32, with a relative error of at most 2e-7, for |more| much smaller than 1; nan and inf too.

    (numba has no vectorised `exp` without a library of Intel's, and a call per entry takes ten times as long.)  With k
    the integer nearest to x / log 2, eˣ = 2ᵏ e^(x - k log 2); the power of e is a polynomial of degree 7.
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
    half = i4(k) >> i4(1)  # 2ᵏ as two factors, because k may exceed the range of an exponent
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
    """(x - a) - b in this order, because a + b would be rounded."""
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
    high = float_of_bits(bits_of_float(x) & i4(-4096))  # 12 significant bits, so that its square is exact
    y = exp_sum(factor * high * high, factor * (x - high) * (x + high))
    return y if abs(x) < f4(20) else (f4(0) if x == x else x)


@formula
def normal_cdf(x, dens):
    """The normal distribution function Φ, given exp(-x²/2).

    Φ(-t) / exp(-t²/2) is a polynomial in 1 / (1 + 0.35 t), whose largest relative error on 0 <= t <= 14.5 is 3e-8.
    (A least-squares fit at 400 Chebyshev points, reweighted repeatedly towards the points with large errors.)
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
    """The hyperbolic tangent, with a relative error of at most 3e-7; near 0 by the polynomial of the Cephes library."""
    s = x * x
    p = f4(-5.70498872745e-3)
    p = p * s + f4(2.06390887954e-2)
    p = p * s + f4(-5.37397155531e-2)
    p = p * s + f4(1.33314422036e-1)
    p = p * s + f4(-3.33332819422e-1)
    return p * s * x + x if abs(x) < f4(0.625) else f4(1) - f4(2) / (f4(1) + exp(f4(2) * x))


def product_of(lies: int) -> Any:
    """BLAS's out = alpha · a @ b + beta · out, of an m × k and a k × n matrix, by the address of `cblas_sgemm`.

    It does not call the interpreter.  `lies` says whether the first matrix is PLAIN or TRANSPOSED in memory.  `a`, `b`
    and `out` are addresses, `…_rows` the number of entries from one row to the next.  Integers are passed as 64 bits,
    of which a BLAS with 32-bit integers reads the lower half.
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
    """A pointer to float32 numbers from an address given as an integer."""
    make = lambda context, builder, signature, args: builder.inttoptr(args[0], ir.FloatType().as_pointer())  # noqa: E731
    return types.CPointer(types.float32)(types.int64), make


@formula
def numbers(address, count):
    """An array of `count` contiguous float32 numbers at an address."""
    return carray(pointer(address), count)
