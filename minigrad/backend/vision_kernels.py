"""What stands between convolutions, on a CPU: normalisation over a batch, ReLU and max pooling.

Some channels or some planes at a time, so that each array is fetched from memory once, and shared out over the cores.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import Kernel, cores
from .cores import cuts, each_piece, share
from .numpy_kernels import flat


def by_channel(work: Callable[[slice], Any], x: np.ndarray) -> list:
    """[work(some of the channels)] of x (N, C, places)."""
    return share(work, cuts(x.shape[1], x.size))


def in_order(*arrays: np.ndarray) -> list[np.ndarray]:
    """Each array (N, C, …) as (N, C, places), in order in memory, and in float32 if it was in less."""
    wide = np.float32 if arrays[0].dtype.itemsize < 4 else arrays[0].dtype
    return [np.ascontiguousarray(a, wide).reshape(*a.shape[:2], math.prod(a.shape[2:])) for a in arrays]


def column(vector: np.ndarray | None, channels: slice, instead: float) -> Any:
    """Some entries of a vector (C,), one below the other."""
    return instead if vector is None else vector[channels, None]


def batch_norm_forward(xp, x, weight, bias, statistics, eps):
    rows, = in_order(x)
    y, n = np.empty_like(rows), max(1, len(rows) * rows.shape[2])
    moments = np.empty((2, rows.shape[1]), rows.dtype)

    def work(channels):
        part, into = rows[:, channels], y[:, channels]
        mean, variance = moments[:, channels]
        np.einsum("ncl->c", part, out=mean)
        mean /= n
        np.subtract(part, mean[:, None], out=into)
        np.einsum("ncl,ncl->c", into, into, out=variance)
        variance /= n
        into *= column(weight, channels, 1) / np.sqrt(variance + eps)[:, None]
        if bias is not None:
            into += column(bias, channels, 0)
    by_channel(work, rows)
    statistics[...] = moments
    return y.astype(x.dtype, copy=False).reshape(x.shape), (x, weight, moments)


def batch_norm_backward(xp, g, saved, wanted, statistics, eps):
    """gx = scale · (g - mean(g) - unit · mean(g · unit)), where unit is the normalised x."""
    x, weight, (mean, variance) = saved
    rows, came = in_order(x, g)
    gx, n = np.empty_like(rows), max(1, len(rows) * rows.shape[2])
    gw, gb = np.empty((2, rows.shape[1]), rows.dtype)
    inverse_std = 1 / np.sqrt(variance + eps)

    def work(channels):
        part, into, scale = came[:, channels], gx[:, channels], inverse_std[channels, None]
        np.subtract(rows[:, channels], mean[channels, None], out=into)
        gw[channels] = np.einsum("ncl,ncl->c", part, into) * scale[:, 0]
        gb[channels] = np.einsum("ncl->c", part)
        into *= -gw[channels, None] / n * scale
        into += part
        into -= gb[channels, None] / n
        into *= scale * column(weight, channels, 1)
    by_channel(work, rows)
    return tuple(None if not want else a.astype(g.dtype, copy=False).reshape(x.shape if a is gx else a.shape)
                 for a, want in zip((gx, gw, gb), wanted))


def per_channel_forward(xp, x, weight, bias):
    rows, = in_order(x)
    y = np.empty_like(rows)

    def work(channels):
        into = y[:, channels]
        np.multiply(rows[:, channels], column(weight, channels, 1), out=into)
        if bias is not None:
            into += column(bias, channels, 0)
    by_channel(work, rows)
    return y.astype(x.dtype, copy=False).reshape(x.shape), (x, weight)


def per_channel_backward(xp, g, saved, wanted):
    x, weight = saved
    rows, came = in_order(x, g)
    gx = np.empty_like(rows) if wanted[0] else None
    gw, gb = np.empty((2, rows.shape[1]), rows.dtype)

    def work(channels):
        part = came[:, channels]
        if wanted[0]:
            np.multiply(part, column(weight, channels, 1), out=gx[:, channels])
        if wanted[1]:
            gw[channels] = np.einsum("ncl,ncl->c", part, rows[:, channels])
        if wanted[2]:
            gb[channels] = np.einsum("ncl->c", part)
    by_channel(work, rows)
    return tuple(None if not want else a.astype(g.dtype, copy=False).reshape(x.shape if a is gx else a.shape)
                 for a, want in zip((gx, gw, gb), wanted))


def relu_forward(xp, x):
    if x.size < cores.SHARED:
        y = np.maximum(x, 0)
    else:
        y = np.empty(x.shape, x.dtype)
        each_piece(lambda x, y: np.maximum(x, 0, out=y), *flat(x, y))
    return y, y


def relu_backward(xp, g, y, wanted):
    gx = np.empty(y.shape, g.dtype)

    def work(g, y, gx):
        np.greater(y, 0, out=gx, casting="unsafe")           # as numbers, which are quicker to multiply than booleans
        gx *= g
    each_piece(work, *flat(g, y, gx))
    return gx,


def relu6_forward(xp, x):
    y = np.empty(x.shape, x.dtype)

    def work(x, y):
        np.minimum(np.maximum(x, 0, out=y), 6, out=y)
    each_piece(work, *flat(x, y))
    return y, y


def relu6_backward(xp, g, y, wanted):
    gx = np.empty(y.shape, g.dtype)
    each_piece(lambda g, y, gx: np.multiply(g, (y > 0) & (y < 6), out=gx), *flat(g, y, gx))
    return gx,


class Slide:
    """The largest entry under a window (see `ops.window`), found along one axis after the other."""

    def __init__(self, x: np.ndarray, window: Any):
        self.window, self.many = window, len(window.kernel)
        self.size = x.shape[x.ndim - self.many:]
        self.places = [(n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(self.size, *window)]

    def seen(self, planes: np.ndarray, axis: int) -> list[np.ndarray]:
        """What each entry of the kernel's `axis` sees of padded planes (n, *size): views, one entry for each place."""
        w, before = self.window, (slice(None),) * (axis + 1)
        last = w.stride[axis] * (self.places[axis] - 1) + 1
        return [planes[(*before, slice(i * w.dilation[axis], i * w.dilation[axis] + last, w.stride[axis]))]
                for i in range(w.kernel[axis])]

    def down(self, planes: np.ndarray, out: np.ndarray, remember: bool) -> list[list[np.ndarray]]:
        """The largest entries into `out`, along the last axis first; and, to `remember`, which they were at each level."""
        found, y = [], self.window.pad(np, planes, -math.inf)
        for axis in reversed(range(self.many)):
            first, *others = self.seen(y, axis)
            y = np.maximum(first, others[0] if others else first, out=None if axis else out)
            for other in others[1:]:
                np.maximum(y, other, out=y)
            if remember:
                found.append(self.first([first, *others], y))
        return found

    def first(self, entries: list[np.ndarray], y: np.ndarray) -> list[np.ndarray]:
        """Where each of the entries is the first that is y, as booleans; the last one, where no other is."""
        here, waiting = [], np.ones(y.shape, bool)
        for entry in entries[:-1]:
            now = entry == y
            if here:
                now &= waiting
            waiting = waiting ^ now if here else ~now
            here.append(now)
        return [*here, waiting]

    def up(self, g: np.ndarray, found: list[list[np.ndarray]], out: np.ndarray) -> None:
        """The gradient of the planes into `out`: at each level it goes where the largest entry was."""
        finite, padded = np.isfinite(g.sum()), [n + sum(p) for n, p in zip(self.size, self.window.padding)]
        for axis, places in enumerate(reversed(found)):
            shape = len(g), *padded[:axis + 1], *self.places[axis + 1:]
            gx = out if axis == self.many - 1 and shape == out.shape else np.empty(shape, g.dtype)
            gx[...] = 0
            apart = self.window.stride[axis] > self.window.dilation[axis] * (len(places) - 1)
            for here, into in zip(places, self.seen(gx, axis)):
                if not finite:                  # here 0 · ∞ is to be 0
                    into += np.where(here, g, np.zeros((), g.dtype))
                elif apart:
                    np.multiply(g, here, out=into)
                else:
                    into += g * here
            g = gx
        if g is not out:
            out[...] = self.window.crop(g)


