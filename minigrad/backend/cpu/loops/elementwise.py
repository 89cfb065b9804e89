"""Functions of one number that take several passes in NumPy: a loop over all entries, there and back.

ops/elementwise.py and functional/activations.py say what they mean; exp(-|x|), which is at most 1, never overflows.
"""

from __future__ import annotations

import numpy as np

from ...record import Kernel
from ..memory import flat
from . import by_core
from .compile import exp, f4, formula, loop


@loop
def relu(x, top, y):
    """x held between 0 and `top`."""
    for j in range(x.shape[0]):
        v = f4(0) if x[j] < f4(0) else x[j]
        y[j] = top if v >= top else v


@loop
def relu_back(g, y, top, gx):
    """A product, so that an infinite g becomes nan where y is 0, as in the rule; at `top` it is 0 itself."""
    for j in range(y.shape[0]):
        passed = g[j] * (f4(1) if y[j] > f4(0) else f4(0))
        gx[j] = f4(0) if y[j] >= top else passed


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


@formula
def log1p(e):
    """log(1 + e) for 0 <= e <= 1: 2 artanh(z) with z = e / (2 + e), by its series, right to 2e-9 where z is 1/3."""
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


def over(work, out, *arrays, options=()):
    """Let a loop write into `out` from the entries of arrays, a part of them on each core."""
    by_core(lambda out, *some: work(*some, *options, out), *flat(out, *arrays))
    return out


def clipped(top):
    """The kernel of relu up to `top`, which keeps its result; nothing is as large as nan."""

    def forward(xp, x):
        y = over(relu, np.empty_like(x), x, options=(top,))
        return y, y

    return Kernel(forward, lambda xp, g, y, wanted: (over(relu_back, np.empty_like(y), g, y, options=(top,)),))


def sigmoid_forward(xp, x):
    return over(sigmoid, np.empty_like(x), x), x


def sigmoid_backward(xp, g, x, wanted):
    return (over(sigmoid_back, np.empty_like(x), g, x),)


def softplus_forward(xp, x, beta, threshold):
    return over(softplus, np.empty_like(x), x, options=(f4(beta), f4(threshold))), x


def softplus_backward(xp, g, x, wanted, beta, threshold):
    return (over(softplus_back, np.empty_like(x), g, x, options=(f4(beta), f4(threshold))),)


table = {
    "relu": clipped(f4(np.nan)),
    "relu6": clipped(f4(6)),
    "sigmoid": Kernel(sigmoid_forward, sigmoid_backward),
    "softplus": Kernel(softplus_forward, softplus_backward),
}
