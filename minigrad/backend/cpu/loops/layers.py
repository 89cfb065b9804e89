"""Activations, softmax, layer normalisation and dropout: loops over rows of a matrix, forward and backward.

shared/layers.py has the same on whole arrays.  The kernels at the end divide the rows among the cores.
"""

from __future__ import annotations

import numpy as np

from ...record import Kernel, spacing
from ...shared.layers import GELU_TANH
from ..memory import flat, rows
from . import by_core
from .compile import bell, exp, f4, formula, less, log_of, loop, normal_cdf, sigmoid

SQRT_TAU = f4(np.sqrt(2 * np.pi))
A, B = map(f4, GELU_TANH)


@loop
def gelu(x, bias, y):
    for r in range(x.shape[0]):
        for j in range(x.shape[1]):
            v = x[r, j] if bias is None else x[r, j] + bias[j]
            y[r, j] = v * normal_cdf(v, bell(v, f4(-0.5)))


@loop
def gelu_back(g, x, bias, gx, total):
    """The gradient gx; the sum of each of its columns is added to `total`."""
    for r in range(x.shape[0]):
        for j in range(x.shape[1]):
            v = x[r, j] if bias is None else x[r, j] + bias[j]
            d = bell(v, f4(-0.5))
            gx[r, j] = g[r, j] * (normal_cdf(v, d) + v * d / SQRT_TAU)
            if total is not None:
                total[j] += gx[r, j]


@loop
def gelu_tanh(x, bias, y):
    for r in range(x.shape[0]):
        for j in range(x.shape[1]):
            v = x[r, j] if bias is None else x[r, j] + bias[j]
            y[r, j] = v * sigmoid(v * (A + B * v * v))


@loop
def gelu_tanh_back(g, x, bias, gx, total):
    for r in range(x.shape[0]):
        for j in range(x.shape[1]):
            v = x[r, j] if bias is None else x[r, j] + bias[j]
            s = sigmoid(v * (A + B * v * v))
            v = min(max(v, f4(-20)), f4(20))  # beyond these, s (1 - s) is 0, and v³ may overflow
            gx[r, j] = g[r, j] * s * (f4(1) + v * (f4(1) - s) * (A + f4(3) * B * v * v))
            if total is not None:
                total[j] += gx[r, j]


@formula
def largest(x):
    """The maximum of a row, or nan if the row has one; 0 if all are -inf, so that x - largest is not nan."""
    top = x[0]
    for j in range(x.shape[0]):
        top = x[j] if x[j] > top or x[j] != x[j] else top
    return f4(0) if top == -np.inf else top


@loop
def exp_row(x, y, limit):
    """Write exp(x - top) of a row to y; returns their sum and `top`, 0 unless the sum would overflow or underflow."""
    top = f4(0)
    total = exp_row_below(x, top, y)
    if not f4(1) / limit < total < limit:
        top = largest(x)
        total = exp_row_below(x, top, y)
    return total, top


@loop
def exp_row_below(x, top, y):
    total = f4(0)
    for j in range(x.shape[0]):
        y[j] = exp(x[j] - top)
    for j in range(x.shape[0]):  # a loop of its own, because short rows would not be vectorised together with the sum
        total += y[j]
    return total


@loop
def softmax(x, y):
    for r in range(x.shape[0]):
        total, _ = exp_row(x[r], y[r], f4(1e20))
        for j in range(x.shape[1]):
            y[r, j] /= total


@loop
def softmax_back(g, y, gx):
    for r in range(y.shape[0]):
        dot = f4(0)
        for j in range(y.shape[1]):
            dot += g[r, j] * y[r, j]
        for j in range(y.shape[1]):
            gx[r, j] = (g[r, j] - dot) * y[r, j]


@loop
def log_softmax(x, y):
    for r in range(x.shape[0]):
        total, top = exp_row(x[r], y[r], f4(1e6))  # a large logarithm has fewer digits after the point
        top, log_sum = log_of(total, top)
        for j in range(x.shape[1]):
            y[r, j] = less(x[r, j], top, log_sum)


