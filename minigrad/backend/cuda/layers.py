"""Softmax, layer normalisation, GELU and dropout on a GPU: the code around the kernels in src/."""

from __future__ import annotations

import functools
import math

import numpy as np

from ..record import Kernel
from ..shared.layers import GELU_TANH
from .source import for_each, for_rows, kernel, wide


def softmax_forward(xp, x, axis, name):
    x = xp.asarray(x, order="C")  # ascontiguousarray would add an axis to a 0-d array
    y = xp.empty_like(x)
    _along(name, axis, y, x)
    return y, y


def softmax_backward(xp, g, y, wanted, axis, name):
    gx = xp.empty_like(y)
    _along(f"{name}_backward", axis, gx, xp.ascontiguousarray(g, y.dtype), y)
    return (gx,)


def _along(name, axis, y, *arrays):
    n, apart = y.shape[axis] if y.ndim else 1, math.prod(y.shape[axis:][1:])
    for_rows("softmax_rows", name, y.dtype, y.size // (n or 1), n, y, *arrays, np.int32(n), np.int64(apart))


def layer_norm_forward(xp, x, weight, bias, eps):
    x, n = xp.ascontiguousarray(x), x.shape[-1]
    weight, bias = (p if p is None else xp.ascontiguousarray(p, x.dtype) for p in (weight, bias))
    y, moments = xp.empty_like(x), xp.empty((2, math.prod(x.shape[:-1])), wide(x.dtype))
    for_rows(
        "layer_norm_rows",
        "layer_norm",
        x.dtype,
        moments.shape[1],
        n,
        y,
        *moments,
        x,
        weight,
        bias,
        np.int32(n),
        wide(x.dtype)(eps),
    )
    return y, (x, weight, moments)


def layer_norm_backward(xp, g, saved, wanted, eps):
    x, weight, moments = saved
    g, gx, rows, n = xp.ascontiguousarray(g, x.dtype), None, moments.shape[1], x.shape[-1]
    if wanted[0]:
        gx = xp.empty_like(x)
        for_rows("layer_norm_rows", "layer_norm_backward", x.dtype, rows, n, gx, g, x, weight, *moments, np.int32(n))
    sums = column_sums(xp, g, x, moments) if wanted[1] else column_sums(xp, g) if wanted[2] else None
    if sums is None:
        return gx, None, None
    return gx, sums[1] if wanted[1] else None, sums[0] if wanted[2] else None


def column_sums(xp, g, x=None, moments=(None, None)):
    """The sums of g over all axes but the last and, given x and its moments, those of g · (normalised x) below."""
    n = g.shape[-1]
    rows = g.size // (n or 1)
    each = max(64, -(-rows // 128))  # rows in a chunk; a sum over the chunks follows
    sums = xp.empty((1 if x is None else 2, -(-rows // each), n), wide(g.dtype))
    if sums.size:
        kernel("layer_norm_rows", "column_sums", g.dtype)(
            (-(-n // 32), sums.shape[1]), (32, 8), (sums, g, x, *moments, np.int64(rows), np.int32(n), np.int32(each))
        )
    return sums.sum(1).astype(g.dtype, copy=False)


def gelu_forward(xp, x, bias, approximate):
    x = xp.asarray(x, order="C")
    bias = bias if bias is None else xp.ascontiguousarray(bias, x.dtype)
    y = xp.empty_like(x)
    _gelu("gelu", approximate, y, x, bias)
    return y, (x, bias)


def gelu_backward(xp, g, saved, wanted, approximate):
    x, bias = saved
    gx = xp.empty_like(x)
    _gelu("gelu_backward", approximate, gx, xp.ascontiguousarray(g, x.dtype), x, bias)
    return gx if wanted[0] else None, column_sums(xp, gx)[0] if wanted[1] else None


def _gelu(name, approximate, y, *arrays):
    for_each(
        "elementwise_ops",
        name,
        y.dtype,
        y.size,
        y,
        *arrays,
        np.int64(y.size),
        np.int32(y.shape[-1] if y.ndim else 1),
        np.bool_(approximate == "tanh"),
        *map(wide(y.dtype), GELU_TANH),
    )


def dropout_forward(xp, x, keep, p):
    x, keep = xp.asarray(x, order="C"), xp.ascontiguousarray(xp.broadcast_to(keep, x.shape))
    y = xp.empty_like(x)
    for_each("elementwise_ops", "dropout", x.dtype, x.size, y, x, keep, np.int64(x.size), wide(x.dtype)(1 / (1 - p)))
    return y, None


def dropout_backward(xp, g, saved, wanted, keep, p):
    return (dropout_forward(xp, g, keep, p)[0],)


table = {
    **{
        name: Kernel(functools.partial(softmax_forward, name=name), functools.partial(softmax_backward, name=name))
        for name in ("softmax", "log_softmax")
    },
    "layer_norm": Kernel(layer_norm_forward, layer_norm_backward),
    "gelu": Kernel(gelu_forward, gelu_backward),
    "dropout": Kernel(dropout_forward, dropout_backward),
}
