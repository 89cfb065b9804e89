"""A small window sliding over signals and images: convolution and pooling, in any number of dimensions, with torch's arguments.

Convolution here is a product of matrices: cut out what the kernel sees at each place, lay it down as a column, multiply.
Three primitives are closed under differentiation: the convolution is linear in x and in the weight, its gradients with
respect to either are linear in what is left, and each rule is one of the other two.  Pooling has a pair like that.
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..primitive import primitive
from .linalg import einsum
from .index import gather
from .reduce import sum
from .shape import expand_dims, reshape, squeeze, swapaxes

PIECE = {"cpu": 1 << 19, "cuda": 1 << 26}       # entries laid down as columns at a time: on a CPU what its cache can hold
Sizes = int | tuple[int, ...]


class Window(NamedTuple):
    """What the kernel sees: along an axis, its entry k at place q is x[stride · q + dilation · k - (padding before)]."""
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]        # before and after
    dilation: tuple[int, ...]

    def places(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """How many places the kernel takes along each axis of an input of this size."""
        return tuple((n + before + after - d * (k - 1) - 1) // s + 1
                     for n, k, s, (before, after), d in zip(size, *self, strict=True))

    def pad(self, xp: Any, x: Any, value: float = 0) -> Any:
        """x (…, *size) with `value` around it."""
        if not any(map(any, self.padding)):
            return x
        many = len(self.kernel)
        sizes = [n + before + after for n, (before, after) in zip(x.shape[-many:], self.padding, strict=True)]
        padded = xp.full((*x.shape[:-many], *sizes), value, x.dtype)
        self.crop(padded)[...] = x
        return padded

    def crop(self, padded: Any) -> Any:
        """The view of a padded array that leaves the padding out."""
        return padded[(..., *(slice(before, n - after) for n, (before, after) in
                              zip(padded.shape[-len(self.kernel):], self.padding, strict=True)))]

    def over(self, xp: Any, padded: Any) -> Any:
        """The view (…, *kernel, *places) of a padded array: every entry once for each place where the kernel sees it."""
        many = len(self.kernel)
        *lead, = padded.strides[:-many]
        steps = padded.strides[-many:]
        places = self._replace(padding=((0, 0),) * many).places(padded.shape[-many:])
        return xp.lib.stride_tricks.as_strided(
            padded, (*padded.shape[:-many], *self.kernel, *places),
            (*lead, *(step * d for step, d in zip(steps, self.dilation)), *(step * s for step, s in zip(steps, self.stride))))


def _slices(count: int, step: int) -> list[slice]:
    """0 … count, `step` at a time."""
    step = max(1, step)
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _pieces(x: Any, window: Window, places: tuple[int, ...]) -> tuple[list[slice], list[slice]]:
    """How to go through the samples, and through the places along the first axis, so that the columns stay small."""
    row = x.shape[1] * math.prod(window.kernel) * math.prod(places[1:]) or 1
    limit = PIECE[backend.of(x).name]
    return _slices(x.shape[0], limit // (row * places[0])), _slices(places[0], limit // row)


def _rows(view: Any, rows: slice, many: int) -> Any:
    """Some of the places along the first of the last `many` axes."""
    return view[(..., rows, *(slice(None),) * (many - 1))]


def _columns(xp: Any, x: Any, window: Window, groups: int, places: tuple[int, ...]) -> Iterator[tuple[slice, slice, Any]]:
    """What the kernel sees at each place, as columns of a matrix: pieces (samples, places, (n, groups, C/groups · kernel, places))."""
    many, width = len(places), math.prod(places[1:])
    samples, rows = _pieces(x, window, places)
    for n in samples:
        view = window.over(xp, window.pad(xp, x[n]))                           # (n, C, *kernel, *places)
        for q in rows:
            seen = _rows(view, q, many)
            yield n, slice(q.start * width, q.stop * width), seen.reshape(len(view), groups, -1, (q.stop - q.start) * width)


def _product(xp: Any, a: Any, b: Any) -> Any:
    """The matrix product; BLAS is slow at columns times rows, which is what depthwise gradients are."""
    return a * b if b.shape[-2] == 1 else xp.matmul(a, b)


@primitive
def conv(xp, x, weight, bias, /, window, groups):
    """y[n, o, q] = Σ_ck weight[o, c, k] · x[n, c, place q, entry k] + bias[o], c running over the channels of o's group."""
    places = window.places(x.shape[2:])
    y = xp.empty((x.shape[0], groups, weight.shape[0] // groups, math.prod(places)), xp.result_type(x, weight))
    filters = weight.reshape(groups, y.shape[2], -1)
    for n, q, columns in _columns(xp, x, window, groups, places):             # a 1 × 1 kernel's columns are x itself, uncopied
        out = y[n, :, :, q]
        xp.matmul(filters, columns, out=out)
        if bias is not None:
            out += bias.reshape(groups, -1, 1)
    return y.reshape(x.shape[0], weight.shape[0], *places)


@primitive
def conv_input_grad(xp, g, weight, /, size, window, groups):
    """The gradient of `conv` with respect to x, whose axes after the channels are `size`; also called transposed convolution."""
    many, channels, places = len(size), weight.shape[1] * groups, g.shape[2:]
    width = math.prod(places[1:])
    if all(s == 1 for s in window.stride):
        flipped = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)[(..., *(slice(None, None, -1),) * many)]
        back = Window(window.kernel, window.stride,
            tuple((d*(k-1)-b, n + d*(k-1) - q - (d*(k-1)-b)) for d, k, (b, a), n, q in zip(window.dilation, window.kernel, window.padding, size, places)), window.dilation)
        if FLIP and all(b>=0 and a>=0 for b,a in back.padding):
            return conv(g, flipped.reshape(channels, -1, *window.kernel), None, back, groups)
    x = xp.empty((g.shape[0], channels, *size), xp.result_type(g, weight))
    filters = weight.reshape(groups, weight.shape[0] // groups, -1).swapaxes(1, 2)
    g = g.reshape(g.shape[0], groups, -1, math.prod(places))
    samples, rows = _pieces(x, window, places)
    for n in samples:
        padded = window.pad(xp, xp.zeros_like(x[n]))
        view = window.over(xp, padded)
        for q in rows:
            columns = _product(xp, filters, g[n, :, :, q.start * width:q.stop * width])
            columns = columns.reshape(*padded.shape[:2], *window.kernel, q.stop - q.start, *places[1:])
            for k in np.ndindex(window.kernel):
                part = _rows(view[(slice(None), slice(None), *k)], q, many)
                part += columns[(slice(None), slice(None), *k)]
        x[n] = window.crop(padded)
    return x


@primitive
def conv_weight_grad(xp, x, g, /, window, groups):
    """The gradient of `conv` with respect to its weight."""
    outputs, places = g.shape[1], g.shape[2:]
    g = g.reshape(g.shape[0], groups, -1, math.prod(places))
    weight = xp.zeros((groups, outputs // groups, x.shape[1] // groups * math.prod(window.kernel)), xp.result_type(g, x))
    for n, q, columns in _columns(xp, x, window, groups, places):
        weight += xp.matmul(g[n, :, :, q], columns.swapaxes(-1, -2)).sum(0)
    return weight.reshape(outputs, -1, *window.kernel)
FLIP = True

conv.defvjp(x=lambda g, x_shape, weight, window, groups: conv_input_grad(g, weight, x_shape[2:], window, groups),
            weight=lambda g, x, window, groups: conv_weight_grad(x, g, window, groups),
            bias=lambda g: sum(g, (0, *range(2, len(g.shape)))))
conv_input_grad.defvjp(g=lambda g, weight, window, groups: conv(g, weight, None, window, groups),
                       weight=lambda y, g, window, groups: conv_weight_grad(y, g, window, groups))
conv_weight_grad.defvjp(x=lambda w, x_shape, g, window, groups: conv_input_grad(g, w, x_shape[2:], window, groups),
                        g=lambda w, x, window, groups: conv(x, w, None, window, groups))
