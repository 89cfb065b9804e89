"""The kernels again, faster on a CPU: pieces that stay in a core's cache, shared out over the cores, no large temporaries.

They take float32 arrays that lie in memory in order; whatever else comes is handed back to `kernels`.
"""
from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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


def share(work: Callable[[Any], Any], pieces: list) -> list:
    """[work(piece) for piece in pieces], shared out over the cores: NumPy lets go of the interpreter while it computes."""
    results = [None] * len(pieces)
    queue = iter(enumerate(pieces))

    def drain():
        with np.errstate(all="ignore"):
            for i, piece in queue:
                results[i] = work(piece)
    helpers = [_helpers().submit(drain) for _ in range(min(CORES, len(pieces)) - 1)]
    drain()
    for helper in helpers:
        if not helper.cancel():                 # one that has not begun has nothing left to do
            helper.result()
    return results


def each_piece(work: Callable, *arrays: np.ndarray) -> list:
    """work(piece of each array, ...) for pieces of about PIECE entries of the first, cut along the first axis all have in common."""
    n, size = len(arrays[0]), arrays[0].size
    step = max(1, n * PIECE // size) if size else 1
    return share(lambda i: work(*[array[i:i + step] for array in arrays]), range(0, n, step))


_own = threading.local()


def scratch(*shape: int) -> np.ndarray:
    """Working space of this thread, allocated once; the next call overwrites it."""
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


# log(Φ(-x) / Φ(x)) = x · polynomial(x²).  "none": least squares at 4000 Chebyshev points of 0 < x < 6, reweighted until the largest
# relative error of erf(x/√2) = tanh(-½ log …) was as small as it gets, 9.5e-8.  "tanh" is such a polynomial by definition.
LOG_ODDS = {
    "none": (-1.59576927, -7.26686968e-2, 6.78229713e-5, 1.09563268e-4, -7.74608072e-6, 2.50510710e-7, -3.13444343e-9),
    "tanh": tuple(-c for c in kernels.GELU_TANH),
}


def _log_odds(x, approximate, out, square):
    """log(Φ(-x) / Φ(x)) into `out`; x² is left in `square`."""
    first, *middle, last = LOG_ODDS[approximate]
    np.multiply(x, x, out=square)
    np.multiply(square, last, out=out)
    for c in reversed(middle):
        out += c
        out *= square
    out += first
    out *= x


def erf(x: np.ndarray) -> np.ndarray:
    """The error function: exact in float64; computed there, to about two units in the last place, for float32."""
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

    def work(x, y):
        _log_odds(x, approximate, y, scratch(x.size))
        np.exp(y, out=y)
        y += 1
        np.divide(x, y, out=y)
    each_piece(work, *flat(x, y))
    return y, (x, y)


def gelu_backward(xp, g, saved, wanted, approximate):
    """g (Φ(x) + x Φ'(x)), with Φ(x) read off as y / x; at x = 0 the two tiny numbers make that 1/2."""
    if not isinstance(saved, tuple):
        return kernels.gelu_backward(xp, g, saved, wanted, approximate)
    gx = np.empty_like(saved[0])

    def work(g, x, y, gx):
        a = scratch(x.size)
        np.add(x, 2e-30, out=a)
        np.add(y, 1e-30, out=gx)
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
        gx *= g
    each_piece(work, *flat(g, *saved, gx))
    return gx,


def exp_rows(x, out):
    """exp(x) into `out`, without looking for each row's largest entry if the rows' sums turn out to be in a safe range.

    Returns the sums, and what was subtracted from each row to get there.
    """
    np.exp(x, out=out)
    total = np.einsum("...i->...", out)
    if total.min() > 1e-20 and total.max() < 1e20:                             # so no entry that matters over- or underflowed
        return total, 0
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

    def work(x, y):
        y /= exp_rows(x, y)[0][:, None]
    each_piece(work, *as_rows(x, y))
    return y, y


def softmax_backward(xp, g, y, wanted, axis):
    if not plain(y) or axis % y.ndim != y.ndim - 1:
        return kernels.softmax_backward(xp, g, y, wanted, axis)
    gx = np.empty_like(y)

    def work(g, y, gx):
        np.subtract(g, np.einsum("ij,ij->i", g, y)[:, None], out=gx)
        gx *= y
    each_piece(work, *as_rows(g, y, gx))
    return gx,


def log_softmax_forward(xp, x, axis):
    """log(softmax(x)), without computing the softmax."""
    if not plain(x) or axis % x.ndim != x.ndim - 1:
        return kernels.log_softmax_forward(xp, x, axis)
    y = np.empty_like(x)

    def work(x, y):
        space = scratch(*x.shape)
        np.subtract(x, x[np.arange(len(x)), x.argmax(1)][:, None], out=y)
        np.exp(y, out=space)
        y -= np.log(np.einsum("ij->i", space))[:, None]
    each_piece(work, *as_rows(x, y))
    return y, y


def log_softmax_backward(xp, g, y, wanted, axis):
    if not plain(y) or axis % y.ndim != y.ndim - 1:
        return kernels.log_softmax_backward(xp, g, y, wanted, axis)
    gx = np.empty_like(y)

    def work(g, y, gx):
        np.exp(y, out=gx)
        gx *= -np.einsum("ij->i", g)[:, None]
        gx += g
    each_piece(work, *as_rows(g, y, gx))
    return gx,


def layer_norm_forward(xp, x, weight, bias, eps):
    """Each last-axis vector with zero mean and unit variance, then scaled and shifted."""
    if not plain(x):
        return kernels.layer_norm_forward(xp, x, weight, bias, eps)
    y, n = np.empty_like(x), x.shape[-1]
    mean, inverse_std = np.empty((2, x.size // n, 1), np.float32)

    def work(x, y, mean, inverse_std):
        mean[:, 0] = np.einsum("ij->i", x) / n
        np.subtract(x, mean, out=y)
        inverse_std[:, 0] = 1 / np.sqrt(np.einsum("ij,ij->i", y, y) / n + eps)
        y *= inverse_std
        if weight is not None:
            y *= weight
        if bias is not None:
            y += bias
    each_piece(work, *as_rows(x, y), mean, inverse_std)
    return y, (x, weight, mean, inverse_std)


def layer_norm_backward(xp, g, saved, wanted, eps):
    x, weight, mean, inverse_std = saved
    if not plain(x):
        return kernels.layer_norm_backward(xp, g, saved, wanted, eps)
    gx, n = np.empty_like(x), x.shape[-1]

    def work(g, x, gx, mean, inverse_std):
        scaled = scratch(*x.shape)
        np.multiply(g, inverse_std, out=scaled)
        gw = np.einsum("ij,ij->j", scaled, x)
        if weight is not None:
            scaled *= weight
        level = np.einsum("ij->i", scaled)[:, None] / n
        slope = inverse_std**2 * (np.einsum("ij,ij->i", scaled, x)[:, None] / n - level * mean)
        np.multiply(x, -slope, out=gx)
        gx += scaled
        gx += slope * mean - level
        return gw
    rows_g, *others = as_rows(g, x, gx)
    gw = sum(each_piece(work, rows_g, *others, mean, inverse_std))
    gb, offset = np.concatenate((np.ones_like(mean), mean * inverse_std), 1).T @ rows_g
    return gx, gw - offset, gb


def dropout_forward(xp, x, keep, p):
    """x where `keep` is True, divided by 1 - p, and 0 elsewhere."""
    if not plain(x):
        return kernels.dropout_forward(xp, x, keep, p)
    y = np.empty_like(x)

    def work(x, keep, y):
        np.multiply(keep, 1 / (1 - p), out=y, dtype=np.float32)
        y *= x
    each_piece(work, *flat(x, keep, y))
    return y, None


def dropout_backward(xp, g, saved, wanted, keep, p):
    return dropout_forward(xp, g, keep, p)[0],


def attention_forward(xp, q, k, v, mask, keep, p, scale, is_causal):
    """softmax(q kᵀ · scale + mask) v, a few heads at a time: their scores stay in the cache, and are then forgotten."""
    if not q.dtype == k.dtype == v.dtype == np.float32 or q.ndim < 3 or not q.size * k.size * v.size:
        return kernels.attention_forward(xp, q, k, v, mask, keep, p, scale, is_causal)
    shape = (*q.shape[:-1], k.shape[-2])
    bias = kernels.attention_bias(xp, mask, is_causal, shape, np.float32)
    y, log_sum = np.empty_like(q, shape=(*q.shape[:-1], v.shape[-1])), np.empty((*q.shape[:-1], 1), np.float32)

    def work(piece):
        for rows in row_blocks(shape, piece):
            at = (*piece, ..., rows, slice(None))
            scores, weights = scratch(2, *log_sum[at].shape[:-1], shape[-1])
            np.matmul(q[at] * scale, k[piece].swapaxes(-1, -2), out=scores)
            if bias is not None:
                scores += bias[at]
            total, top = exp_rows(scores, weights)
            total[total == 0] = math.inf        # nothing may be attended to: the result is 0
            log_sum[at][..., 0] = np.log(total) + top
            if keep is not None:
                weights *= keep[at]
                total *= 1 - p
            np.matmul(weights, v[piece], out=y[at])
            y[at] /= total[..., None]
    share(work, heads_at_a_time(shape))
    return y, (q, k, v, y, bias, log_sum)


def attention_backward(xp, g, saved, wanted, mask, keep, p, scale, is_causal):
    """Computes the weights a second time from the sums of their rows (Dao et al. 2022, algorithm 4)."""
    q, k, v, y, bias, log_sum = saved
    if not q.dtype == k.dtype == v.dtype == np.float32 or q.ndim < 3 or not q.size * k.size * v.size:
        return kernels.attention_backward(xp, g, saved, wanted, mask, keep, p, scale, is_causal)
    shape = (*q.shape[:-1], k.shape[-2])
    gq, gk, gv = np.empty_like(q), np.empty_like(k), np.empty_like(v)

    def work(piece):
        for rows in row_blocks(shape, piece):
            at = (*piece, ..., rows, slice(None))
            weights, gscores, kept = scratch(3, *log_sum[at].shape[:-1], shape[-1])
            scaled_q = q[at] * scale
            np.matmul(scaled_q, k[piece].swapaxes(-1, -2), out=weights)
            if bias is not None:
                weights += bias[at]
            weights -= log_sum[at]
            np.exp(weights, out=weights)
            np.matmul(g[at], v[piece].swapaxes(-1, -2), out=gscores)
            if keep is None:
                kept = weights
            else:
                np.multiply(keep[at], 1 / (1 - p), out=kept, dtype=np.float32)
                gscores *= kept
                kept *= weights
            gscores -= np.einsum("...i,...i->...", g[at], y[at])[..., None]
            gscores *= weights
            np.matmul(gscores, k[piece], out=gq[at])
            gq[at] *= scale
            for a, b, out in ((gscores, scaled_q, gk[piece]), (kept, g[at], gv[piece])):
                if rows.start == 0:
                    np.matmul(a.swapaxes(-1, -2), b, out=out)
                else:
                    out += a.swapaxes(-1, -2) @ b
    share(work, heads_at_a_time(shape))
    return gq, gk, gv


def heads_at_a_time(shape):
    """Indices that cut the leading axes of scores of shape (..., T, S) into pieces of about PIECE scores, or one head."""
    axis = next((i for i in range(len(shape) - 2) if math.prod(shape[i + 1:]) <= PIECE), len(shape) - 3)
    step = max(1, PIECE // math.prod(shape[axis + 1:]))
    return [(*lead, slice(i, i + step)) for lead in np.ndindex(*shape[:axis]) for i in range(0, shape[axis], step)]


def row_blocks(shape, piece):
    """Cuts the T rows of a piece where one head alone has more than PIECE scores."""
    step = max(1, PIECE // shape[-1]) if shape[-2] * shape[-1] > PIECE else shape[-2]
    return [slice(i, i + step) for i in range(0, shape[-2], step)]


def cross_entropy_forward(*arguments):
    return kernels.cross_entropy_forward(*arguments, log_sum_exp=log_sum_exp)


def cross_entropy_backward(*arguments):
    return kernels.cross_entropy_backward(*arguments, exp_rows=scaled_exp_rows)


def log_sum_exp(xp, x):
    y = np.empty((len(x), 1), x.dtype)

    def work(x, y):
        y[...] = kernels.log_sum_exp(xp, x)
    each_piece(work, x, y)
    return y


def scaled_exp_rows(xp, x, log_sum, scale):
    y = np.empty_like(x)

    def work(x, log_sum, scale, y):
        np.subtract(x, log_sum[:, None], out=y)
        np.exp(y, out=y)
        y *= scale[:, None]
    each_piece(work, x, log_sum, scale, y)
    return y


def adam_step(xp, param, grad, m, v, **options):
    if not (plain(param) and plain(grad) and plain(m)):
        return kernels.adam_step(xp, param, grad, m, v, **options)
    each_piece(functools.partial(kernels.adam_step, xp, **options), *flat(param, grad, m, v))


def sgd_step(xp, param, grad, velocity, **options):
    if not (plain(param) and plain(grad)):
        return kernels.sgd_step(xp, param, grad, velocity, **options)
    arrays = flat(param, grad) if velocity is None else flat(param, grad, velocity)
    each_piece(lambda param, grad, velocity=None: kernels.sgd_step(xp, param, grad, velocity, **options), *arrays)


table = {
    "gelu": Kernel(gelu_forward, gelu_backward),
    "softmax": Kernel(softmax_forward, softmax_backward),
    "log_softmax": Kernel(log_softmax_forward, log_softmax_backward),
    "layer_norm": Kernel(layer_norm_forward, layer_norm_backward),
    "dropout": Kernel(dropout_forward, dropout_backward),
    "scaled_dot_product_attention": Kernel(attention_forward, attention_backward),
    "cross_entropy": Kernel(cross_entropy_forward, cross_entropy_backward),
    "adam_step": adam_step,
    "sgd_step": sgd_step,
}
