"""Depthwise convolution on a CPU, one filter for each channel: too little arithmetic for a product of matrices.

Lay out a padded plane as one long row, and each entry of the kernel is a shift of that row: the convolution is a sum of shifted
rows, which einsum multiplies and adds up in one go.  (Where a row runs on past the edge of its plane it computes places nobody
asked for; they are cut away.)  A stride of s makes s rows of it, the phases, in which entries s apart lie side by side.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from . import cores
from .cores import share
from .geometry import Geometry, overlap, phases

GROUP = 1 << 17                                 # entries worked on at a time, which stay in a core's cache


class Rows:
    """Some planes of images x (N, C, height, width), padded, as rows, by phase: (sh, sw, plane, h · w)."""

    def __init__(self, x: np.ndarray, some: slice, at: Geometry):
        self.at, self.h = at, at.H + at.dh * (at.kh - 1) // at.sh
        self.w = at.W + at.dw * (at.kw - 1) // at.sw
        self.length = (at.H - 1) * self.w + at.W                               # of a row, to its last place
        planes = x.reshape(-1, at.height, at.width)[some]
        padded = np.zeros((len(planes), self.h * at.sh, self.w * at.sw), x.dtype)
        rows, below = overlap(-at.top, self.h * at.sh, at.height)
        columns, beside = overlap(-at.left, self.w * at.sw, at.width)
        padded[:, below, beside] = planes[:, rows, columns]
        by_phase = padded.reshape(len(planes), self.h, at.sh, self.w, at.sw).transpose(2, 4, 0, 1, 3)
        self.rows = np.ascontiguousarray(by_phase).reshape(at.sh, at.sw, len(planes), self.h * self.w)

    def shifts(self) -> Iterator[tuple[tuple, np.ndarray]]:
        """(entries of the kernel, the rows they see as (plane, entry, entry, place)), for all that meet one phase."""
        at = self.at
        for (a, i, y, down), (b, j, x, right) in product(phases(at.kh, at.sh, at.dh), phases(at.kw, at.sw, at.dw)):
            rows = self.rows[i, j, :, y * self.w + x:]
            plane, step = rows.strides
            shape = len(rows), len(range(at.kh)[a]), len(range(at.kw)[b]), self.length
            strides = plane, step * down * self.w, step * right, step
            yield (slice(None), a, b), np.lib.stride_tricks.as_strided(rows, shape, strides)


def forward(x: np.ndarray, filters: np.ndarray, bias: np.ndarray | None, at: Geometry, out: np.ndarray) -> None:
    """(N, C, H, W) into `out`, from x (N, C, height, width), filters (C, kh, kw) and biases (C,)."""
    out = out.reshape(-1, at.H, at.W)           # of a whole array, or of one phase of it: a view

    def work(some):
        rows, own = Rows(x, some, at), _of_planes(filters, some)
        sums = np.empty((len(own), at.H * rows.w), x.dtype)
        for first, (entries, seen) in enumerate(rows.shifts()):
            if not first:                       # order "F" makes the places the innermost loop
                np.einsum("pabi,pab->ip", seen, own[entries], order="F", out=sums[:, :rows.length].T)
            else:
                sums[:, :rows.length] += np.einsum("pabi,pab->ip", seen, own[entries], order="F").T
        more = 0 if bias is None else _of_planes(bias, some)[:, None, None]
        np.add(sums.reshape(len(own), at.H, rows.w)[:, :, :at.W], more, out=out[some])
    _each_group(work, len(out), at)


def weight_grad(x: np.ndarray, g: np.ndarray, at: Geometry) -> np.ndarray:
    """(C, kh, kw), from x (N, C, height, width) and g (N, C, H, W): for each entry, what it saw times what came of it."""
    weight = np.empty((*x.shape[:2], at.kh, at.kw), g.dtype)
    g, of_planes = g.reshape(-1, at.H, at.W), weight.reshape(-1, at.kh, at.kw)

    def work(some):
        rows = Rows(x, some, at)
        came = np.zeros((len(g[some]), at.H, rows.w), g.dtype)
        came[:, :, :at.W] = g[some]
        for entries, seen in rows.shifts():
            of_planes[some][entries] = np.einsum("pabi,pi->pab", seen, came.reshape(len(came), -1)[:, :rows.length])
    _each_group(work, len(g), at)
    return weight.sum(0)


def _of_planes(parameters, some):
    """Each plane's own: those of the channels, again and again for one sample after the other."""
    return parameters.take(range(some.start, some.stop), 0, mode="wrap")


def _each_group(work: Callable[[slice], None], count: int, at: Geometry) -> None:
    """work(some planes), until all had their turn, on all cores."""
    step = max(1, min(GROUP // (at.height * at.width), -(-count // cores.CORES)))
    share(work, [slice(i, min(i + step, count)) for i in range(0, count, step)])
