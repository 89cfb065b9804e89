"""Convolution and max-pooling on a GPU: columns of what a window sees (src/window_columns.cu), multiplied by cuBLAS."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..record import Array, Kernel
from ..shared.geometry import Geometry
from .gemm import gemm
from .source import THREADS, kernel

SIZES = "height", "width", "kh", "kw", "sh", "sw", "dh", "dw", "top", "left", "H", "W"  # of a Geometry
WINDOW = np.dtype([(name, np.int32) for name in SIZES])
MAX_COLUMNS = 1 << 28  # entries of the columns built at a time, to bound the memory


def conv_forward(xp, x, weight, bias, window, groups):
    dtype = np.promote_types(x.dtype, weight.dtype)
    x, weight = (xp.ascontiguousarray(a, dtype) for a in (x, weight))
    return _conv(xp, x, weight, bias, window, groups), (x, weight)


def conv_backward(xp, g, saved, wanted, window, groups):
    x, weight = saved
    g = g.astype(x.dtype, copy=False)
    return (
        _input_grad(xp, g, weight, x.shape[2:], window, groups) if wanted[0] else None,
        _weight_grad(xp, x, g, window, groups) if wanted[1] else None,
        g.sum((0, *range(2, g.ndim))) if wanted[2] else None,
    )


def input_grad_forward(xp, g, weight, size, window, groups):
    dtype = np.promote_types(g.dtype, weight.dtype)
    g, weight = (xp.ascontiguousarray(a, dtype) for a in (g, weight))
    return _input_grad(xp, g, weight, size, window, groups), (g, weight)


def input_grad_backward(xp, gy, saved, wanted, size, window, groups):
    g, weight = saved
    return (
        _conv(xp, gy, weight, None, window, groups) if wanted[0] else None,
        _weight_grad(xp, gy, g, window, groups) if wanted[1] else None,
    )


def weight_grad_forward(xp, x, g, window, groups):
    dtype = np.promote_types(x.dtype, g.dtype)
    x, g = (xp.ascontiguousarray(a, dtype) for a in (x, g))
    return _weight_grad(xp, x, g, window, groups), (x, g)


def weight_grad_backward(xp, gw, saved, wanted, window, groups):
    x, g = saved
    return (
        _input_grad(xp, g, gw, x.shape[2:], window, groups) if wanted[0] else None,
        _conv(xp, x, gw, None, window, groups) if wanted[1] else None,
    )


def _conv(xp, x, weight, bias, window, groups):
    at, C, filters = Geometry(x.shape[2:], window), x.shape[1], _filters(xp, weight, groups)
    y = xp.empty((len(x), len(weight), *(at.H, at.W)[: x.ndim - 2]), x.dtype)
    if bias is not None:
        y[...] = bias.reshape(-1, *(1,) * (x.ndim - 2))
    rows = y.reshape(len(x), groups, filters.shape[1], at.H * at.W)
    for n in _samples(len(x), C, at):
        columns = _laid_down(xp, x[n], at).reshape(len(rows[n]), groups, filters.shape[2], at.H * at.W)
        gemm(filters, columns, rows[n], beta=bias is not None)
    return y


def _input_grad(xp, g, weight, size, window, groups):
    at, C, filters = Geometry(size, window), weight.shape[1] * groups, _filters(xp, weight, groups)
    x = xp.empty((len(g), C, *size), g.dtype)
    rows = xp.ascontiguousarray(g).reshape(len(g), groups, filters.shape[1], at.H * at.W)
    for n in _samples(len(g), C, at):
        columns, into = gemm(filters.swapaxes(1, 2), rows[n]), x[n]
        _run("add_up", len(into) * C, at.height * at.width, at, into, columns)
    return x


def _weight_grad(xp, x, g, window, groups):
    """The gradient of the weight; the columns of all samples are adjacent, so that one product sums over them."""
    at, C, outputs = Geometry(x.shape[2:], window), x.shape[1], g.shape[1] // groups
    x = xp.ascontiguousarray(x)
    total = xp.zeros((groups, outputs, C // groups * at.kh * at.kw), x.dtype)
    for n in _samples(len(x), C, at):
        columns = _laid_down(xp, x[n], at, side_by_side=True).reshape(groups, total.shape[2], -1)
        came = xp.ascontiguousarray(xp.moveaxis(g[n], 0, 1)).reshape(groups, outputs, columns.shape[2])
        gemm(came, columns.swapaxes(1, 2), total, beta=1)
    return total.reshape(g.shape[1], C // groups, *window.kernel)


def _filters(xp: Any, weight: Array, groups: int) -> Array:
    """A weight (O, C / G, *kernel) as a matrix for each group: (G, O / G, C / G · kernel)."""
    return xp.ascontiguousarray(weight).reshape(groups, len(weight) // groups, math.prod(weight.shape[1:]))


def _samples(count: int, channels: int, at: Geometry) -> Iterator[slice]:
    """Slices of samples whose columns fit in MAX_COLUMNS."""
    step = max(1, MAX_COLUMNS // max(1, channels * at.kh * at.kw * at.H * at.W))
    return (slice(n, min(n + step, count)) for n in range(0, count, step))


def _laid_down(xp: Any, x: Array, at: Geometry, side_by_side: bool = False) -> Array:
    """The columns of x (N, C, *size): (N, C · kernel, places), or with all samples adjacent (C · kernel, N, places)."""
    samples, C, places = *x.shape[:2], at.H * at.W
    rows = C * at.kh * at.kw
    if (at.kh, at.kw, at.sh, at.sw) == (1, 1, 1, 1) and (at.height, at.width) == (at.H, at.W) and not side_by_side:
        return x
    columns = xp.empty((rows, samples, places) if side_by_side else (samples, rows, places), x.dtype)
    apart = (places, samples * places) if side_by_side else (rows * places, places)
    _run("lay_down", samples, rows * places, at, columns, x, more=(np.int32(C), *map(np.int64, apart)))
    return columns


def _run(name: str, planes: int, count: int, at: Geometry, *arrays: Array, more: tuple = ()) -> None:
    """Run a kernel with a thread for each of `count` entries of each plane (or sample)."""
    threads = min(THREADS, 32 * -(-count // 32))
    if planes and count:
        window = np.array(tuple(getattr(at, name) for name in SIZES), WINDOW)[()]
        kernel("window_columns", name, arrays[0].dtype)(
            (planes * -(-count // threads),), (threads,), (*arrays, window, np.uint32(count), *more)
        )


def max_pool_forward(xp, x, window):
    many = len(window.kernel)
    x, at = xp.ascontiguousarray(x), Geometry(x.shape[-many:], window)
    y = xp.empty((*x.shape[:-many], *(at.H, at.W)[:many]), x.dtype)
    chosen = xp.empty(y.shape, np.int32)
    _run("max_pool", math.prod(x.shape[:-many]), at.H * at.W, at, y, chosen, x)
    return y, (x.shape, at, chosen)


def max_pool_backward(xp, g, saved, wanted, window):
    shape, at, chosen = saved
    gx = xp.empty(shape, g.dtype)
    g = xp.ascontiguousarray(g)
    _run("max_pool_backward", math.prod(shape[: -len(window.kernel)]), at.height * at.width, at, gx, g, chosen)
    return (gx,)


table = {
    "conv": Kernel(conv_forward, conv_backward),
    "conv_input_grad": Kernel(input_grad_forward, input_grad_backward),
    "conv_weight_grad": Kernel(weight_grad_forward, weight_grad_backward),
    "max_pool": Kernel(max_pool_forward, max_pool_backward),
}
