"""The layers between convolutions, on a CPU: batch normalisation, ReLU and max pooling.

They process some channels or planes at a time, so that each array is read from memory once, on all cores.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..record import Kernel
from . import cores, memory
from .cores import cuts, each_piece, share
from .memory import flat

MAX_RUN = 4096  # numbers that einsum accumulates in one run: more would lose digits in float32


def by_channel(work: Callable[[slice], Any], x: np.ndarray) -> list:
    """[work(some of the channels)] of x (N, C, places)."""
    return share(work, cuts(x.shape[1], x.size))


def wide_planes(*arrays: np.ndarray) -> list[np.ndarray]:
    """The planes of each array (see `memory.planes`), in at least float32."""
    return memory.planes(*arrays, dtype=np.dtype(np.float32) if arrays[0].dtype.itemsize < 4 else arrays[0].dtype)


def column(vector: np.ndarray | None, channels: slice, instead: float) -> Any:
    """Some entries of a vector (C,), one below the other."""
    return instead if vector is None else vector[channels, None]


def _sums(*factors: np.ndarray) -> np.ndarray:
    """The sum for each channel of an array (n, C, entries) or product of two, in runs that float32 sums accurately."""
    n, C, entries = factors[0].shape
    runs = entries // MAX_RUN
    of_rest = np.einsum(",".join(["ncl"] * len(factors)) + "->c", *(a[..., runs * MAX_RUN :] for a in factors))
    if not runs:
        return of_rest
    parts = (a[..., : runs * MAX_RUN].reshape(n, C, runs, MAX_RUN) for a in factors)
    return np.einsum(",".join(["ncrl"] * len(factors)) + "->cr", *parts).sum(1) + of_rest


def gradients(x, g, gx, gw, gb, wanted):
    """The gradients that are wanted, in the dtype of g; the first has the layout of x."""
    gx, gw, gb = (a.astype(g.dtype, copy=False) if want else None for a, want in zip((gx, gw, gb), wanted))
    return None if gx is None else memory.from_planes(gx, x), gw, gb


def batch_norm_forward(xp, x, weight, bias, statistics, eps):
    (rows,) = wide_planes(x)
    y, n = np.empty_like(rows), max(1, len(rows) * rows.shape[2])
    mean, variance, rest = moments = np.zeros((3, rows.shape[1]), rows.dtype)

    def work(channels):
        part, into = rows[:, channels], y[:, channels]
        mean, variance, rest = moments[:, channels]
        np.divide(_sums(part), n, out=mean)
        np.subtract(part, mean[:, None], out=into)
        np.divide(_sums(into, into), n, out=variance)
        if (mean**2 > 16 * variance).any():  # take away, too, what rounding left of the mean
            np.divide(_sums(into), n, out=rest)
            into -= rest[:, None]
            np.divide(_sums(into, into), n, out=variance)
        into *= column(weight, channels, 1) / np.sqrt(variance + eps)[:, None]
        if bias is not None:
            into += column(bias, channels, 0)

    by_channel(work, rows)
    statistics[...] = mean + rest, variance
    return memory.from_planes(y.astype(x.dtype, copy=False), x), (x, weight, moments)


def batch_norm_backward(xp, g, saved, wanted, statistics, eps):
    """gx = scale · (g - mean(g) - unit · mean(g · unit)), where unit is the normalised x."""
    x, weight, (mean, variance, rest) = saved
    rows, came = wide_planes(x, g)
    gx, n = np.empty_like(rows), max(1, len(rows) * rows.shape[2])
    gw, gb = np.empty((2, rows.shape[1]), rows.dtype)
    inverse_std = 1 / np.sqrt(variance + eps)

    def work(channels):
        part, into, scale = came[:, channels], gx[:, channels], inverse_std[channels, None]
        np.subtract(rows[:, channels], mean[channels, None], out=into)
        if rest[channels].any():
            into -= rest[channels, None]
        gw[channels] = _sums(part, into) * scale[:, 0]
        gb[channels] = _sums(part)
        into *= -gw[channels, None] / n * scale
        into += part
        into -= gb[channels, None] / n
        into *= scale * column(weight, channels, 1)

    by_channel(work, rows)
    return gradients(x, g, gx, gw, gb, wanted)


def per_channel_forward(xp, x, weight, bias):
    (rows,) = wide_planes(x)
    y = np.empty_like(rows)

    def work(channels):
        into = y[:, channels]
        np.multiply(rows[:, channels], column(weight, channels, 1), out=into)
        if bias is not None:
            into += column(bias, channels, 0)

    by_channel(work, rows)
    return memory.from_planes(y.astype(x.dtype, copy=False), x), (x, weight)


def per_channel_backward(xp, g, saved, wanted):
    x, weight = saved
    rows, came = wide_planes(x, g)
    gx = np.empty_like(rows) if wanted[0] else None
    gw, gb = np.empty((2, rows.shape[1]), rows.dtype)

    def work(channels):
        part = came[:, channels]
        if gx is not None:
            np.multiply(part, column(weight, channels, 1), out=gx[:, channels])
        if wanted[1]:
            gw[channels] = _sums(part, rows[:, channels])
        if wanted[2]:
            gb[channels] = _sums(part)

    by_channel(work, rows)
    return gradients(x, g, gx, gw, gb, wanted)


def relu_forward(xp, x):
    if x.size < cores.MIN_SHARED:
        y = np.maximum(x, 0)
    else:
        y = np.empty_like(x)
        each_piece(lambda y, x: np.maximum(x, 0, out=y), *flat(y, x))
    return y, y


def relu_backward(xp, g, y, wanted):
    gx = np.empty_like(y, g.dtype)
    each_piece(lambda gx, g, y: _where(y > 0, g, gx), *flat(gx, g, y))
    return (gx,)


def _where(passes, g, gx):
    """Write g or 0 into gx, by a product with numbers, which is faster than with booleans, and than a selection."""
    gx[...] = passes.view(np.int8)
    gx *= g


def relu6_forward(xp, x):
    y = np.empty_like(x)
    each_piece(lambda y, x: np.minimum(np.maximum(x, 0, out=y), 6, out=y), *flat(y, x))
    return y, y


def relu6_backward(xp, g, y, wanted):
    gx = np.empty_like(y, g.dtype)
    each_piece(lambda gx, g, y: _where((y > 0) & (y < 6), g, gx), *flat(gx, g, y))
    return (gx,)


class Slide:
    """The largest entry in a window (see `ops.window`), found along one axis after the other.

    If the samples of a pixel are adjacent in memory, they are one more axis of a plane, along which the window is 1.
    """

    def __init__(self, x: np.ndarray, window: Any):
        self.axes = range(len(window.kernel))
        self.by_pixel = x.ndim == 2 + len(self.axes) and memory.lies_by_pixel(x)
        if self.by_pixel:
            x, alone = memory.by_pixel(x), (1, 1, (0, 0), 1)
            window = window._make((*axis, one) for axis, one in zip(window, alone))
        self.window, self.lead = window, x.shape[: x.ndim - len(window.kernel)]
        self.size = x.shape[len(self.lead) :]
        self.places = [(n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(self.size, *window)]

    def planes(self, x: np.ndarray) -> np.ndarray:
        """x as a contiguous (n, *size): a view if possible."""
        x = memory.by_pixel(x) if self.by_pixel else x
        return memory.in_order(x).reshape(-1, *x.shape[len(self.lead) :])

    def whole(self, planes: np.ndarray) -> np.ndarray:
        """The reverse of `planes`."""
        x = planes.reshape(*self.lead, *planes.shape[1:])
        return memory.by_sample(x) if self.by_pixel else x

    def seen(self, planes: np.ndarray, axis: int) -> list[np.ndarray]:
        """For each entry of the kernel along `axis`, a view of padded planes (n, *size), with an entry per output."""
        w, before = self.window, (slice(None),) * (axis + 1)
        last = w.stride[axis] * (self.places[axis] - 1) + 1
        return [
            planes[(*before, slice(i * w.dilation[axis], i * w.dilation[axis] + last, w.stride[axis]))]
            for i in range(w.kernel[axis])
        ]

    def down(self, planes: np.ndarray, out: np.ndarray, remember: bool) -> list[list[np.ndarray]]:
        """Write the largest entries into `out`, along the last axis first; with `remember`, return where they were."""
        found, y = [], self.window.pad(np, planes, -math.inf)
        for axis in reversed(self.axes):
            *others, last = self.seen(y, axis)
            if remember and last.strides[-1] > last.itemsize:
                # Strided, they take four times as long to compare.
                others = [np.ascontiguousarray(other) for other in others]
            y = np.maximum(last, others[0] if others else last, out=None if axis else out)
            for other in others[1:]:
                np.maximum(y, other, out=y)
            if remember:
                found.append(self.first(others, y))
        return found

    def first(self, others: list[np.ndarray], y: np.ndarray) -> list[np.ndarray]:
        """Where each of the entries is the first that is y, as booleans; the last one, where none of the others is."""
        here, waiting = [], np.ones(y.shape, bool)
        for entry in others:
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
            shape = len(g), *padded[: axis + 1], *self.places[axis + 1 :]
            gx = out if axis == self.axes[-1] and shape == out.shape else np.empty(shape, g.dtype)
            apart = self.window.stride[axis] > self.window.dilation[axis] * (len(places) - 1)
            # Otherwise all of it is written anyway.
            if not finite or not apart or len(places) * self.places[axis] < shape[axis + 1]:
                gx[...] = 0
            for here, into in zip(places, self.seen(gx, axis)):
                if not finite:  # here 0 · ∞ is to be 0
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
    planes = slide.planes(x)
    y, parts = np.empty((len(planes), *slide.places), x.dtype), cuts(len(planes), planes.size)
    found = share(lambda part: slide.down(planes[part], y[part], remember), parts)
    return slide.whole(y), (slide, list(zip(parts, found)))


def max_pool_backward(xp, g, saved, wanted, window):
    slide, found = saved
    came = slide.planes(g)
    gx = np.empty((len(came), *slide.size), g.dtype)
    share(lambda one: slide.up(came[one[0]], one[1], gx[one[0]]), found)
    return (slide.whole(gx),)


def max_pool_alone(xp, x, window):
    return max_pool_forward(xp, x, window, remember=False)[0]


table = {
    "batch_norm": Kernel(batch_norm_forward, batch_norm_backward),
    "per_channel": Kernel(per_channel_forward, per_channel_backward),
    "relu": Kernel(relu_forward, relu_backward),
    "relu6": Kernel(relu6_forward, relu6_backward),
    "max_pool": Kernel(max_pool_forward, max_pool_backward, max_pool_alone),
}
