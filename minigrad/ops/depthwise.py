"""Depthwise convolution, one filter for each channel, on bare arrays: too little arithmetic for a product of matrices.

Lay out a padded plane as one long row, and each entry of the kernel is a shift of that row: the convolution is a few
multiply-adds along rows.  (Where a row runs on past the edge of its plane it computes places nobody asked for; they are cut
away.)  A stride of s makes s rows of it, the phases, in which entries s apart lie side by side.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import backend

GROUP = 1 << 17                                 # entries worked on at a time, which stay in a core's cache


def forward(xp: Any, x: Any, weight: Any, window: Any) -> Any:
    """y (N, C, *places), from x (N, C, *size) and weight (C, 1, *kernel)."""
    rows, wide = _to_rows(xp, x, window)
    places = _places(x.shape[2:], window)
    y, filters = xp.zeros(rows.shape[1:], rows.dtype), _for_planes(xp, weight, len(x))

    def work(planes, length):
        part = y[planes, :length]
        product = xp.empty_like(part)
        for k, (phase, shift) in enumerate(_shifts(window, wide)):
            xp.multiply(rows[phase, planes, shift:shift + length], filters[planes, k:k + 1], out=product)
            part += product
    _each_group(work, y, places, wide)
    return xp.ascontiguousarray(y.reshape(*x.shape[:2], *wide)[_corner(places)])


def input_grad(xp: Any, g: Any, weight: Any, size: tuple[int, ...], window: Any) -> Any:
    """The gradient of x (N, C, *size), from that of y: every shift taken back."""
    wide = _plane(size, window)
    rows = xp.zeros((math.prod(window.stride), g.shape[0] * g.shape[1], math.prod(wide)), g.dtype)
    seen, filters = _wide(xp, g, wide), _for_planes(xp, weight, len(g))

    def work(planes, length):
        product = xp.empty_like(seen[planes, :length])
        for k, (phase, shift) in enumerate(_shifts(window, wide)):
            xp.multiply(seen[planes, :length], filters[planes, k:k + 1], out=product)
            part = rows[phase, planes, shift:shift + length]
            part += product
    _each_group(work, seen, g.shape[2:], wide)
    return _from_rows(xp, rows, (*g.shape[:2], *size), wide, window)


def weight_grad(xp: Any, x: Any, g: Any, window: Any) -> Any:
    """The gradient of the weight (C, 1, *kernel): for each entry of the kernel, what it saw times what came of it."""
    rows, wide = _to_rows(xp, x, window)
    seen = _wide(xp, g, wide)
    weight = xp.empty((len(seen), math.prod(window.kernel)), g.dtype)

    def work(planes, length):
        for k, (phase, shift) in enumerate(_shifts(window, wide)):
            weight[planes, k] = xp.einsum("pi,pi->p", rows[phase, planes, shift:shift + length], seen[planes, :length])
    _each_group(work, seen, g.shape[2:], wide)
    return weight.reshape(*g.shape[:2], weight.shape[1]).sum(0).reshape(-1, 1, *window.kernel)


def _to_rows(xp, x, window):
    """x (N, C, *size), padded, as (phases, N · C, row); and the shape of the plane that a row lays out."""
    stride, wide = window.stride, _plane(x.shape[2:], window)
    whole = xp.zeros((*x.shape[:2], *(n * s for n, s in zip(wide, stride, strict=True))), x.dtype)
    inside = tuple(slice(before, before + n) for n, (before, _) in zip(x.shape[2:], window.padding, strict=True))
    whole[..., *inside] = x
    pairs = whole.reshape(*x.shape[:2], *(n for pair in zip(wide, stride, strict=True) for n in pair))   # (N, C, q, s, q, s)
    rows = xp.ascontiguousarray(pairs.transpose(_phases_first(len(wide))))
    return rows.reshape(math.prod(stride), x.shape[0] * x.shape[1], math.prod(wide)), wide


def _from_rows(xp, rows, shape, wide, window):
    """The reverse of `_to_rows`."""
    many, order = len(wide), _phases_first(len(wide))
    pairs = rows.reshape(*window.stride, *shape[:2], *wide).transpose([order.index(i) for i in range(2 + 2 * many)])
    whole = pairs.reshape(*shape[:2], *(n * s for n, s in zip(wide, window.stride, strict=True)))
    size = tuple(n + before + after for n, (before, after) in zip(shape[2:], window.padding, strict=True))
    return xp.ascontiguousarray(window.crop(whole[_corner(size)]))


def _plane(size, window):
    """The shape of a padded plane, or of one of its phases."""
    return tuple(-(-(n + before + after) // s) for n, (before, after), s in zip(size, window.padding, window.stride, strict=True))


def _phases_first(many):
    """(N, C, q, s, q, s) to (s, s, N, C, q, q)."""
    return [*range(3, 3 + 2 * many, 2), 0, 1, *range(2, 2 + 2 * many, 2)]


def _wide(xp, g, wide):
    """g (N, C, *places) as rows with a plane's width, zeros where there is no place."""
    seen = xp.zeros((*g.shape[:2], *wide), g.dtype)
    seen[_corner(g.shape[2:])] = g
    return seen.reshape(g.shape[0] * g.shape[1], math.prod(wide))


def _corner(size):
    return (..., *(slice(n) for n in size))


def _places(size, window):
    return [(n + before + after - span) // s + 1 for n, (before, after), span, s in
            zip(size, window.padding, window.spans(), window.stride, strict=True)]


def _for_planes(xp, weight, samples):
    """The filters (C, 1, *kernel) as (N · C, entries), the same for each sample."""
    filters = weight.reshape(len(weight), -1)
    return xp.broadcast_to(filters, (samples, *filters.shape)).reshape(samples * len(weight), -1) if samples else filters[:0]


def _shifts(window: Any, wide: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """(phase, shift) of each entry of the kernel."""
    for k in np.ndindex(window.kernel):
        at = [i * d for i, d in zip(k, window.dilation, strict=True)]
        yield (int(np.ravel_multi_index([a % s for a, s in zip(at, window.stride, strict=True)], window.stride)),
               int(np.ravel_multi_index([a // s for a, s in zip(at, window.stride, strict=True)], wide)))


def _each_group(work: Callable[[slice, int], None], rows: Any, places: Any, wide: tuple[int, ...]) -> None:
    """work(some planes, how long a row is to its last place), until all planes had their turn; on a CPU on all cores."""
    if rows.size:
        length = int(np.ravel_multi_index([n - 1 for n in places], wide)) + 1
        step = max(1, GROUP // length)
        backend.of(rows).share(lambda start: work(slice(start, start + step), length), range(0, len(rows), step))
