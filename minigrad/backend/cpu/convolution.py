"""Convolution on a CPU, as products of matrices: a few images, or a few rows of some, at a time on each core."""

from __future__ import annotations

import functools
from itertools import product
from typing import Any

import numpy as np

from ..record import Kernel
from ..shared.geometry import Geometry, phases
from . import cores, depthwise, memory, mkl
from .blas import gemm
from .cores import cuts, share
from .im2col import Walk
from .norm_pool import relu_backward

MAX_MKL_PLACES = 1 << 10  # output pixels below which each product is left to MKL's threads


def with_columns(x: np.ndarray) -> np.ndarray:
    """Signals (N, C, L) as images of width 1."""
    return x[..., None] if x.ndim == 3 else x


def is_depthwise(x: np.ndarray, y: np.ndarray, groups: int) -> bool:
    """Whether each channel of x has one filter of its own, in a dtype that einsum accumulates accurately."""
    return groups == x.shape[1] == y.shape[1] > 1 and x.dtype == y.dtype and x.dtype.itemsize > 2


def _result(x: np.ndarray, weight: np.ndarray, at: Geometry) -> np.ndarray:
    """An empty array for y, samples last where that pays."""
    beside = memory.beside(x) or (len(x) >= memory.MIN_SAMPLES and memory.MIN_WIDENING * x.shape[1] <= len(weight))
    return memory.new((len(x), len(weight), *(at.H, at.W)[: x.ndim - 2]), np.result_type(x, weight), beside)


