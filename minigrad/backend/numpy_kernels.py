"""The kernels again, faster on a CPU: pieces that stay in a core's cache, shared out over the cores, no large temporaries.

They take float32 arrays that lie in memory in order; whatever else comes is handed back to `kernels`.
"""
from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from . import Kernel, kernels

PIECE = 1 << 17                                 # entries worked on at a time: 512 KiB, so that two or three arrays fit in a core's cache


def _cores() -> int:
    """How many threads to use: the cores this process may run on, or fewer if the variables that BLAS reads say so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    return min(cores, int(limit)) if limit.isdigit() and int(limit) else cores


CORES = _cores()


@functools.cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CORES - 1, "minigrad")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)                   # threads do not survive a fork


def share(work: Callable[[tuple], None], pieces: list[tuple]) -> None:
    """work(piece) for every piece, shared out over the cores: NumPy lets go of the interpreter while it computes."""
    queue = iter(pieces)

    def drain():
        with np.errstate(all="ignore"):
            for piece in queue:
                work(piece)
    helpers = [_helpers().submit(drain) for _ in range(min(CORES, len(pieces)) - 1)]
    drain()
    for helper in helpers:
        if not helper.cancel():                 # one that has not begun has nothing left to do
            helper.result()


def cut(shape: tuple[int, ...], size: int = PIECE) -> list[tuple]:
    """Indices that cut an array of `shape`, along its leading axes, into pieces of about `size` entries."""
    axis, rest = 0, math.prod(shape[1:])
    while rest > size and axis < len(shape) - 2:
        axis += 1
        rest = math.prod(shape[axis + 1:])
    step = max(1, size // max(1, rest))
    return [(*lead, slice(i, i + step)) for lead in np.ndindex(*shape[:axis]) for i in range(0, shape[axis], step)]


_own = threading.local()


def scratch(*shape: int) -> np.ndarray:
    """Working space of this thread, float32, allocated once; the next call overwrites it."""
    size = math.prod(shape)
    if getattr(_own, "space", np.empty(0)).size < size:
        _own.space = np.empty(size, np.float32)
    return _own.space[:size].reshape(shape)


def plain(x: np.ndarray) -> bool:
    """Whether x is what these kernels are for."""
    return x.dtype == np.float32 and x.flags.c_contiguous and x.size > 1024


def flat(*arrays: np.ndarray) -> list[np.ndarray]:
    """Each array as one long row: a view, or a copy of a gradient that is not in order."""
    return [np.ascontiguousarray(array).reshape(-1) for array in arrays]


def as_rows(*arrays: np.ndarray) -> list[np.ndarray]:
    """Each array as a matrix of its last-axis vectors: a view, or a copy of a gradient that is not in order."""
    return [np.ascontiguousarray(array).reshape(-1, array.shape[-1]) for array in arrays]


# log(Φ(-x) / Φ(x)) = x · polynomial(x²).  "none": least squares on the roots of a Chebyshev polynomial in 0 < x < 6, reweighted
# until the largest relative error of tanh(-½ …) = erf(x/√2) was smallest (9.5e-8); the sign for large x is right.
LOG_ODDS = {
    "none": (-1.59576927, -7.26686968e-2, 6.78229713e-5, 1.09563268e-4, -7.74608072e-6, 2.50510710e-7, -3.13444343e-9),
    "tanh": tuple(-c for c in kernels.GELU_TANH),
}


def _log_odds(x, approximate, out, square):
    """log(Φ(-x) / Φ(x)) into `out`; x² is left in `square`."""
    *middle, top = LOG_ODDS[approximate][1:]
    np.multiply(x, x, out=square)
    np.multiply(square, top, out=out)
    for c in reversed(middle):
        out += c
        out *= square
    out += LOG_ODDS[approximate][0]
    out *= x


def erf(x: np.ndarray) -> np.ndarray:
    """The error function: exact in float64, to about 2 units in the last place in float32 (which is computed in float64)."""
    if x.dtype == np.float64:
        return np.vectorize(math.erf, otypes=[np.float64])(x)
    scaled = x.astype(np.float64).reshape(-1) * math.sqrt(2)
    odds = np.empty_like(scaled)
    with np.errstate(over="ignore"):
        _log_odds(scaled, "none", odds, np.empty_like(scaled))
    return np.tanh(-0.5 * odds).astype(x.dtype).reshape(x.shape)


def gelu_forward(xp, x, approximate):
    """x Φ(x), as x / (1 + Φ(-x) / Φ(x)); saves its result too, which the next layer keeps anyway."""
    if not plain(x):
        return kernels.gelu_forward(xp, x, approximate)
    y = np.empty_like(x)
    flat_x, flat_y = flat(x, y)

    def work(piece):
        x, y = flat_x[piece], flat_y[piece]
        _log_odds(x, approximate, y, scratch(x.size))
        np.exp(y, out=y)
        y += 1
        np.divide(x, y, out=y)
    share(work, cut(flat_x.shape))
    return y, (x, y)


def gelu_backward(xp, g, saved, wanted, approximate):
    """g (Φ(x) + x Φ'(x)), with Φ(x) read off as y / x; at x = 0 the two tiny numbers make that 1/2."""
    if not isinstance(saved, tuple):
        return kernels.gelu_backward(xp, g, saved, wanted, approximate)
    gx = np.empty_like(saved[0])
    flat_g, flat_x, flat_y, flat_gx = flat(g, *saved, gx)

    def work(piece):
        x, gx = flat_x[piece], flat_gx[piece]
        a = scratch(x.size)
        np.add(x, 2e-30, out=a)
        np.add(flat_y[piece], 1e-30, out=gx)
        gx /= a
        np.multiply(x, x, out=a)
        if approximate == "tanh":
            a *= 3 * kernels.GELU_TANH[1]
            a += kernels.GELU_TANH[0]
            a *= gx
            a *= 1 - gx
        else:
            a *= -0.5
            np.exp(a, out=a)
            a *= 1 / math.sqrt(2 * math.pi)
        a *= x
        gx += a
        gx *= flat_g[piece]
    share(work, cut(flat_x.shape))
    return gx,


def exp_rows(x, out):
    """exp(x) into `out` and the sum of each row, without looking for a row's largest entry if the sums are in a safe range.

    Returns the sums and what was subtracted from each row to get there (None if nothing was).
    """
    np.exp(x, out=out)
    total = np.einsum("...i->...", out)
    if total.min() > 1e-20 and total.max() < 1e20:                             # every row then has an entry well within range
        return total, None
    top = x.max(-1)
    top[top == -math.inf] = 0
    np.subtract(x, top[..., None], out=out)
    np.exp(out, out=out)
    return np.einsum("...i->...", out), top


def softmax_forward(xp, x, axis):
    """exp(x), scaled to sum to one along `axis`."""
    if not plain(x) or axis % x.ndim != x.ndim - 1:
        return kernels.softmax_forward(xp, x, axis)
    y = np.empty_like(x)
    rows_x, rows_y = as_rows(x, y)

    def work(piece):
        y = rows_y[piece]
        y /= exp_rows(rows_x[piece], y)[0][:, None]
    share(work, cut(rows_x.shape))
    return y, y


def softmax_backward(xp, g, y, wanted, axis):
    if not plain(y) or axis % y.ndim != y.ndim - 1:
        return kernels.softmax_backward(xp, g, y, wanted, axis)
    gx = np.empty_like(y)
    rows_g, rows_y, rows_gx = as_rows(g, y, gx)

    def work(piece):
        g, y, gx = rows_g[piece], rows_y[piece], rows_gx[piece]
        np.subtract(g, np.einsum("ij,ij->i", g, y)[:, None], out=gx)
        gx *= y
    share(work, cut(rows_y.shape))
    return gx,


def layer_norm_forward(xp, x, weight, bias, eps):
    if not plain(x):
        return kernels.layer_norm_forward(xp, x, weight, bias, eps)
    y = np.empty_like(x)
    rows_x, rows_y = as_rows(x, y)
    mean, inverse_std = np.empty((2, len(rows_x), 1), np.float32)

    def work(piece):
        x, y = rows_x[piece], rows_y[piece]
        mean[piece, 0] = np.einsum("ij->i", x) / x.shape[1]
        np.subtract(x, mean[piece], out=y)
        inverse_std[piece, 0] = 1 / np.sqrt(np.einsum("ij,ij->i", y, y) / x.shape[1] + eps)
        y *= inverse_std[piece]
        if weight is not None:
            y *= weight
        if bias is not None:
            y += bias
    share(work, cut(rows_x.shape))
    return y, (x, weight, mean, inverse_std)


def layer_norm_backward(xp, g, saved, wanted, eps):
    x, weight, mean, inverse_std = saved
    if not plain(x):
        return kernels.layer_norm_backward(xp, g, saved, wanted, eps)
    gx = np.empty_like(x)
    rows_g, rows_x, rows_gx = as_rows(g, x, gx)
    pieces = cut(rows_x.shape)
    gw, gb = np.empty((2, len(pieces), x.shape[-1]), np.float32)

    def work(numbered):
        i, piece = numbered
        g, x, gx = rows_g[piece], rows_x[piece], rows_gx[piece]
        scaled = scratch(*x.shape)
        np.multiply(g, inverse_std[piece], out=scaled)
        gw[i] = np.einsum("ij,ij->j", scaled, x) - np.einsum("ij,ik->k", mean[piece], scaled)
        gb[i] = g.sum(0)
        if wanted[0]:
            if weight is not None:
                scaled *= weight
            level = np.einsum("ij->i", scaled)[:, None] / x.shape[1]
            tilt = np.einsum("ij,ij->i", scaled, x)[:, None] / x.shape[1] - level * mean[piece]
            tilt *= inverse_std[piece] ** 2
            np.multiply(x, -tilt, out=gx)
            gx += scaled
            gx += tilt * mean[piece] - level
    share(work, list(enumerate(pieces)))
    return gx if wanted[0] else None, gw.sum(0) if wanted[1] else None, gb.sum(0) if wanted[2] else None


def dropout_forward(xp, x, keep, p):
    if not plain(x):
        return kernels.dropout_forward(xp, x, keep, p)
    y = np.empty_like(x)
    flat_x, flat_keep, flat_y = flat(x, keep, y)

    def work(piece):
        np.multiply(flat_keep[piece], 1 / (1 - p), out=flat_y[piece], dtype=np.float32)
        flat_y[piece] *= flat_x[piece]
    share(work, cut(flat_x.shape))
    return y, None


def dropout_backward(xp, g, saved, wanted, keep, p):
    return dropout_forward(xp, np.ascontiguousarray(g), keep, p)[0],
