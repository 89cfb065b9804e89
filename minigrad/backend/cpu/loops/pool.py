"""Pooling: the largest entry of every window, or the sum, there and back; ops/pool.py says what they mean.

Planes are (P, depth, height, width · N), where N samples may lie side by side; windows have three axes, 1 where x has
fewer.
"""

from __future__ import annotations

import math

import numpy as np

from ...record import Kernel
from .. import memory
from . import by_core
from .compile import formula, i4, loop, u8


@formula
def inside(shift, stride, size, places):
    """The first and last but one of the places at which the entry of a window `shift` from its start is inside."""
    first = max(0, -(shift // stride))
    return first, max(first, min(places, (size - 1 - shift) // stride + 1))


@formula
def seen(place, entry, window, axis):
    """The index along an axis of what an entry of the window sees at a place."""
    return place * window[1][axis] - window[2][axis] + entry * window[3][axis]


@loop
def pool(x, window, N, y, chosen, back):
    """Into y the largest entry of each window, and into `chosen` where in its plane the first one that is lies, or -1.

    Where nothing is `chosen`, add to y all that each window sees; or `back`, to x what each place gives to its window.
    """
    kernel, stride, _, _ = window
    width, places = x.shape[3] // N, y.shape[3] // N
    for p in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for k in range(kernel[0] * kernel[1] * kernel[2]):
                    a, b, c = k // (kernel[1] * kernel[2]), k // kernel[2] % kernel[1], k % kernel[2]
                    z, r, shift = seen(i, a, window, 0), seen(j, b, window, 1), seen(0, c, window, 2)
                    if not (0 <= z < x.shape[1] and 0 <= r < x.shape[2]):
                        continue
                    row = i4((z * x.shape[2] + r) * x.shape[3])
                    first, last = inside(shift, stride[2], width, places)
                    runs, run, step = (last - first, u8(N), u8(1)) if N > 1 else (1, u8(last - first), u8(stride[2]))
                    for s in range(runs):
                        there, here = u8(((first + s) * stride[2] + shift) * N), u8((first + s) * N)
                        for n in range(run):
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
    """Add each g to the entry that was chosen; all are (planes, entries)."""
    for p in range(g.shape[0]):
        for j in range(g.shape[1]):
            if chosen[p, j] >= 0:
                gx[p, chosen[p, j]] += g[p, j]


class Planes:
    """How arrays (…, *size) are planes (P, depth, height, width · N) for loops, and how they become arrays again."""

    def __init__(self, x, window):
        many = len(window.kernel)
        self.by_pixel = x.ndim == many + 2 and memory.lies_by_pixel(x)
        self.N = len(x) if self.by_pixel else 1
        self.lead, self.more, self.many = x.shape[: x.ndim - many], (1,) * (3 - many), many
        before = tuple(before for before, _ in window.padding)
        alone = (1, 1, 0, 1)  # the window along an axis that x does not have
        self.window = tuple(
            (one,) * len(self.more) + tuple(axis)
            for one, axis in zip(alone, (window.kernel, window.stride, before, window.dilation))
        )

    def of(self, x):
        x = memory.in_order(memory.by_pixel(x) if self.by_pixel else x)
        *size, last = x.shape[1:-1] if self.by_pixel else x.shape[x.ndim - self.many :]
        return x.reshape(-1, *self.more, *size, last * self.N)

    def new(self, size, dtype, value):
        """Planes for an array (…, *size), and that array, both full of a value."""
        shape = (*self.lead[1:], *size, *self.lead[:1]) if self.by_pixel else (*self.lead, *size)
        whole = np.full(shape, value, dtype)
        planes = whole.reshape(-1, *self.more, *size[:-1], size[-1] * self.N)
        return planes, memory.by_sample(whole) if self.by_pixel else whole


def places(size, window):
    return [(n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, *window)]


def max_pool_forward(xp, x, window):
    way = Planes(x, window)
    size = x.shape[x.ndim - way.many :]
    y, result = way.new(places(size, window), x.dtype, -math.inf)
    chosen = np.full(y.shape, -1, np.int32)
    by_core(lambda x, y, chosen: pool(x, way.window, way.N, y, chosen, False), way.of(x), y, chosen)
    return result, (way, size, chosen)


def max_pool_backward(xp, g, saved, wanted, window):
    way, size, chosen = saved
    gx, result = way.new(size, g.dtype, 0)
    flat = (a.reshape(len(a), math.prod(a.shape[1:])) for a in (way.of(g), chosen, gx))
    by_core(give_back, *flat)
    return (result,)


def collect_forward(xp, x, chosen, window):
    way = Planes(x, window)
    y, result = way.new(places(x.shape[x.ndim - way.many :], window), x.dtype, 0)
    by_core(lambda x, y: pool(x, way.window, way.N, y, None, False), way.of(x), y)
    return result, x.shape


def spread_forward(xp, g, size, chosen, window):
    way = Planes(g, window)
    x, result = way.new(size, g.dtype, 0)
    by_core(lambda x, g: pool(x, way.window, way.N, g, None, True), x, way.of(g))
    return result, None


def collect_backward(xp, g, shape, wanted, chosen, window):
    return (spread_forward(xp, g, shape[len(shape) - len(window.kernel) :], chosen, window)[0],)


def spread_backward(xp, g, saved, wanted, size, chosen, window):
    return (collect_forward(xp, g, chosen, window)[0],)


table = {
    "max_pool": Kernel(max_pool_forward, max_pool_backward),
    "collect": Kernel(collect_forward, collect_backward),
    "spread": Kernel(spread_forward, spread_backward),
}
