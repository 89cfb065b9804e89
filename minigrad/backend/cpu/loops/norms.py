"""Batch normalisation, and a scale and a shift for each channel; functional/norms.py defines them.

x is (n, C, positions); each core computes some of the channels, lo..hi.
"""

from __future__ import annotations

import math

import numpy as np

from ...record import Kernel
from .. import cores
from ..memory import in_order
from .compile import f4, less, loop, u8

RUN = 4096  # numbers accumulated in float32 before their sum is added in float64; longer runs would lose digits


@loop
def sums(x, c, a, b):
    """Σ d and Σ d² over channel c, where d = x - a - b; runs are added up in float64."""
    first, second = 0.0, 0.0
    for r in range(x.shape[0]):
        for start in range(0, x.shape[2], RUN):
            once, twice, s = f4(0), f4(0), u8(start)
            for j in range(u8(min(RUN, x.shape[2] - start))):
                d = less(x[r, c, s + j], a, b)
                once += d
                twice += d * d
            first += once
            second += twice
    return first, second


@loop
def products(g, x, c, a, b):
    """Σ g and Σ g · (x - a - b) over channel c; runs are added up in float64."""
    alone, both = 0.0, 0.0
    for r in range(x.shape[0]):
        for start in range(0, x.shape[2], RUN):
            once, twice, s = f4(0), f4(0), u8(start)
            for j in range(u8(min(RUN, x.shape[2] - start))):
                once += g[r, c, s + j]
                twice += g[r, c, s + j] * less(x[r, c, s + j], a, b)
            alone += once
            both += twice
    return alone, both


@loop
def shift_and_scale(x, c, a, b, scale, shift, y):
    """y = (x - a - b) · scale + shift in channel c."""
    for r in range(x.shape[0]):
        for j in range(x.shape[2]):
            y[r, c, j] = less(x[r, c, j], a, b) * scale + shift


@loop
def batch_norm(x, weight, bias, eps, y, moments, lo, hi):
    """Normalise; `moments` receives the mean, that of the centred x (a rounding error), variance and 1 / deviation."""
    n = max(1, x.shape[0] * x.shape[2])
    for c in range(lo, hi):
        mean = f4(sums(x, c, f4(0), f4(0))[0] / n)
        left, square = sums(x, c, mean, f4(0))
        rest = f4(left / n)
        variance = square / n - np.float64(rest) * np.float64(rest)
        inverse = f4(1 / np.sqrt(variance + eps))
        moments[0, c], moments[1, c], moments[2, c], moments[3, c] = mean, rest, f4(variance), inverse
        shift_and_scale(x, c, mean, rest, weight[c] * inverse, bias[c], y)


@loop
def batch_norm_back(g, x, weight, moments, gx, gw, gb, lo, hi):
    """gx = scale · (g - mean(g) - unit · mean(g · unit)), where unit is the normalised x."""
    n = max(1, x.shape[0] * x.shape[2])
    for c in range(lo, hi):
        mean, rest, inverse = moments[0, c], moments[1, c], moments[3, c]
        alone, both = products(g, x, c, mean, rest)
        gw[c], gb[c] = f4(both * inverse), f4(alone)
        level, slope, scale = f4(alone / n), f4(both * inverse / n) * inverse, weight[c] * inverse
        for r in range(x.shape[0]):
            for j in range(x.shape[2]):
                gx[r, c, j] = scale * (g[r, c, j] - level - less(x[r, c, j], mean, rest) * slope)


@loop
def of_columns(x, weight, bias, eps, y, moments, lo, hi):
    """`batch_norm` of x (n, C), in which the channels of an example are adjacent; so all are summed up at a time."""
    n, first, left, square = x.shape[0], np.zeros(x.shape[1]), np.zeros(x.shape[1]), np.zeros(x.shape[1])
    mean, rest, variance, inverse = moments[0], moments[1], moments[2], moments[3]
    for r in range(n):
        for c in range(u8(lo), u8(hi)):
            first[c] += x[r, c]
    for c in range(u8(lo), u8(hi)):
        mean[c] = f4(first[c] / n)
    for r in range(n):
        for c in range(u8(lo), u8(hi)):
            d = x[r, c] - mean[c]
            left[c] += d
            square[c] += d * d
    for c in range(u8(lo), u8(hi)):
        rest[c] = f4(left[c] / n)
        exact = square[c] / n - np.float64(rest[c]) * np.float64(rest[c])
        variance[c], inverse[c] = f4(exact), f4(1 / np.sqrt(exact + eps))
    for r in range(n):
        for c in range(u8(lo), u8(hi)):
            y[r, c] = less(x[r, c], mean[c], rest[c]) * (weight[c] * inverse[c]) + bias[c]