@loop
def log_softmax_back(g, y, gx):
    for r in range(y.shape[0]):
        total = f4(0)
        for j in range(y.shape[1]):
            total += g[r, j]
        for j in range(y.shape[1]):
            gx[r, j] = g[r, j] - exp(y[r, j]) * total


@loop
def layer_norm(x, weight, bias, eps, y, moments):
    """Normalise rows; `moments` receives the mean, the mean of the centred row, and 1 / deviation of each row.

    The second mean corrects the rounding error of the first, for a mean that is larger than the deviation.
    """
    n = x.shape[1]
    for r in range(x.shape[0]):
        total, left, square = f4(0), f4(0), f4(0)
        for j in range(n):
            total += x[r, j]
        m = total / f4(n)
        for j in range(n):
            left += x[r, j] - m
        e = left / f4(n)
        for j in range(n):
            d = less(x[r, j], m, e)
            square += d * d
        i = f4(1 / np.sqrt(square / f4(n) + eps))
        moments[r, 0], moments[r, 1], moments[r, 2] = m, e, i
        for j in range(n):
            u = less(x[r, j], m, e) * i
            u = u if weight is None else u * weight[j]
            y[r, j] = u if bias is None else u + bias[j]


@loop
def layer_norm_back(g, x, weight, moments, gx, sums):
    """gx = inverse_std (scaled - mean(scaled) - unit · mean(scaled · unit)).

    Here `scaled` is g · weight, and `unit` the normalised x.  The gradients of weight and bias are accumulated in
    `sums`.
    """
    n = x.shape[1]
    for r in range(x.shape[0]):
        m, e, i = moments[r, 0], moments[r, 1], moments[r, 2]
        s1, s2 = f4(0), f4(0)
        for j in range(n):
            u = less(x[r, j], m, e) * i
            scaled = g[r, j] if weight is None else g[r, j] * weight[j]
            if sums is not None:
                sums[0, j] += g[r, j] * u
                sums[1, j] += g[r, j]
            s1 += scaled
            s2 += scaled * u
        s1 /= f4(n)
        s2 /= f4(n)
        for j in range(n):
            u = less(x[r, j], m, e) * i
            scaled = g[r, j] if weight is None else g[r, j] * weight[j]
            gx[r, j] = i * (scaled - s1 - u * s2)


@loop
def rms_norm(x, weight, eps, y, inverse):
    """Normalise rows; `inverse` receives 1 / the root mean square of each row."""
    n = x.shape[1]
    for r in range(x.shape[0]):
        square = f4(0)
        for j in range(n):
            square += x[r, j] * x[r, j]
        i = f4(1 / np.sqrt(np.float64(square) / n + eps))  # an infinite sum gives 0; in float32 it would give nan
        inverse[r] = i
        for j in range(n):
            u = x[r, j] * i
            y[r, j] = u if weight is None else u * weight[j]


@loop
def rms_norm_back(g, x, weight, inverse, gx, gw):
    """gx = inverse (scaled - unit · mean(scaled · unit)), as in `layer_norm_back`; `gw`, if wanted, is added to."""
    n = x.shape[1]
    for r in range(x.shape[0]):
        i, total = inverse[r], f4(0)
        for j in range(n):
            u = x[r, j] * i
            if gw is not None:
                gw[j] += g[r, j] * u
            total += (g[r, j] if weight is None else g[r, j] * weight[j]) * u
        total /= f4(n)
        for j in range(n):
            scaled = g[r, j] if weight is None else g[r, j] * weight[j]
            gx[r, j] = i * (scaled - x[r, j] * i * total)


@loop
def dropout(x, keep, scale, y):
    for j in range(x.shape[0]):
        y[j] = x[j] * (scale if keep[j] else f4(0))


def gelu_forward(xp, x, bias, approximate):
    y = np.empty_like(x, order="K" if bias is None else "C")
    work = gelu_tanh if approximate == "tanh" else gelu
    by_core(lambda y, x: work(x, bias, y), *as_matrices(bias is None, y, x))
    return y, (x, bias)


