"""Activations, softmax, layer normalisation and dropout on a CPU, in pieces that fit in a core's cache.

These kernels are for float32 arrays; other inputs go to the kernels in shared/.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..record import Kernel
from ..shared import layers
from . import mkl
from .cores import each_piece, scratch
from .memory import flat, rows
from .select import choose, has_plain_rows, is_plain


def _log_odds(x, out, square):
    """log(Φ(-x) / Φ(x)) into `out`, Φ being the normal distribution function; x² is left in `square`.

    It is x times a function of x².  This is the rational function of degree 3 over 3, as a continued fraction, whose
    largest relative error in erf(x/√2) = tanh(-½ log …) over 0 < x < 6 is least: 3e-9.  (Least squares in float64 at
    3000 Chebyshev points, the points with large errors given more and more weight.)
    """
    np.multiply(x, x, out=square)
    np.add(square, 37.445206966, out=out)
    np.divide(1096.44704976, out, out=out)
    out += square
    out -= 24.154402148
    np.divide(-21.939575656, out, out=out)
    out += square
    out += 132.527319228
    np.divide(1011.24518935, out, out=out)
    out -= 9.48084044
    out *= x


def erf(x: np.ndarray) -> np.ndarray:
    """The error function: exact in float64; in float32 within 0.6 units in the last place (by way of float64)."""
    if x.dtype == np.float64:
        return np.vectorize(math.erf, otypes=[np.float64])(x)
    wide = x.astype(np.float64).reshape(-1) * math.sqrt(2)
    odds = np.empty_like(wide)
    _log_odds(wide, odds, np.empty_like(wide))
    return np.tanh(-0.5 * odds).astype(x.dtype).reshape(x.shape)


MIN_SINGLE = -5.0  # the smallest x for which exp(-x²/2) survives rounding x² to float32: the relative error is 8e-7


def _density(x, out, high, low):
    """√(2π) times the normal density, exp(-x²/2), into `out`; `high` and `low` are working space.

    In a piece that reaches far below 0, x² is computed as the sum of two float32 numbers.
    """
    if not x.size or not x.min() < MIN_SINGLE:
        np.multiply(x, x, out=out)
        out *= -0.5
        np.exp(out, out=out)
        return
    np.clip(x, -20, 20, out=out)  # exp(-20²/2) is 0 in float32
    np.bitwise_and(out.view(np.int32), -4096, out=high.view(np.int32))  # 12 bits, whose square is exact
    np.subtract(out, high, out=low)
    out += high
    low *= out  # x² - high²
    high *= high
    np.add(high, low, out=out)
    high -= out
    high += low  # the rounding error of `out`
    high *= -0.5
    high += 1
    out *= -0.5
    np.exp(out, out=out)
    out *= high


def _normal_cdf(x, out, density, work, more):
    """Φ(x) into `out` and exp(-x²/2) into `density`; `work` and `more` are working space.

    Φ(-t) / exp(-t²/2) is a polynomial in 1 / (1 + 0.35 t), whose largest relative error on 0 <= t <= 14.5 is 3e-8.
    (Least squares at 400 Chebyshev points, the points with large errors given more and more weight.)
    """
    _density(x, density, work, more)
    np.abs(x, out=work)
    work *= 0.35
    work += 1
    np.divide(1, work, out=work)
    np.multiply(work, -0.02915788569, out=out)
    for coefficient in (
        0.1440309191,
        -0.2558390027,
        0.1593196935,
        -0.02321235183,
        0.1055525014,
        0.119821288,
        0.1398635154,
        0.1396213068,
    ):
        out += coefficient
        out *= work
    out *= density  # Φ(-|x|), which is Φ(x) or, where x is positive, 1 - Φ(x)
    positive, sign = work.view(np.int32), more.view(np.int32)
    np.right_shift(x.view(np.int32), 31, out=positive)
    np.invert(positive, out=positive)  # all bits of a positive number
    np.left_shift(positive, 31, out=sign)
    np.bitwise_xor(out.view(np.int32), sign, out=out.view(np.int32))  # minus Φ(-|x|) for a positive number
    positive &= np.float32(1).view(np.int32)
    out += work


def gelu_forward(xp, x, bias, approximate):
    """x Φ(x).  MKL, where it is installed, computes Φ in less time.

    The approximation is x / (1 + Φ(-x) / Φ(x)); its result is saved, since the backward pass computes Φ from it.
    """
    y, normal = (
        np.empty_like(x, order="K" if bias is None else "C"),
        mkl.of_array("vsCdfNorm") if approximate == "none" else None,
    )

    def work(y, x):
        sums, *spaces = scratch(4, *x.shape)
        if bias is not None:
            x = np.add(x, bias, out=sums)
        if approximate == "tanh":
            np.multiply(x, x, out=spaces[0])
            np.multiply(spaces[0], -layers.GELU_TANH[1], out=y)
            y -= layers.GELU_TANH[0]
            y *= x
            np.exp(y, out=y)
            y += 1
            np.divide(x, y, out=y)
            return
        if normal is not None:
            normal(x.size, x.ctypes.data, y.ctypes.data)
        else:
            _normal_cdf(x, y, *spaces)
        y *= x

    each_piece(work, *(flat if bias is None else rows)(y, x))
    return y, (x, bias, y if approximate == "tanh" else None, normal)


def gelu_backward(xp, g, saved, wanted, approximate):
    """g (Φ(x) + x Φ'(x)); the approximate Φ(x) is y / x, to which two tiny numbers are added so that it is 1/2 at 0."""
    x, bias, y, normal = saved
    as_lines = rows if wanted[1] or bias is not None else flat
    gx = np.empty_like(x, order="C" if as_lines is rows else "K")

    def work(gx, g, x, y: Any = None):
        sums, slope, *spaces = scratch(4, *x.shape)
        if bias is not None:
            x = np.add(x, bias, out=sums)
        if approximate == "tanh":  # Φ is the logistic function of a x + b x³
            np.add(x, 2e-37, out=slope)
            np.add(y, 1e-37, out=gx)
            gx /= slope
            np.multiply(x, x, out=slope)
            slope *= 3 * layers.GELU_TANH[1]
            slope += layers.GELU_TANH[0]
            slope *= gx
            slope *= 1 - gx
        else:
            if normal is not None:
                normal(x.size, x.ctypes.data, gx.ctypes.data)
                _density(x, slope, *spaces)
            else:
                _normal_cdf(x, gx, slope, *spaces)
            slope *= 1 / math.sqrt(2 * math.pi)
        slope *= x
        gx += slope
        gx *= g
        return _sum(gx, -2) if wanted[1] else None

    sums = each_piece(work, *as_lines(gx, g, x, *([] if y is None else [y])))
    return gx if wanted[0] else None, sum(sums) if wanted[1] else None


def exp_sums(x, out, limit, axis=-1):
    """Write exp(x) into `out`, and return the sums along the axis and what was subtracted first.

    The largest entry is subtracted only if some sum is not within 1 / limit to limit.
    """
    np.exp(x, out=out)
    total = _sum(out, axis)
    if total.min() > 1 / limit and total.max() < limit:  # nothing that matters over- or underflowed
        return total, 0
    top = x.max(axis)
    top[top == -math.inf] = 0
    np.exp(np.subtract(x, np.expand_dims(top, axis), out=out), out=out)
    return _sum(out, axis), top


def _sum(x, axis):
    """The sums along the last axis, or the last but one, each computed in the fastest way."""
    return np.einsum("...i->...", x) if axis == -1 else np.matmul(np.ones((1, x.shape[-2]), np.float32), x)[..., 0, :]


def softmax_forward(xp, x, axis):
    y = np.empty(x.shape, x.dtype)

    def work(x, y):
        y *= 1 / exp_sums(x, y, 1e20)[0][:, None]

    each_piece(work, *rows(x, y))
    return y, y


def softmax_backward(xp, g, y, wanted, axis):
    gx = np.empty_like(y)

    def work(g, y, gx):
        np.subtract(g, np.einsum("ij,ij->i", g, y)[:, None], out=gx)
        gx *= y

    each_piece(work, *rows(g, y, gx))
    return (gx,)


def log_softmax_forward(xp, x, axis):
    y = np.empty(x.shape, x.dtype)

    def work(x, y):
        total, top = exp_sums(x, y, 1e6)  # a tighter limit, since a large log(total) has fewer digits after the point
        if not isinstance(top, int):
            x = x - top[:, None]
        np.subtract(x, np.log(total)[:, None], out=y)

    each_piece(work, *rows(x, y))
    return y, y


def log_softmax_backward(xp, g, y, wanted, axis):
    gx = np.empty_like(y)

    def work(g, y, gx):
        np.exp(y, out=gx)
        gx *= -np.einsum("ij->i", g)[:, None]
        gx += g

    each_piece(work, *rows(g, y, gx))
    return (gx,)


def layer_norm_forward(xp, x, weight, bias, eps):
    """Normalise the last axis; where a mean exceeds the deviation, subtract the mean of the centred row as well."""
    y, n = np.empty(x.shape, x.dtype), x.shape[-1]
    mean, rest, inverse_std = np.empty((3, x.size // n, 1), np.float32)
    each = np.full(n, 1 / n, np.float32)

    def work(x, y, mean, rest, inverse_std):
        np.matmul(x, each, out=mean[:, 0])
        np.subtract(x, mean, out=y)
        square = np.vecdot(y, y)
        rest[...] = 0
        if (n * mean[:, 0] ** 2 > square).any():
            np.matmul(y, each, out=rest[:, 0])
            y -= rest
            square = np.vecdot(y, y)
        inverse_std[:, 0] = 1 / np.sqrt(square / n + eps)
        y *= inverse_std
        if weight is not None:
            y *= weight
        if bias is not None:
            y += bias

    each_piece(work, *rows(x, y), mean, rest, inverse_std)
    return y, (x, weight, mean, rest, inverse_std)


def layer_norm_backward(xp, g, saved, wanted, eps):
    """gx = inverse_std · (scaled - mean(scaled) - unit · mean(scaled · unit)), with scaled = g · weight.

    `unit` is the normalised x.  The sums along rows and columns are products with vectors, which BLAS does as fast as
    memory delivers the numbers.
    """
    x, weight, mean, rest, inverse_std = saved
    gx, n = np.empty(x.shape, x.dtype), x.shape[-1]
    each = np.full(n, 1 / n, np.float32) if weight is None else weight / np.float32(n)

    def work(g, x, gx, mean, rest, inverse_std):
        product, centred = scratch(2, *x.shape)
        middle = mean + rest
        if (abs(middle) * inverse_std > 4).any():  # subtracting it only from the sums would lose digits
            x, middle = np.subtract(x, mean, out=centred), rest
        np.multiply(g, x, out=product)
        across, down = inverse_std[:, 0], np.ones(len(g), np.float32)
        gw, gb = across @ product - (middle[:, 0] * across) @ g, down @ g
        level = (g @ each)[:, None]
        slope = inverse_std**3 * ((product @ each)[:, None] - middle * level)  # of -x in gx
        np.multiply(g, inverse_std, out=gx)
        if weight is not None:
            gx *= weight
        gx -= np.multiply(x, slope, out=product)
        gx += slope * middle - inverse_std * level
        return gw, gb

    gw, gb = (sum(parts) for parts in zip(*each_piece(work, *rows(g, x, gx), mean, rest, inverse_std)))
    return tuple(gradient if want else None for gradient, want in zip((gx, gw, gb), wanted))


def dropout_forward(xp, x, keep, p):
    y = np.empty_like(x)

    def work(y, x, keep):
        np.multiply(keep, 1 / (1 - p), out=y, dtype=np.float32)
        y *= x

    each_piece(work, *flat(y, x, keep))
    return y, None


def dropout_backward(xp, g, saved, wanted, keep, p):
    return (dropout_forward(xp, g, keep, p)[0],)


table = {
    "gelu": choose(is_plain, Kernel(gelu_forward, gelu_backward), layers.table["gelu"]),
    "softmax": choose(has_plain_rows, Kernel(softmax_forward, softmax_backward), layers.table["softmax"]),
    "log_softmax": choose(
        has_plain_rows, Kernel(log_softmax_forward, log_softmax_backward), layers.table["log_softmax"]
    ),
    "layer_norm": choose(is_plain, Kernel(layer_norm_forward, layer_norm_backward), layers.table["layer_norm"]),
    "dropout": choose(is_plain, Kernel(dropout_forward, dropout_backward), layers.table["dropout"]),
}
