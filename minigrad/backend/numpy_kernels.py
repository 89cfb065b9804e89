"""The kernels again, faster on a CPU: in pieces that stay in a core's cache, shared out over the cores, without large arrays.

They are for float32 arrays that lie in memory in order; whatever else comes is handed back to `kernels`.
"""
from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from . import Kernel, kernels

PIECE = 1 << 16                                 # entries worked on at a time: three such arrays of float32 fit in a core's cache
BLAS_SHARES = 1 << 18                           # OpenBLAS itself shares out a product of more multiplications than this


def _cores() -> int:
    """How many threads to use: one for each core this process may run on, or as many as BLAS was told to use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    return min(cores, int(limit)) if limit.isdigit() and int(limit) else cores


CORES = _cores()


@functools.cache
def _helpers() -> Any:
    from concurrent.futures import ThreadPoolExecutor  # costs as much to import as all of minigrad
    return ThreadPoolExecutor(CORES - 1, "minigrad")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)                   # threads do not survive a fork


def share(work: Callable[[Any], Any], pieces: list, cores: int = CORES) -> list:
    """[work(piece) for piece in pieces] by several threads at once, for NumPy lets go of the interpreter while it computes."""
    results: list = [None] * len(pieces)
    queue = iter(enumerate(pieces))

    def drain():
        with np.errstate(all="ignore"):
            for i, piece in queue:
                results[i] = work(piece)
    helpers = [_helpers().submit(drain) for _ in range(min(cores, len(pieces) // 2) - 1)]
    drain()
    for helper in helpers:
        if not helper.cancel():                 # one that has not begun has nothing left to do
            helper.result()
    return results


def each_piece(work: Callable, *arrays: np.ndarray) -> list:
    """[work(a[i:j], b[i:j], …) for each i:j]: arrays cut along their first axis, the first one into pieces of about PIECE."""
    count, size = len(arrays[0]), arrays[0].size
    step = max(1, PIECE * count // max(1, size))
    return share(lambda i: work(*(array[i:i + step] for array in arrays)), range(0, count, step))


_own = threading.local()


def scratch(*shape: int) -> np.ndarray:
    """This thread's working space, allocated once; the next call gives the same space again."""
    size = math.prod(shape)
    if getattr(_own, "space", np.empty(0)).size < size:
        _own.space = np.empty(size, np.float32)
    return _own.space[:size].reshape(shape)


def flat(*arrays: np.ndarray) -> list[np.ndarray]:
    """Each array as one row: a view, or a copy of a gradient that does not lie in order."""
    return [np.ascontiguousarray(array).reshape(-1) for array in arrays]


def rows(*arrays: np.ndarray) -> list[np.ndarray]:
    """Each array as a matrix with its last axis for rows: a view, or a copy of a gradient that does not lie in order."""
    return [np.ascontiguousarray(array).reshape(-1, array.shape[-1]) for array in arrays]


def _log_odds(x, out, square):
    """log(Φ(-x) / Φ(x)) into `out`, Φ being the normal distribution function; x² is left in `square`.

    Odd, so x times a function of x²: the best rational of degree 3 over 3 in the relative error of erf(x/√2) = tanh(-½ log …)
    in 0 < x < 6 (3e-9; least squares at 3000 Chebyshev points, reweighted until the largest error was least), as a continued
    fraction.
    """
    np.multiply(x, x, out=square)
    np.add(square, 37.445206966, out=out)
    np.divide(1096.44704976, out, out=out)
    out += square
    out -= 24.154402148
    np.divide(-21.939575656, out, out=out)
    out += square
    out += 132.527319228
    np.divide(1011.24518935, out, out=out)
    out -= 9.48084044
    out *= x


def erf(x: np.ndarray) -> np.ndarray:
    """The error function: exact in float64, correctly rounded but for 1 entry in 20 or so in float32 (computed in float64)."""
    if x.dtype == np.float64:
        return np.vectorize(math.erf, otypes=[np.float64])(x)
    wide = x.astype(np.float64).reshape(-1) * math.sqrt(2)
    odds = np.empty_like(wide)
    _log_odds(wide, odds, np.empty_like(wide))
    return np.tanh(-0.5 * odds).astype(x.dtype).reshape(x.shape)


