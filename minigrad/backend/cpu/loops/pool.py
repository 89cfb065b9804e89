"""Pooling: the maximum or the sum of every window, forward and backward; ops/pool.py defines them.

Planes are (P, depth, height, width), and windows have three axes, 1 where x has fewer.
"""

from __future__ import annotations

import math

import numpy as np

from ...record import Kernel
from ..memory import in_order
from . import by_core
from .compile import formula, i4, loop, u8


@formula
def inside(shift, stride, size, places):
    """The output positions, first to last (exclusive), at which the window's entry at `shift` lies inside x."""
    first = max(0, -(shift // stride))
    return first, max(first, min(places, (size - 1 - shift) // stride + 1))


@formula
def seen(place, entry, window, axis):
    """The index in x, along an axis, of an entry of the window at an output position."""
    return place * window[1][axis] - window[2][axis] + entry * window[3][axis]


@loop
def pool(x, window, y, chosen, back):
    """Write the maximum of each window to y, and the index in the plane of its first occurrence, or -1, to `chosen`.

    If `chosen` is None, add the entries of each window to y; or with `back`, add each entry of y to its window in x.
    """
    kernel, stride, _, _ = window
    step = u8(stride[2])
    for p in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for k in range(kernel[0] * kernel[1] * kernel[2]):
                    a, b, c = k // (kernel[1] * kernel[2]), k // kernel[2] % kernel[1], k % kernel[2]
                    z, r, shift = seen(i, a, window, 0), seen(j, b, window, 1), seen(0, c, window, 2)
                    if not (0 <= z < x.shape[1] and 0 <= r < x.shape[2]):
                        continue
                    row = i4((z * x.shape[2] + r) * x.shape[3])
                    first, last = inside(shift, stride[2], x.shape[3], y.shape[3])
                    there, here = u8(first * stride[2] + shift), u8(first)
                    for n in range(u8(last - first)):
                        at, to = there + n * step, here + n
                        if chosen is not None:
                            v, best, where = x[p, z, r, at], y[p, i, j, to], chosen[p, i, j, to]
                            better = v > best or v != v or where < 0
                            y[p, i, j, to] = v if better else best
                            chosen[p, i, j, to] = row + i4(at) if better else where
                        elif back:
                            x[p, z, r, at] += y[p, i, j, to]
                        else:
                            y[p, i, j, to] += x[p, z, r, at]


@loop
def give_back(g, chosen, gx):
    """Add each entry of g to the entry of gx that was chosen; all arrays are (planes, entries)."""
    for p in range(g.shape[0]):
        for j in range(g.shape[1]):
            if chosen[p, j] >= 0:
                gx[p, chosen[p, j]] += g[p, j]


def planes(x, axes):
    """x (…, *size) as (P, depth, height, width); `axes` is the number of axes in the size."""
    size = x.shape[x.ndim - axes :]
    return in_order(x).reshape(-1, *(1,) * (3 - axes), *size)


def along_three_axes(window):
    """A window for loops: kernel, stride, padding at the beginning and dilation, each along three axes."""
    more = (1,) * (3 - len(window.kernel))
    before = (0,) * len(more) + tuple(before for before, _ in window.padding)
    return *(more + tuple(part) for part in (window.kernel, window.stride)), before, more + tuple(window.dilation)


def places(x, window):
    """The shape of a result: (…, *places)."""
    axes = len(window.kernel)
    sizes = zip(x.shape[x.ndim - axes :], *window)
    return *x.shape[: x.ndim - axes], *((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)


def max_pool_forward(xp, x, window):
    y, chosen = np.full(places(x, window), -np.inf, x.dtype), np.full(places(x, window), -1, np.int32)
    seen = along_three_axes(window)
    work = lambda x, y, chosen: pool(x, seen, y, chosen, False)  # noqa: E731
    by_core(work, *(planes(a, len(window.kernel)) for a in (x, y, chosen)))
    return y, (x.shape, chosen)


def max_pool_backward(xp, g, saved, wanted, window):
    shape, chosen = saved
    gx, axes = np.zeros(shape, g.dtype), len(window.kernel)
    flat = (in_order(a).reshape(-1, math.prod(a.shape[a.ndim - axes :])) for a in (g, chosen, gx))
    by_core(give_back, *flat)
    return (gx,)


def collect_forward(xp, x, chosen, window):
    y, seen = np.zeros(places(x, window), x.dtype), along_three_axes(window)
    by_core(lambda x, y: pool(x, seen, y, None, False), *(planes(a, len(window.kernel)) for a in (x, y)))
    return y, x.shape


def spread_forward(xp, g, size, chosen, window):
    axes, seen = len(window.kernel), along_three_axes(window)
    x = np.zeros((*g.shape[: g.ndim - axes], *size), g.dtype)
    by_core(lambda x, g: pool(x, seen, g, None, True), *(planes(a, axes) for a in (x, g)))
    return x, None


def collect_backward(xp, g, shape, wanted, chosen, window):
    return (spread_forward(xp, g, shape[len(shape) - len(window.kernel) :], chosen, window)[0],)


def spread_backward(xp, g, saved, wanted, size, chosen, window):
    return (collect_forward(xp, g, chosen, window)[0],)


table = {
    "max_pool": Kernel(max_pool_forward, max_pool_backward),
    "collect": Kernel(collect_forward, collect_backward),
    "spread": Kernel(spread_forward, spread_backward),
}
