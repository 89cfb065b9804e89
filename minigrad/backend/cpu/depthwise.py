"""Depthwise convolution on a CPU, one filter for each channel: too little arithmetic for a product of matrices.

Lay out a padded plane as one long row, and each entry of the kernel is a shift of that row: the convolution is a sum of
shifted rows, which einsum multiplies and adds up in one go.  (Where a row runs on past the edge of its plane it
computes places nobody asked for; they are cut away.)  A stride of s makes s rows of it, the phases, in which entries s
apart lie side by side.  Where samples lie beside each other (see memory.py), those of a channel are one plane, each
pixel of which has an entry for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from ..shared.geometry import Geometry, overlap, phases
from . import cores, memory
from .cores import share

MAX_GROUP = 1 << 17  # entries worked on at a time, so that they stay in a core's cache


class Rows:
    """The padded planes (p, height, width, n) that the kernel sees from some lines of the output, as rows.

    They have the shape (sh, sw, p, h · w · n).
    """

    def __init__(self, planes: np.ndarray, lines: slice, at: Geometry):
        count, n = lines.stop - lines.start, planes.shape[3]
        self.at, self.h = at, count + at.dh * (at.kh - 1) // at.sh
        self.columns = at.W + at.dw * (at.kw - 1) // at.sw
        self.pixel, self.w = n, self.columns * n  # entries of a pixel, and of a row of pixels
        self.length = (count - 1) * self.w + at.W * n  # of a row, to its last place
        padded = np.zeros((len(planes), self.h * at.sh, self.columns * at.sw, n), planes.dtype)
        rows, below = overlap(lines.start * at.sh - at.top, self.h * at.sh, at.height)
        columns, inside = overlap(-at.left, self.columns * at.sw, at.width)
        padded[:, below, inside] = planes[:, rows, columns]
        by_phase = padded.reshape(len(planes), self.h, at.sh, self.columns, at.sw, n).transpose(2, 4, 0, 1, 3, 5)
        self.rows = np.ascontiguousarray(by_phase).reshape(at.sh, at.sw, len(planes), self.h * self.w)

    def shifts(self) -> Iterator[tuple[tuple, np.ndarray]]:
        """(entries of the kernel, the rows they see as (plane, entry, entry, place)), for all that meet one phase."""
        at = self.at
        for (a, i, y, down), (b, j, x, right) in product(phases(at.kh, at.sh, at.dh), phases(at.kw, at.sw, at.dw)):
            rows = self.rows[i, j, :, y * self.w + x * self.pixel :]
            plane, step = rows.strides
            shape = len(rows), len(range(at.kh)[a]), len(range(at.kw)[b]), self.length
            strides = plane, step * down * self.w, step * right * self.pixel, step
            yield (slice(None), a, b), np.lib.stride_tricks.as_strided(rows, shape, strides)


def forward(x: np.ndarray, filters: np.ndarray, bias: np.ndarray | None, at: Geometry, out: np.ndarray) -> None:
    """(N, C, H, W) into `out`, from x (N, C, height, width), filters (C, kh, kw) and biases (C,)."""
    x, out = (_planes(a, memory.beside(out)) for a in (x, out))  # of a whole array, or of one phase of it: a view

    def work(some, lines, n):
        rows, own, into = Rows(x[some, ..., n], lines, at), _of_planes(filters, some), out[some, lines, :, n]
        sums = np.empty((len(own), into.shape[1] * rows.w), x.dtype)
        for first, (entries, seen) in enumerate(rows.shifts()):
            if not first:  # order "F" makes the places the innermost loop
                np.einsum("pabi,pab->ip", seen, own[entries], order="F", out=sums[:, : rows.length].T)
            else:
                sums[:, : rows.length] += np.einsum("pabi,pab->ip", seen, own[entries], order="F").T
        more = 0 if bias is None else _of_planes(bias, some)[:, None, None, None]
        np.add(sums.reshape(*into.shape[:2], rows.columns, -1)[:, :, : at.W], more, out=into)

    _each_group(work, out)


def weight_grad(x: np.ndarray, g: np.ndarray, at: Geometry) -> np.ndarray:
    """The weight's gradient (C, kh, kw), from x (N, C, height, width) and g (N, C, H, W)."""
    channels, (x, g) = x.shape[1], (_planes(a, memory.beside(x)) for a in (x, g))

    def work(some, lines, n):
        rows, part = Rows(x[some, ..., n], lines, at), g[some, lines, :, n]
        came = np.zeros((*part.shape[:2], rows.columns, rows.pixel), g.dtype)
        weight = np.empty((len(part), at.kh, at.kw), g.dtype)
        came[:, :, : at.W] = part
        for entries, seen in rows.shifts():
            weight[entries] = np.einsum("pabi,pi->pab", seen, came.reshape(len(came), -1)[:, : rows.length])
        return some, weight

    total = np.zeros((len(x), at.kh, at.kw), g.dtype)
    for some, weight in _each_group(work, g):
        total[some] += weight
    return total.reshape(-1, channels, at.kh, at.kw).sum(0)


def _planes(x: np.ndarray, beside: bool) -> np.ndarray:
    """Images (N, C, height, width) as planes (C, height, width, N), samples last, or (N · C, height, width, 1)."""
    return memory.by_pixel(x) if beside else x.reshape(-1, *x.shape[2:], 1)


def _of_planes(parameters, some):
    """Each plane's own: those of the channels, again and again for one sample after the other."""
    return parameters.take(range(some.start, some.stop), 0, mode="wrap")


def _each_group(work: Callable[[slice, slice, slice], Any], places: np.ndarray) -> list:
    """[work(planes, lines, samples)] on all cores, over groups that together cover places (planes, H, W, N)."""
    count, height, width, samples = places.shape
    n = min(samples, max(memory.MIN_SAMPLES, MAX_GROUP // (width * min(height, 8))))
    lines = max(1, min(height, MAX_GROUP // (width * n)))
    step = max(1, min(MAX_GROUP // (lines * width * n), -(-count // cores.CORES)))
    sizes = [
        [slice(i, min(i + size, end)) for i in range(0, end, size)]
        for end, size in ((count, step), (height, lines), (samples, n))
    ]
    return share(lambda piece: work(*piece), list(product(*sizes)))