def gelu_forward(xp, x, approximate):
    """x Φ(x), as x / (1 + Φ(-x) / Φ(x)); keeps its result as well, which the next layer keeps anyway."""
    y = np.empty_like(x)

    def work(x, y):
        square = scratch(x.size)
        if approximate == "tanh":
            np.multiply(x, x, out=square)
            np.multiply(square, -kernels.GELU_TANH[1], out=y)
            y -= kernels.GELU_TANH[0]
            y *= x
        else:
            _log_odds(x, y, square)
        np.exp(y, out=y)
        y += 1
        np.divide(x, y, out=y)
    each_piece(work, *flat(x, y))
    return y, (x, y)


def gelu_backward(xp, g, saved, wanted, approximate):
    """g (Φ(x) + x Φ'(x)) with Φ(x) read off as y / x, which the two tiny numbers make 1/2 at x = 0."""
    gx = np.empty_like(saved[0])

    def work(g, x, y, gx):
        slope = scratch(x.size)
        np.add(x, 2e-37, out=slope)
        np.add(y, 1e-37, out=gx)
        gx /= slope
        np.multiply(x, x, out=slope)
        if approximate == "tanh":               # Φ is the logistic function of a x + b x³
            slope *= 3 * kernels.GELU_TANH[1]
            slope += kernels.GELU_TANH[0]
            slope *= gx
            slope *= 1 - gx
        else:
            slope *= -0.5
            np.exp(slope, out=slope)
            slope *= 1 / math.sqrt(2 * math.pi)
        slope *= x
        gx += slope
        gx *= g
    each_piece(work, *flat(g, *saved, gx))
    return gx,


def _exp_rows(x, out):
    """exp(x) into `out`, without looking for the largest entry of each row if it turns out that no row needed it.

    Returns the sum of each row, and what was subtracted from it first.
    """
    np.exp(x, out=out)
    total = np.einsum("...i->...", out)
    if total.min() > 1e-20 and total.max() < 1e20:                             # nothing that matters over- or underflowed
        return total, 0
    top = x.max(-1)
    top[top == -math.inf] = 0
    np.exp(np.subtract(x, top[..., None], out=out), out=out)
    return np.einsum("...i->...", out), top


def softmax_forward(xp, x, axis):
    y = np.empty_like(x)

    def work(x, y):
        y /= _exp_rows(x, y)[0][:, None]
    each_piece(work, *rows(x, y))
    return y, y


def softmax_backward(xp, g, y, wanted, axis):
    gx = np.empty_like(y)

    def work(g, y, gx):
        np.subtract(g, np.einsum("ij,ij->i", g, y)[:, None], out=gx)
        gx *= y
    each_piece(work, *rows(g, y, gx))
    return gx,


def log_softmax_forward(xp, x, axis):
    y = np.empty_like(x)

    def work(x, y):
        np.subtract(x, x[np.arange(len(x)), x.argmax(1), None], out=y)         # several times faster than x.max(1)
        y -= np.log(np.einsum("ij->i", np.exp(y, out=scratch(*y.shape))))[:, None]
    each_piece(work, *rows(x, y))
    return y, y


def log_softmax_backward(xp, g, y, wanted, axis):
    gx = np.empty_like(y)

    def work(g, y, gx):
        np.exp(y, out=gx)
        gx *= -np.einsum("ij->i", g)[:, None]
        gx += g
    each_piece(work, *rows(g, y, gx))
    return gx,


def layer_norm_forward(xp, x, weight, bias, eps):
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
    each_piece(work, *rows(x, y), mean, inverse_std)
    return y, (x, weight, mean, inverse_std)