def gelu_backward(xp, g, saved, wanted, approximate):
    x, bias = saved
    alone, work = bias is None and not wanted[1], gelu_tanh_back if approximate == "tanh" else gelu_back
    gx = np.empty_like(x, order="K" if alone else "C")

    def some(gx, g, x):
        total = np.zeros(x.shape[1], np.float32) if wanted[1] else None
        work(g, x, bias, gx, total)
        return total

    totals = by_core(some, *as_matrices(alone, gx, g, x))
    return gx if wanted[0] else None, sum(totals) if wanted[1] else None


def as_matrices(alone, *arrays):
    """Each array as a matrix whose rows are its last axis.

    If the op is elementwise (`alone`), the rows are short runs of entries, in the order of the first array's memory.
    """
    if not alone:
        return rows(*arrays)
    lines = flat(*arrays)
    width = next(n for n in (256, 16, 1) if not lines[0].size % n)
    return [line.reshape(-1, width) for line in lines]


def of_rows(work, work_back):
    """The kernel of a function of rows, which saves its result."""

    def forward(xp, x, axis):
        y = np.empty(x.shape, x.dtype)
        by_core(work, *rows(x, y))
        return y, y

    def backward(xp, g, y, wanted, axis):
        gx = np.empty_like(y)
        by_core(work_back, *rows(g, y, gx))
        return (gx,)

    return Kernel(forward, backward)


def layer_norm_forward(xp, x, weight, bias, eps):
    y, n = np.empty(x.shape, x.dtype), x.shape[-1]
    moments = np.empty((x.size // n, 3), np.float32)
    by_core(lambda x, y, moments: layer_norm(x, weight, bias, f4(eps), y, moments), *rows(x, y), moments)
    return y, (x, weight, moments)


def layer_norm_backward(xp, g, saved, wanted, eps):
    x, weight, moments = saved
    gx = np.empty(x.shape, x.dtype)

    def work(g, x, gx, moments):
        sums = np.zeros((2, x.shape[1]), np.float32) if wanted[1] or wanted[2] else None
        layer_norm_back(g, x, weight, moments, gx, sums)
        return sums

    sums = by_core(work, *rows(g, x, gx), moments)
    gw, gb = np.sum(sums, axis=0) if wanted[1] or wanted[2] else (None, None)
    return tuple(gradient if want else None for gradient, want in zip((gx, gw, gb), wanted))


def rms_norm_forward(xp, x, weight, eps):
    y, inverse = np.empty(x.shape, x.dtype), np.empty(x.size // x.shape[-1], np.float32)
    eps = spacing(x.dtype) if eps is None else float(eps)
    by_core(lambda x, y, inverse: rms_norm(x, weight, eps, y, inverse), *rows(x, y), inverse)
    return y, (x, weight, inverse)


def rms_norm_backward(xp, g, saved, wanted, eps):
    x, weight, inverse = saved
    gx = np.empty(x.shape, x.dtype)

    def work(g, x, gx, inverse):
        gw = np.zeros(x.shape[1], np.float32) if wanted[1] else None
        rms_norm_back(g, x, weight, inverse, gx, gw)
        return gw

    totals = by_core(work, *rows(g, x, gx), inverse)
    return gx if wanted[0] else None, sum(totals) if wanted[1] else None


def dropout_forward(xp, x, keep, p):
    y = np.empty_like(x)
    by_core(lambda y, x, keep: dropout(x, keep, f4(1 / (1 - p)), y), *flat(y, x, keep))
    return y, None


def dropout_backward(xp, g, saved, wanted, keep, p):
    return (dropout_forward(xp, g, keep, p)[0],)


table = {
    "gelu": Kernel(gelu_forward, gelu_backward),
    "softmax": of_rows(softmax, softmax_back),
    "log_softmax": of_rows(log_softmax, log_softmax_back),
    "layer_norm": Kernel(layer_norm_forward, layer_norm_backward),
    "rms_norm": Kernel(rms_norm_forward, rms_norm_backward),
    "dropout": Kernel(dropout_forward, dropout_backward),
}
