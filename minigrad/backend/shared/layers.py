"""Activations, softmax, layer normalisation and dropout, for both libraries."""

from __future__ import annotations

import math

from ..record import Kernel
from .products import as_matrix


def gelu_forward(xp, x, bias, approximate):
    """x Φ(x), or that of x + bias; "tanh" approximates the normal distribution function Φ (Hendrycks & Gimpel 2016)."""
    h = x if bias is None else x + bias
    return h * _phi(xp, h, approximate), (x, bias)


def gelu_backward(xp, g, saved, wanted, approximate):
    x, bias = saved
    x = x if bias is None else x + bias
    phi = _phi(xp, x, approximate)
    if approximate == "tanh":
        gx = phi * (1 - phi) * (GELU_TANH[0] + 3 * GELU_TANH[1] * (x * x))
    else:
        gx = normal_pdf(xp, x)
    gx *= x
    gx += phi
    gx *= g
    return gx if wanted[0] else None, as_matrix(xp, gx).sum(0) if wanted[1] else None


GELU_TANH = math.sqrt(8 / math.pi), math.sqrt(8 / math.pi) * 0.044715  # Φ(x) = sigmoid(a x + b x³), roughly


def _phi(xp, x, approximate):
    if approximate == "tanh":
        return 0.5 * xp.tanh(0.5 * x * (GELU_TANH[0] + GELU_TANH[1] * (x * x))) + 0.5
    return normal_cdf(xp, x)


def normal_cdf(xp, x):
    """The normal distribution function Φ, accurate to the last digits of x's dtype also where Φ(x) is tiny.

    Φ(-t) is normal_pdf(t) · M(t), where M is Mills' ratio, a rational function of t in float64; t² is computed in
    float64, for rounding it to float32 would lose digits.  From t = 39 on Φ(-t) underflows in float64.
    """
    t = xp.minimum(xp.abs(x).astype("float64"), 40)
    tail = xp.exp(-0.5 * t * t)
    tail *= _mills_ratio(t) if x.dtype.itemsize == 8 else _mills_ratio_single(t.astype("float32"))
    tail /= math.sqrt(2 * math.pi)
    return xp.where(x < 0, tail, 1 - tail).astype(x.dtype)


def _mills_ratio(t):
    """Φ(-t) / normal_pdf(t), a rational function of degree 9 over 10.

    Its largest relative error on 0 <= t <= 40 is 3e-15 (it interpolates the ratio at the Chebyshev points of
    t / (t + 2)).
    """
    numerator, denominator = 1, 1
    for coefficient in (
        28.2126897720969,
        385.7611818695606,
        3320.0339088831715,
        19708.939593377345,
        83505.30905016813,
        252770.69740127056,
        529695.2164188618,
        704847.111322201,
        464700.5179860507,
    ):
        numerator = numerator * t + coefficient
    for coefficient in (
        28.212689771693302,
        386.7611819368339,
        3348.2465936962753,
        20092.700991934846,
        86768.91121878457,
        271718.249483507,
        606840.418826741,
        922010.7623862238,
        858224.1658298594,
        370777.3686981641,
    ):
        denominator = denominator * t + coefficient
    return numerator / denominator


def _mills_ratio_single(t):
    """The same in float32: a polynomial in u = 1 / (1 + 0.35 t), whose largest relative error on t <= 14.5 is 3e-8.

    (Least squares at 400 Chebyshev points, the points with large errors given more and more weight.)
    """
    u = 1 / (1 + 0.35 * t)
    ratio = -0.02915788569 * u
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
        ratio += coefficient
        ratio *= u
    ratio *= math.sqrt(2 * math.pi)
    return ratio


def normal_pdf(xp, x):
    """The density of the normal distribution, exp(-x²/2) / √(2π), computed in float64: see `normal_cdf`."""
    return (xp.exp(-0.5 * xp.square(x.astype("float64"))) / math.sqrt(2 * math.pi)).astype(x.dtype)


def softmax_forward(xp, x, axis):
    """exp(x), scaled to sum to one along `axis`."""
    y = _below_largest(xp, x, axis)
    xp.exp(y, out=y)
    y /= y.sum(axis=axis, keepdims=True)
    return y, y


def softmax_backward(xp, g, y, wanted, axis):
    gx = g - (g * y).sum(axis=axis, keepdims=True)
    gx *= y
    return (gx,)


def log_softmax_forward(xp, x, axis):
    """log(softmax(x)), without computing the softmax."""
    y = _below_largest(xp, x, axis)
    if y.size:
        y -= xp.log(xp.exp(y).sum(axis=axis, keepdims=True))
    return y, y


def log_softmax_backward(xp, g, y, wanted, axis):
    gx = xp.exp(y)
    gx *= -g.sum(axis=axis, keepdims=True)
    gx += g
    return (gx,)


def _below_largest(xp, x, axis):
    """x minus its largest entry along `axis`, so that exp cannot overflow: a new array."""
    return xp.asarray(x - x.max(axis=axis, keepdims=True)) if x.size else x.copy()


def layer_norm_forward(xp, x, weight, bias, eps):
    """Give each last-axis vector zero mean and unit variance, in float64, for means may be large; scale and shift."""
    n = x.shape[-1]
    mean = x.sum(-1, keepdims=True, dtype=xp.float64) / n  # (.mean takes twice as long to begin)
    y = x - mean
    inverse_std = 1 / xp.sqrt((y * y).sum(-1, keepdims=True) / n + eps)
    y *= inverse_std
    if weight is not None:
        y *= weight
    if bias is not None:
        y += bias
    return y.astype(x.dtype, copy=False), (x, weight, mean, inverse_std)


def layer_norm_backward(xp, g, saved, wanted, eps):
    x, weight, mean, inverse_std = saved
    unit = (x - mean) * inverse_std
    gw = as_matrix(xp, g * unit).sum(0).astype(x.dtype, copy=False) if wanted[1] else None
    gb = as_matrix(xp, g).sum(0) if wanted[2] else None
    if not wanted[0]:
        return None, gw, gb
    gx = g * inverse_std if weight is None else g * weight * inverse_std
    unit *= (gx * unit).mean(-1, keepdims=True)
    gx -= gx.mean(-1, keepdims=True)
    gx -= unit
    return gx.astype(x.dtype, copy=False), gw, gb


def dropout_forward(xp, x, keep, p):
    """x where `keep` is True, divided by 1 - p, and 0 elsewhere."""
    y = x * keep
    y *= 1 / (1 - p)
    return y, None


def dropout_backward(xp, g, saved, wanted, keep, p):
    return (dropout_forward(xp, g, keep, p)[0],)


table = {
    "gelu": Kernel(gelu_forward, gelu_backward),
    "softmax": Kernel(softmax_forward, softmax_backward),
    "log_softmax": Kernel(log_softmax_forward, log_softmax_backward),
    "layer_norm": Kernel(layer_norm_forward, layer_norm_backward),
    "dropout": Kernel(dropout_forward, dropout_backward),
}