def layer_norm_backward(xp, g, saved, wanted, eps):
    x, weight, mean, inverse_std = saved
    gx, n = np.empty_like(x), x.shape[-1]
    g, *others = rows(g, x, gx)

    def work(g, x, gx, mean, inverse_std):
        scaled = scratch(*x.shape)
        np.multiply(g, inverse_std, out=scaled)
        gw = np.einsum("ij,ij->j", scaled, x)
        if weight is not None:
            scaled *= weight
        level = np.einsum("ij->i", scaled)[:, None] / n                        # gx = scaled - mean(scaled) - unit · mean(…)
        slope = inverse_std**2 * (np.einsum("ij,ij->i", scaled, x)[:, None] / n - level * mean)
        np.multiply(x, -slope, out=gx)
        gx += scaled
        gx += slope * mean - level
        return gw
    gw = sum(each_piece(work, g, *others, mean, inverse_std))
    gb, at_mean = np.concatenate((np.ones_like(mean), mean * inverse_std), 1).T @ g
    return gx, gw - at_mean, gb


def dropout_forward(xp, x, keep, p):
    y = np.empty_like(x)

    def work(x, keep, y):
        np.multiply(keep, 1 / (1 - p), out=y, dtype=np.float32)
        y *= x
    each_piece(work, *flat(x, keep, y))
    return y, None


def dropout_backward(xp, g, saved, wanted, keep, p):
    return dropout_forward(xp, g, keep, p)[0],


def scaled_dot_product_attention_forward(xp, q, k, v, mask, keep, p, scale, is_causal):
    """A few heads at a time: their scores stay in the cache, and are then forgotten."""
    *lead, T, S = shape = (*q.shape[:-1], k.shape[-2])
    bias = kernels.attention_bias(xp, mask, is_causal, shape, np.float32)
    y = np.empty_like(q, shape=(*q.shape[:-1], v.shape[-1]))
    log_sum = np.empty((*lead, T, 1), np.float32)
    blocks, share_heads = _attention_blocks(shape, q.shape[-1], is_causal)

    def work(heads):
        for block, end in blocks:
            here = (*heads, ..., block, slice(None))
            scaled_q = q[here] * scale
            scores, weights = scratch(2, *scaled_q.shape[:-1], end)
            np.matmul(scaled_q, k[heads][..., :end, :].swapaxes(-1, -2), out=scores)
            if bias is not None:
                scores += bias[here][..., :end]
            total, top = _exp_rows(scores, weights)
            total[total == 0] = math.inf        # nothing may be attended to: the result is 0
            log_sum[here][..., 0] = np.log(total) + top
            if keep is not None:
                weights *= keep[here][..., :end]
                total *= 1 - p
            np.matmul(weights, v[heads][..., :end, :], out=y[here])
            y[here] /= total[..., None]
    share_heads(work)
    return y, (q, k, v, y, bias, log_sum)


def scaled_dot_product_attention_backward(xp, g, saved, wanted, mask, keep, p, scale, is_causal):
    """Computes the weights a second time, from the sums of their rows (Dao et al. 2022, algorithm 4)."""
    q, k, v, y, bias, log_sum = saved
    gq, gk, gv = np.empty_like(q), np.empty_like(k), np.empty_like(v)
    blocks, share_heads = _attention_blocks((*q.shape[:-1], k.shape[-2]), q.shape[-1], is_causal)

    def work(heads):
        if len(blocks) > 1:
            gk[heads] = gv[heads] = 0
        for block, end in blocks:
            here, seen = (*heads, ..., block, slice(None)), (*heads, ..., slice(end), slice(None))
            scaled_q = q[here] * scale
            weights, gscores, kept = scratch(3, *scaled_q.shape[:-1], end)
            np.matmul(scaled_q, k[seen].swapaxes(-1, -2), out=weights)
            if bias is not None:
                weights += bias[here][..., :end]
            weights -= log_sum[here]
            np.exp(weights, out=weights)
            np.matmul(g[here], v[seen].swapaxes(-1, -2), out=gscores)
            if keep is None:
                kept = weights
            else:
                np.multiply(keep[here][..., :end], 1 / (1 - p), out=kept, dtype=np.float32)
                gscores *= kept
                kept *= weights
            gscores -= np.einsum("...i,...i->...", g[here], y[here])[..., None]
            gscores *= weights
            np.matmul(gscores, k[seen], out=gq[here])
            gq[here] *= scale
            for a, b, out in ((gscores, scaled_q, gk), (kept, g[here], gv)):
                if len(blocks) == 1:
                    np.matmul(a.swapaxes(-1, -2), b, out=out[heads])
                else:
                    out[seen] += a.swapaxes(-1, -2) @ b
    share_heads(work)
    return gq, gk, gv


