"""Elementwise functions that take several passes in NumPy, each as one loop, forward and backward.

ops/elementwise.py and functional/activations.py define them; exp(-|x|), which is at most 1, never overflows.
"""

from __future__ import annotations

import math

import numpy as np

from ...record import Kernel
from ..memory import flat
from . import by_core
from .compile import bell, exp, f4, formula, loop, normal_cdf, tanh

ROOT_2, SLOPE = f4(math.sqrt(2)), f4(2 / math.sqrt(math.pi))  # √2, and the slope of erf at 0


@loop
def relu(x, top, y):
    """x clipped to 0 … `top`."""
    for j in range(x.shape[0]):
        v = f4(0) if x[j] < f4(0) else x[j]
        y[j] = top if v >= top else v


@loop
def relu_back(g, y, top, gx):
    """The gradient as a product, so that an infinite g becomes nan where y is 0, as in the rule; at `top` it is 0."""
    for j in range(y.shape[0]):
        passed = g[j] * (f4(1) if y[j] > f4(0) else f4(0))
        gx[j] = f4(0) if y[j] >= top else passed


@loop
def leaky_relu(x, slope, y):
    for j in range(x.shape[0]):
        y[j] = x[j] if x[j] > f4(0) else slope * x[j]


@loop
def leaky_relu_back(g, x, slope, gx):
    for j in range(x.shape[0]):
        gx[j] = g[j] if x[j] > f4(0) else slope * g[j]


@loop
def elu(x, alpha, y):
    """alpha · (eˣ - 1) for negative x, which near 0 keeps its digits as 2t / (1 - t), with t = tanh(x / 2)."""
    for j in range(x.shape[0]):
        t = tanh(f4(0.5) * x[j])
        y[j] = x[j] if x[j] > f4(0) else alpha * (f4(2) * t / (f4(1) - t))


@loop
def elu_back(g, x, alpha, gx):
    for j in range(x.shape[0]):
        e = exp(x[j])
        gx[j] = g[j] if x[j] > f4(0) else g[j] * (alpha * e)


@loop
def sigmoid(x, y):
    for j in range(x.shape[0]):
        e = exp(-abs(x[j]))
        y[j] = (e if x[j] < f4(0) else f4(1)) / (f4(1) + e)


@loop
def sigmoid_back(g, x, gx):
    """g · sigmoid(x) · sigmoid(-x)."""
    for j in range(x.shape[0]):
        e = exp(-abs(x[j]))
        gx[j] = g[j] * (e / (f4(1) + e)) / (f4(1) + e)


@loop
def silu(x, y):
    for j in range(x.shape[0]):
        e = exp(-abs(x[j]))
        y[j] = x[j] * ((e if x[j] < f4(0) else f4(1)) / (f4(1) + e))


@loop
def silu_back(g, x, gx):
    """g · s · (1 + x · sigmoid(-x)), with s = sigmoid(x)."""
    for j in range(x.shape[0]):
        e = exp(-abs(x[j]))
        s, rest = (e if x[j] < f4(0) else f4(1)) / (f4(1) + e), (f4(1) if x[j] < f4(0) else e) / (f4(1) + e)
        gx[j] = g[j] * s * (f4(1) + x[j] * rest)


@formula
def log1p(e):
    """log(1 + e) for 0 <= e <= 1: 2 artanh(z) with z = e / (2 + e), by its series, within 2e-9 at z = 1/3."""
    z = e / (f4(2) + e)
    s = z * z
    p = f4(1 / 15)
    p = p * s + f4(1 / 13)
    p = p * s + f4(1 / 11)
    p = p * s + f4(1 / 9)
    p = p * s + f4(1 / 7)
    p = p * s + f4(1 / 5)
    p = p * s + f4(1 / 3)
    return f4(2) * (z + z * s * p)


@loop
def softplus(x, beta, threshold, y):
    """log(1 + exp(b)) / beta, with b = beta · x, as max(b, 0) + log(1 + exp(-|b|))."""
    for j in range(x.shape[0]):
        b = beta * x[j]
        v = ((b if b > f4(0) else f4(0)) + log1p(exp(-abs(b)))) / beta
        y[j] = x[j] if b > threshold else v


@loop
def softplus_back(g, x, beta, threshold, gx):
    """g · sigmoid(beta · x)."""
    for j in range(x.shape[0]):
        b = beta * x[j]
        e = exp(-abs(b))
        v = g[j] * ((e if b < f4(0) else f4(1)) / (f4(1) + e))
        gx[j] = g[j] if b > threshold else v


@loop
def erf(x, y):
    """The error function: for |x| up to 1/2 by its Taylor series, within 1e-9, and beyond as 1 - 2 Φ(-√2 |x|)."""
    for j in range(x.shape[0]):
        a, s = abs(x[j]), x[j] * x[j]
        p = f4(1 / 9360)
        p = p * s - f4(1 / 1320)
        p = p * s + f4(1 / 216)
        p = p * s - f4(1 / 42)
        p = p * s + f4(1 / 10)
        p = p * s - f4(1 / 3)
        near = SLOPE * (x[j] + x[j] * s * p)
        far = f4(1) - f4(2) * normal_cdf(-ROOT_2 * a, bell(a, f4(-1)))
        y[j] = near if a < f4(0.5) else (-far if x[j] < f4(0) else far)


@loop
def erf_back(g, x, gx):
    for j in range(x.shape[0]):
        gx[j] = g[j] * (SLOPE * bell(x[j], f4(-1)))


def over(work, out, *arrays, options=()):
    """Write to `out` with a loop over the entries of arrays, equal parts of them on each core."""
    by_core(lambda out, *some: work(*some, *options, out), *flat(out, *arrays))
    return out


def clipped(top):
    """The kernel of relu up to `top`, which saves its result; nan means no limit, since no number equals it."""

    def forward(xp, x):
        y = over(relu, np.empty_like(x), x, options=(top,))
        return y, y

    return Kernel(forward, lambda xp, g, y, wanted: (over(relu_back, np.empty_like(y), g, y, options=(top,)),))


def of_numbers(work, work_back):
    """The kernel of an elementwise function with options, which saves x."""

    def forward(xp, x, *options):
        return over(work, np.empty_like(x), x, options=[*map(f4, options)]), x

    def backward(xp, g, x, wanted, *options):
        return (over(work_back, np.empty_like(x), g, x, options=[*map(f4, options)]),)

    return Kernel(forward, backward)


table = {
    "relu": clipped(f4(np.nan)),
    "relu6": clipped(f4(6)),
    "leaky_relu": of_numbers(leaky_relu, leaky_relu_back),
    "elu": of_numbers(elu, elu_back),
    "erf": of_numbers(erf, erf_back),
    "sigmoid": of_numbers(sigmoid, sigmoid_back),
    "silu": of_numbers(silu, silu_back),
    "softplus": of_numbers(softplus, softplus_back),
}