@loop
def of_columns_back(g, x, weight, moments, gx, gw, gb, lo, hi):
    """`batch_norm_back` of x (n, C)."""
    n, alone, both = x.shape[0], np.zeros(x.shape[1]), np.zeros(x.shape[1])
    mean, rest, inverse = moments[0], moments[1], moments[3]
    for r in range(n):
        for c in range(u8(lo), u8(hi)):
            alone[c] += g[r, c]
            both[c] += g[r, c] * less(x[r, c], mean[c], rest[c])
    for c in range(u8(lo), u8(hi)):
        gw[c], gb[c] = f4(both[c] * inverse[c]), f4(alone[c])
    for r in range(n):
        for c in range(u8(lo), u8(hi)):
            unit = less(x[r, c], mean[c], rest[c]) * inverse[c]
            gx[r, c] = weight[c] * inverse[c] * (g[r, c] - gb[c] / f4(n) - unit * (gw[c] / f4(n)))


@loop
def per_channel(x, weight, bias, y, lo, hi):
    for c in range(lo, hi):
        shift_and_scale(x, c, f4(0), f4(0), weight[c], bias[c], y)


@loop
def per_channel_back(g, x, weight, wanted, gx, gw, gb, lo, hi):
    """The gradient of x, and if `wanted` also those of weight and bias."""
    for c in range(lo, hi):
        if wanted:
            alone, both = products(g, x, c, f4(0), f4(0))
            gw[c], gb[c] = f4(both), f4(alone)
        shift_and_scale(g, c, f4(0), f4(0), weight[c], f4(0), gx)


def by_channel(work, x, *arguments):
    """Call a loop on each core for a part of the channels of x (n, C, positions)."""
    parts = cores.evenly(x.shape[1], x.shape[1], cores.CORES) if x.size >= cores.MIN_SHARED else [slice(0, x.shape[1])]
    cores.share(lambda part: work(x, *arguments, part.start, part.stop), parts)


def planes(x):
    """x (n, C, …) as (n, C, positions), and a matrix (n, C) as it is."""
    return in_order(x).reshape(*x.shape[:2], *(math.prod(x.shape[2:]),) * (x.ndim > 2))


def vector(given, x, instead):
    """A contiguous vector (C,); if `given` is None, filled with a number."""
    return np.full(x.shape[1], instead, np.float32) if given is None else np.ascontiguousarray(given)


def batch_norm_forward(xp, x, weight, bias, statistics, eps):
    rows = planes(x)
    y, moments = np.empty_like(rows), np.empty((4, x.shape[1]), np.float32)
    by_channel(
        batch_norm if x.ndim > 2 else of_columns, rows, vector(weight, x, 1), vector(bias, x, 0), eps, y, moments
    )
    statistics[...] = moments[0] + moments[1], moments[2]
    return y.reshape(x.shape), (x, weight, moments)


def batch_norm_backward(xp, g, saved, wanted, statistics, eps):
    x, weight, moments = saved
    return back(batch_norm_back if x.ndim > 2 else of_columns_back, g, x, vector(weight, x, 1), wanted, moments)


def per_channel_forward(xp, x, weight, bias):
    rows = planes(x)
    y = np.empty_like(rows)
    by_channel(per_channel, rows, vector(weight, x, 1), vector(bias, x, 0), y)
    return y.reshape(x.shape), (x, weight)


def per_channel_backward(xp, g, saved, wanted):
    x, weight = saved
    return back(per_channel_back, g, x, vector(weight, x, 1), wanted, wanted[1] or wanted[2])


def back(work, g, x, weight, wanted, *more):
    rows, given = planes(x), planes(g)
    gx, gw, gb = np.empty_like(rows), *np.empty((2, x.shape[1]), np.float32)
    by_channel(work, given, rows, weight, *more, gx, gw, gb)
    return tuple(a if want else None for a, want in zip((gx.reshape(x.shape), gw, gb), wanted))


table = {
    "batch_norm": Kernel(batch_norm_forward, batch_norm_backward),
    "per_channel": Kernel(per_channel_forward, per_channel_backward),
}