def _attention_blocks(shape, size, is_causal):
    """How to cut scores (…, T, S): blocks of queries, each with how many keys it sees, and a way to go through all heads."""
    *lead, T, S = shape
    step = min(T, 64 if is_causal else max(1, PIECE // S))
    blocks = [(slice(i, i + step), min(S, i + step) if is_causal else S) for i in range(0, T, step)]
    axis = next((i for i in range(len(lead)) if math.prod(lead[i + 1:]) * step * S <= PIECE), len(lead) - 1)
    some = max(1, PIECE // (math.prod(lead[axis + 1:]) * step * S))
    heads = [(*first, slice(i, i + some)) for first in np.ndindex(*lead[:axis]) for i in range(0, lead[axis], some)]
    return blocks, lambda work: share(work, heads, CORES if step * S * size <= BLAS_SHARES else 1)


def cross_entropy_forward(*arguments):
    return kernels.cross_entropy_forward(*arguments, log_sum_exp=_log_sum_exp)


def cross_entropy_backward(*arguments):
    return kernels.cross_entropy_backward(*arguments, exp_rows=_scaled_exp)


def _log_sum_exp(xp, x):
    pieces = each_piece(functools.partial(kernels.log_sum_exp, xp), x)
    return np.concatenate(pieces) if pieces else kernels.log_sum_exp(xp, x)


def _scaled_exp(xp, x, log_sum, scale):
    y = np.empty_like(x)

    def work(x, log_sum, scale, y):
        np.subtract(x, log_sum[:, None], out=y)
        np.exp(y, out=y)
        y *= scale[:, None]
    each_piece(work, x, log_sum, scale, y)
    return y


def adam_step(xp, param, grad, m, v, **options):
    if not all(a.flags.c_contiguous for a in (param, m, v)):
        return kernels.adam_step(xp, param, grad, m, v, **options)
    each_piece(functools.partial(kernels.adam_step, xp, **options), *flat(param, grad, m, v))


def sgd_step(xp, param, grad, velocity, **options):
    arrays = [a for a in (param, grad, velocity) if a is not None]
    each_piece(lambda param, grad, velocity=None: kernels.sgd_step(xp, param, grad, velocity, **options), *flat(*arrays))


def plain(x, *rest):
    """Float32, in order, and not so small that cutting it up costs more than computing it."""
    return x.dtype == np.float32 and x.flags.c_contiguous and x.size > 1024


def plain_rows(x, axis):
    return plain(x) and axis in (-1, x.ndim - 1)


def plain_heads(q, k, v, *rest):
    return q.dtype == k.dtype == v.dtype == np.float32 and q.ndim > 2 and q.size and k.size and v.size


def _where(fits, name):
    """The kernel of this name here for inputs that fit, the generic one for others; what is saved says which it was."""
    ours, generic = Kernel(globals()[f"{name}_forward"], globals()[f"{name}_backward"]), kernels.table[name]

    def forward(xp, *arguments):
        chosen = ours if fits(*arguments) else generic
        y, saved = chosen.forward(xp, *arguments)
        return y, (chosen, saved)

    def backward(xp, g, saved, wanted, *options):
        chosen, saved = saved
        return chosen.backward(xp, g, saved, wanted, *options)
    return Kernel(forward, backward)


table = {
    "gelu": _where(plain, "gelu"),
    "softmax": _where(plain_rows, "softmax"),
    "log_softmax": _where(plain_rows, "log_softmax"),
    "layer_norm": _where(plain, "layer_norm"),
    "dropout": _where(plain, "dropout"),
    "scaled_dot_product_attention": _where(plain_heads, "scaled_dot_product_attention"),
    "cross_entropy": Kernel(cross_entropy_forward, cross_entropy_backward),
    "adam_step": adam_step,
    "sgd_step": sgd_step,
}