def max_pool_forward(xp, x, window, remember=True):
    slide = Slide(x, window)
    planes = np.ascontiguousarray(x).reshape(-1, *slide.size)
    y, parts = np.empty((len(planes), *slide.places), x.dtype), cuts(len(planes), planes.size)
    found = share(lambda part: slide.down(planes[part], y[part], remember), parts)
    return y.reshape(*x.shape[:x.ndim - slide.many], *slide.places), (slide, x.shape, list(zip(parts, found)))


def max_pool_backward(xp, g, saved, wanted, window):
    slide, shape, found = saved
    came, gx = np.ascontiguousarray(g).reshape(-1, *slide.places), np.empty(shape, g.dtype)
    planes = gx.reshape(-1, *slide.size)
    share(lambda one: slide.up(came[one[0]], one[1], planes[one[0]]), found)
    return gx,


def max_pool_alone(xp, x, window):
    return max_pool_forward(xp, x, window, remember=False)[0]


table = {
    "batch_norm": Kernel(batch_norm_forward, batch_norm_backward),
    "per_channel": Kernel(per_channel_forward, per_channel_backward),
    "relu": Kernel(relu_forward, relu_backward),
    "relu6": Kernel(relu6_forward, relu6_backward),
    "max_pool": Kernel(max_pool_forward, max_pool_backward, max_pool_alone),
}