def forward(xp, x, weight, bias, window, groups, out: Any = None, scale: Any = None, more: Any = None, is_relu=False):
    """y (N, O, *places), as `ops.window.conv` means it; written into `out`, if that is given.

    With a scale for each output, more to add or `is_relu`, it is what `conv_norm` means: done to each piece of y while
    it is in a core's cache.
    """
    at = Geometry(x.shape[2:], window)
    y = _result(x, weight, at) if out is None else out
    if scale is not None and (weight.size < y.size or groups > 1):  # whichever is less; groups have small filters
        weight, scale = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1)), None
    more = None if more is None else with_columns(np.broadcast_to(more, y.shape))
    x, places = with_columns(x), with_columns(y)
    if is_depthwise(x, places, groups):
        depthwise.forward(x, weight.reshape(-1, at.kh, at.kw), bias, at, places)
        if more is not None:
            places += more
        return np.maximum(y, 0, out=y) if is_relu else y
    walk = Walk(at, len(x), x.shape[1], len(weight), groups, memory.beside(places))
    filters = walk.filters(weight)
    scale, bias = (None if vector is None else vector.reshape(-1, 1, 1, 1) for vector in (scale, bias))

    def work(piece):
        samples, rows = piece
        into, rest = walk.in_line(places[samples, :, rows]), 0 if bias is None else bias
        direct = walk.beside and into[0].flags.c_contiguous  # else in a core's cache, for which y is too large
        sums = into if direct else np.empty(into.shape, y.dtype)
        if more is not None:
            rest = np.add(walk.in_line(more[samples, :, rows]), rest, out=sums if scale is None else None)
        if scale is None and rest is not sums:
            sums[...] = rest
        total = sums.reshape(groups, len(weight) // groups, -1)
        for i, (filters_, columns) in enumerate(zip(filters, walk.meet(x, samples, rows))):
            for filter_, column, out in zip(filters_, columns, total):
                gemm(filter_, column, out, add=scale is None or i > 0, threads=threads)
        if scale is not None:
            sums *= scale
            sums += rest
        if is_relu:
            np.maximum(sums, 0, out=into)
        elif sums is not into:
            into[...] = sums

    # For one small image each product runs on MKL's threads, which wake sooner than ours.
    by_mkl = len(x) == groups == 1 and at.H * at.W < MAX_MKL_PLACES and y.dtype == np.float32 and mkl.tbb() is not None
    pieces, threads = ([(slice(0, 1), slice(0, at.H))], cores.CORES) if by_mkl else (walk.pieces(), 1)
    share(work, pieces)
    return y


def input_grad(xp, g, weight, size, window, groups, beside=False):
    """The gradient of x: for each of its phases, a convolution of g with the flipped kernel entries that meet it."""
    at, C = Geometry(size, window), weight.shape[1] * groups
    turned = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(C, -1, at.kh, at.kw)
    ways = list(product(phases(at.kh, at.sh, at.dh), phases(at.kw, at.sw, at.dw)))
    x = memory.new((len(g), C, *size), np.result_type(g, weight), beside)
    if len(ways) < at.sh * at.sw:  # some entries lie in no window
        x[...] = 0
    g, into = with_columns(g), with_columns(x)
    for (a, *down), (b, *right) in ways:
        own = turned[:, :, a, b][:, :, ::-1, ::-1]
        rows, above = way_back(at.top, at.sh, at.height, at.H, own.shape[2], *down)
        columns, beside = way_back(at.left, at.sw, at.width, at.W, own.shape[3], *right)
        part = into[:, :, rows, columns]
        if part.size:
            back = window._replace(
                kernel=own.shape[2:], stride=(1, 1), padding=(above, beside), dilation=(down[2], right[2])
            )
            forward(xp, g, own, None, back, groups, part)
    return x


def way_back(
    before: int, stride: int, size: int, places: int, entries: int, phase: int, shift: int, step: int
) -> tuple[slice, tuple[int, int]]:
    """Along an axis: the entries of x that a phase of the kernel reaches, and the padding of g that yields as many.

    Entry first + stride · t is seen from the places t + skipped - shift - step · m, for each of the phase's entries m.
    """
    first = (phase - before) % stride
    skipped, reach = (first + before - phase) // stride, step * (entries - 1)
    above = shift + reach - skipped
    return slice(first, None, stride), (above, len(range(first, size, stride)) + reach - above - places)


def weight_grad(xp, x, g, window, groups):
    """The gradient (O, C/G, *kernel) of the weight, accumulated on each core and then over the cores."""
    at, C, O = Geometry(x.shape[2:], window), x.shape[1], g.shape[1]  # noqa: E741
    x, g = with_columns(x), with_columns(g)
    if is_depthwise(x, g, groups):
        return depthwise.weight_grad(x, g, at).reshape(C, 1, *window.kernel)
    walk, outputs = Walk(at, len(x), C, O, groups, memory.beside(x)), O // groups
    parts = walk.pieces()
    tall = walk.height > outputs  # BLAS is up to three times as fast at many rows and few columns

    def work(mine):
        size = walk.height, outputs
        total = np.zeros((walk.steps, groups, max(size), min(size)), np.result_type(x, g))
        for samples, rows in mine:
            came = walk.in_line(g[samples, :, rows]).reshape(groups, outputs, -1)
            for part, columns in zip(total, walk.meet(x, samples, rows)):
                for column, gradient, out in zip(columns, came, part):
                    one, other = (column, gradient) if tall else (gradient, column)
                    gemm(one, other.T, out, add=True)
        return total

    total = functools.reduce(
        np.add, share(work, [parts[i :: cores.CORES] for i in range(min(cores.CORES, len(parts)) or 1)])
    )
    return walk.weight(total.swapaxes(2, 3) if tall else total).reshape(O, C // groups, *window.kernel)


def conv_forward(xp, x, weight, bias, window, groups):
    return forward(xp, x, weight, bias, window, groups), (x, weight)


def conv_backward(xp, g, saved, wanted, window, groups):
    x, weight = saved
    return (
        input_grad(xp, g, weight, x.shape[2:], window, groups, memory.beside(x)) if wanted[0] else None,
        weight_grad(xp, x, g, window, groups) if wanted[1] else None,
        per_channel(g) if wanted[2] else None,
    )


def conv_norm_forward(xp, x, weight, scale, shift, more, window, groups, is_relu):
    y = forward(xp, x, weight, shift, window, groups, None, scale, more, is_relu)
    return y, (x, weight, scale, y if is_relu else None)


def conv_norm_backward(xp, g, saved, wanted, window, groups, is_relu):
    x, weight, scale, y = saved
    if is_relu:
        (g,) = relu_backward(xp, g, y, wanted)
    column = scale.reshape(-1, *(1,) * (weight.ndim - 1))
    gx, gw, gb = conv_backward(
        xp, g, (x, weight * column), (wanted[0], wanted[1] or wanted[2], wanted[3]), window, groups
    )
    by_filter = None
    if gw is not None and wanted[2]:
        by_filter = np.einsum("ij,ij->i", gw.reshape(len(weight), -1), weight.reshape(len(weight), -1))
    gw = gw * column if gw is not None and wanted[1] else None
    return gx, gw, by_filter, gb, g if wanted[4] else None


def per_channel(g: np.ndarray) -> np.ndarray:
    """The sums of g (N, C, …) over all but the channels, as products with a vector of ones."""
    (planes,) = memory.planes(g)
    ones = np.ones(planes.shape[2], g.dtype)
    return np.concatenate(share(lambda some: (planes[:, some] @ ones).sum(0), cuts(planes.shape[1], g.size)))


def transposed_forward(xp, g, weight, size, window, groups):
    return input_grad(xp, g, weight, size, window, groups, memory.beside(g)), (g, weight)


def transposed_backward(xp, gy, saved, wanted, size, window, groups):
    g, weight = saved
    return (
        forward(xp, gy, weight, None, window, groups) if wanted[0] else None,
        weight_grad(xp, gy, g, window, groups) if wanted[1] else None,
    )


table = {
    "conv": Kernel(conv_forward, conv_backward),
    "conv_norm": Kernel(conv_norm_forward, conv_norm_backward),
    "conv_input_grad": Kernel(transposed_forward, transposed_backward),
}
