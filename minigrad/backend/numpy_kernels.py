"""The kernels again, faster on a CPU: in pieces that stay in a core's cache, shared out over the cores, without large arrays.

They are for float32 arrays; whatever else comes is handed back to `kernels`, or, where only products are made, to NumPy.
"""
from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import Kernel, cores, images, kernels, mkl
from .blas import UNCOPIED, gemm
from .cores import cuts, each_piece, evenly, scratch, share

ASLEEP = 1 << 18                                # multiplications below which OpenBLAS does not wake its threads
PRODUCT = 1 << 23                               # multiplications below which a matrix product is not worth waking a thread for;
SHORT, LONG = 1 << 19, 1 << 26                  # ... below which not even one of MKL's, and above which ours do it as well
WRITTEN = 4                                     # texts written at once, for which OpenBLAS's threads are quicker than one


def flat(out: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Each array as one row, in the order in which the first lies in memory: a view of it, and of those that lie as it does.

    It must have no gaps, as what `empty_like` makes has none, or what is written there is lost.
    """
    arrays = [out, *others]
    if not out.flags.c_contiguous:
        order = np.argsort(out.strides, kind="stable")[::-1]
        arrays = [array.transpose(order) for array in arrays]
    return [images.in_order(array).reshape(-1) for array in arrays]


def rows(*arrays: np.ndarray) -> list[np.ndarray]:
    """Each array as a matrix with its last axis for rows: a view, or a copy of what does not lie in order."""
    return [images.in_order(array).reshape(math.prod(array.shape[:-1]), array.shape[-1]) for array in arrays]


def matrix(x: np.ndarray) -> np.ndarray:
    """The array as a matrix: `rows`, except that BLAS reads a matrix that is transposed as it lies."""
    return x if x.ndim == 2 and x.flags.f_contiguous else rows(x)[0]


def product(a: np.ndarray, b: np.ndarray, out: np.ndarray, bias: np.ndarray | None = None) -> list[Callable[[], None]]:
    """What there is to do for the matrix product a b, plus a bias: for each core an equal part of a's rows or of b's columns.

    Of a short one MKL, if it is there, makes such parts itself: it wakes its threads sooner than we ours.
    """
    if bias is None and out.flags.f_contiguous and not out.flags.c_contiguous:
        a, b, out = b.T, a.T, out.T             # BLAS writes rows
    across, size = b.shape[1] > len(a), a.size * b.shape[1]
    count, by_mkl = b.shape[1] if across else len(a), SHORT <= size < LONG and out.dtype == np.float32 and mkl.tbb() is not None
    step = max(1, -(-count // (cores.CORES if size >= PRODUCT and not by_mkl else 1)))

    def work(i):
        rows, columns = (slice(None), slice(i, i + step)) if across else (slice(i, i + step), slice(None))
        if bias is not None:
            out[rows, columns] = bias[columns]               # BLAS adds to what is there in as much time as it takes to clear it
        gemm(a[rows], b[:, columns], out[rows, columns], add=bias is not None, threads=cores.CORES if by_mkl else 1)
    return [functools.partial(work, i) for i in range(0, count, step)]


def do(*works: list[Callable[[], Any]]) -> None:
    """All parts of these works: on all cores, if one of them was cut up for them."""
    parts = [part for work in works for part in work]
    if any(len(work) > 1 for work in works):
        share(lambda part: part(), parts)
    else:
        share(lambda parts: [part() for part in parts], [parts])


def products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The matrix products of two stacks, (…, m, k) and (…, k, n), on all cores.  Of a large one no overflow is reported.

    OpenBLAS's own threads, once woken, go on spinning for a while, and take the cores from all that comes next.
    """
    if a.size * b.shape[-1] < ASLEEP or a.dtype != b.dtype or a.dtype.kind != "f" or a.shape[-1] != b.shape[-2]:
        return a.dot(b) if a.ndim == b.ndim == 2 else np.matmul(a, b)          # the first is quicker to begin
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = np.empty((*lead, a.shape[-2], b.shape[-1]), a.dtype)
    if b.ndim == 2:
        do(product(matrix(a), b, rows(y)[0]))
        return y
    a, b = (np.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (a, b))
    if math.prod(lead) < 4 * cores.CORES:
        do(*(product(a[i], b[i], y[i]) for i in np.ndindex(lead)))
        return y
    axis = next(i for i in range(len(lead)) if math.prod(lead[:i + 1]) >= cores.CORES)
    parts = evenly(lead[axis], lead[axis], -(-cores.CORES // math.prod(lead[:axis])))
    share(lambda i: np.matmul(a[i], b[i], out=y[i]), [(*first, part) for first in np.ndindex(lead[:axis]) for part in parts])
    return y


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of two vectors, on one core: of long ones OpenBLAS would wake its threads (see `products`)."""
    return a.dot(b) if a.size <= 10_000 else share(lambda pair: pair[0].dot(pair[1]), [(a, b)])[0]


def matmul_forward(xp, a, b):
    return products(a, b), (a, b)


def matmul_backward(xp, g, saved, wanted):
    a, b = saved
    ga = products(g, b.swapaxes(-1, -2)) if wanted[0] else None
    if wanted[1] and b.ndim == 2:               # one product for the whole stack
        a, g = matrix(a), matrix(g)
    return ga, products(a.swapaxes(-1, -2), g) if wanted[1] else None


def linear_forward(xp, x, weight, bias):
    y = np.empty((*x.shape[:-1], len(weight)), x.dtype if x.dtype is weight.dtype else np.result_type(x, weight))
    (into,), x_rows = rows(y), matrix(x)
    if x.ndim > 2 and len(x_rows) <= (WRITTEN if mkl.tbb() is None else 1):
        # A model writes, a token at a time: all its products are so short that OpenBLAS's threads, spinning in between, are the
        # quickest.  (Woken for one row of a classifier, they would take the cores from what comes after it: see `products`.)
        (np.matmul if len(x_rows) == 1 else gemm)(x_rows, weight.T, out=into)
        if bias is not None:
            into += bias
    else:
        do(product(x_rows, weight.T, into, bias))
    return y, (x, weight)


def linear_backward(xp, g, saved, wanted):
    x, weight = saved
    gx, gw = (np.empty_like(a, g.dtype, order="A" if a.ndim == 2 else "C") if want else None
              for a, want in zip((x, weight), wanted))
    g, x, ones = matrix(g), matrix(x), np.ones((1, g.size // (g.shape[-1] or 1)), g.dtype)
    gb = np.empty((1, len(weight)), g.dtype) if wanted[2] else None
    do(product(g, weight, matrix(gx)) if wanted[0] else [], product(g.T, x, gw) if wanted[1] else [],
       product(ones, g, gb) if wanted[2] else [])
    return gx, gw, gb if gb is None else gb[0]


def _log_odds(x, out, square):
    """log(Φ(-x) / Φ(x)) into `out`, Φ being the normal distribution function; x² is left in `square`.

    It is x times a function of x².  This is the rational function of degree 3 over 3, as a continued fraction, whose largest
    relative error in erf(x/√2) = tanh(-½ log …) over 0 < x < 6 is least: 3e-9.  (Least squares in float64 at 3000 Chebyshev
    points, the points with large errors given more and more weight.)
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
    """The error function: exact in float64; in float32 within 0.6 units in the last place (by way of float64)."""
    if x.dtype == np.float64:
        return np.vectorize(math.erf, otypes=[np.float64])(x)
    wide = x.astype(np.float64).reshape(-1) * math.sqrt(2)
    odds = np.empty_like(wide)
    _log_odds(wide, odds, np.empty_like(wide))
    return np.tanh(-0.5 * odds).astype(x.dtype).reshape(x.shape)


def gelu_forward(xp, x, bias, approximate):
    """x Φ(x), as x / (1 + Φ(-x) / Φ(x)); keeps its result as well, to read Φ off on the way back.

    MKL computes Φ in a third of the time; with it Φ is computed once more instead, and the result not kept.  (Its exp is not
    used: it takes forty times as long where the result is 0.)
    """
    y, normal = np.empty_like(x, order="K" if bias is None else "C"), mkl.of_array("vsCdfNorm") if approximate == "none" else None

    def work(y, x):
        sums, square = scratch(2, *x.shape)
        if bias is not None:
            x = np.add(x, bias, out=sums)
        if normal is not None:
            normal(x.size, x.ctypes.data, y.ctypes.data)
            y *= x
            return
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
    each_piece(work, *(flat if bias is None else rows)(y, x))
    return y, (x, bias, y if normal is None else None, normal)


def gelu_backward(xp, g, saved, wanted, approximate):
    """g (Φ(x) + x Φ'(x)) with Φ(x) from MKL, or read off as y / x, which the two tiny numbers make 1/2 at x = 0."""
    x, bias, y, normal = saved
    as_lines = rows if wanted[1] or bias is not None else flat
    gx = np.empty_like(x, order="C" if as_lines is rows else "K")

    def work(gx, g, x, y=None):
        sums, slope = scratch(2, *x.shape)
        if bias is not None:
            x = np.add(x, bias, out=sums)
        if normal is not None:
            normal(x.size, x.ctypes.data, gx.ctypes.data)
        else:
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
        return _sum(gx, -2) if wanted[1] else None
    sums = each_piece(work, *as_lines(gx, g, x, *([] if y is None else [y])))
    return gx if wanted[0] else None, sum(sums) if wanted[1] else None


def _exp(x, out, limit, axis=-1):
    """exp(x) into `out`; what is largest along the axis is subtracted first only if some sum is not within 1 / limit to limit.

    Returns the sums, and what was subtracted.
    """
    np.exp(x, out=out)
    total = _sum(out, axis)
    if total.min() > 1 / limit and total.max() < limit:                        # nothing that matters over- or underflowed
        return total, 0
    top = x.max(axis)
    top[top == -math.inf] = 0
    np.exp(np.subtract(x, np.expand_dims(top, axis), out=out), out=out)
    return _sum(out, axis), top


def _sum(x, axis):
    """The sums along the last axis, or the last but one, each in the way that is quickest."""
    return np.einsum("...i->...", x) if axis == -1 else np.matmul(np.ones((1, x.shape[-2]), np.float32), x)[..., 0, :]


def softmax_forward(xp, x, axis):
    y = np.empty(x.shape, x.dtype)

    def work(x, y):
        y *= 1 / _exp(x, y, 1e20)[0][:, None]
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
    y = np.empty(x.shape, x.dtype)

    def work(x, y):
        total, top = _exp(x, y, 1e6)       # a tighter limit: of a large log(total), fewer digits are behind the point
        if np.ndim(top):
            x = x - top[:, None]
        np.subtract(x, np.log(total)[:, None], out=y)
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
    y, n = np.empty(x.shape, x.dtype), x.shape[-1]
    mean, inverse_std = np.empty((2, x.size // n, 1), np.float32)
    each = np.full(n, 1 / n, np.float32)

    def work(x, y, mean, inverse_std):
        np.matmul(x, each, out=mean[:, 0])
        np.subtract(x, mean, out=y)
        inverse_std[:, 0] = 1 / np.sqrt(np.vecdot(y, y) / n + eps)
        y *= inverse_std
        if weight is not None:
            y *= weight
        if bias is not None:
            y += bias
    each_piece(work, *rows(x, y), mean, inverse_std)
    return y, (x, weight, mean, inverse_std)


def layer_norm_backward(xp, g, saved, wanted, eps):
    """gx = inverse_std · (scaled - mean(scaled) - unit · mean(scaled · unit)); scaled is g · weight, unit the normalised x.

    The sums along rows and columns are products with vectors, which BLAS does as fast as the numbers come.
    """
    x, weight, mean, inverse_std = saved
    gx, n = np.empty(x.shape, x.dtype), x.shape[-1]
    each = np.full(n, 1 / n, np.float32) if weight is None else weight / np.float32(n)

    def work(g, x, gx, mean, inverse_std):
        product = np.multiply(g, x, out=scratch(*x.shape))
        across, down = inverse_std[:, 0], np.ones(len(g), np.float32)
        gw, gb = across @ product - (mean[:, 0] * across) @ g, down @ g
        level = (g @ each)[:, None]
        slope = inverse_std**3 * ((product @ each)[:, None] - mean * level)    # of -x in gx
        np.multiply(g, inverse_std, out=gx)
        if weight is not None:
            gx *= weight
        gx -= np.multiply(x, slope, out=product)
        gx += slope * mean - inverse_std * level
        return gw, gb
    gw, gb = (sum(parts) for parts in zip(*each_piece(work, *rows(g, x, gx), mean, inverse_std)))
    return tuple(gradient if want else None for gradient, want in zip((gx, gw, gb), wanted))


def dropout_forward(xp, x, keep, p):
    y = np.empty_like(x)

    def work(y, x, keep):
        np.multiply(keep, 1 / (1 - p), out=y, dtype=np.float32)
        y *= x
    each_piece(work, *flat(y, x, keep))
    return y, None


def dropout_backward(xp, g, saved, wanted, keep, p):
    return dropout_forward(xp, g, keep, p)[0],


def attention_forward(xp, q, k, v, mask, keep, p, scale, is_causal):
    """A few heads at a time: their scores stay in the cache, and are then forgotten.

    Scores are laid down as (…, keys, queries): a matrix of which BLAS reads the rows is one that it need not copy.
    """
    shape = (*q.shape[:-1], k.shape[-2])        # of all scores: (…, T, S)
    bias = kernels.attention_bias(xp, mask, False, shape, np.float32)
    y = np.empty_like(q, shape=(*q.shape[:-1], v.shape[-1]))
    log_sum = np.empty(q.shape[:-1], np.float32)
    some_heads, blocks = _tiles(shape, q.shape[-1], is_causal)

    def work(heads):
        for queries, keys in blocks:
            here, seen, tile = (*heads, ..., queries, slice(None)), (*heads, ..., keys, slice(None)), (*heads, ..., queries, keys)
            scores, weights = scratch(2, *q[here].shape[:-2], keys.stop, q[here].shape[-2])
            _scores(k[seen], _turned(q[here], scale), bias, tile, is_causal, out=scores)
            total, top = _exp(scores, weights, 1e20, axis=-2)
            total[total == 0] = math.inf        # nothing may be attended to: the result is 0
            log_sum[(*heads, ..., queries)] = np.log(total) + top
            if keep is not None:
                weights *= keep[tile].swapaxes(-1, -2)
                total *= 1 - p
            found = np.matmul(weights.swapaxes(-1, -2), v[seen])
            found *= 1 / total[..., None]
            y[here] = found
    share(work, some_heads)
    return y, (q, k, v, y, bias, log_sum)


def attention_backward(xp, g, saved, wanted, mask, keep, p, scale, is_causal):
    """Computes the weights a second time, from the sums of their rows (Dao et al. 2022, algorithm 4)."""
    q, k, v, y, bias, log_sum = saved
    gq, gk, gv = (np.empty_like(x) if want else None for x, want in zip((q, k, v), wanted))
    some_heads, blocks = _tiles((*q.shape[:-1], k.shape[-2]), q.shape[-1], is_causal)

    def work(heads):
        all_keys, all_values = _with_ones(k[heads]), _with_ones(v[heads])
        sums = [x is not None and np.zeros(x[heads].shape, np.float32) for x in (gk, gv)]
        dots = np.vecdot(g[heads], y[heads])    # Σ weights · their gradients, over the shorter axis
        for queries, keys in reversed(blocks):  # the first one sees all keys that any sees
            here, tile = (*heads, ..., queries, slice(None)), (*heads, ..., queries, keys)
            weights, gscores, kept = scratch(3, *q[here].shape[:-2], keys.stop, q[here].shape[-2])
            turned, drop = _turned(q[here], scale, -log_sum[(*heads, ..., queries)]), dots[..., queries]
            _scores(all_keys[..., keys, :], turned, bias, tile, is_causal, out=weights)
            np.exp(weights, out=weights)
            if keep is None:
                np.matmul(all_values[..., keys, :], _turned(g[here], 1, -drop), out=gscores)
                kept = weights
            else:
                np.matmul(all_values[..., keys, :-1], _turned(g[here], 1), out=gscores)
                np.multiply(keep[tile].swapaxes(-1, -2), 1 / (1 - p), out=kept, dtype=np.float32)
                gscores *= kept
                gscores -= drop[..., None, :]
                kept *= weights
            gscores *= weights
            if wanted[0]:
                found = np.matmul(gscores.swapaxes(-1, -2), all_keys[..., keys, :-1])
                found *= scale
                gq[here] = found
            for a, b, total in ((gscores, q, sums[0]), (kept, g, sums[1])):
                if total is not False and queries is blocks[-1][0]:
                    np.matmul(a, b[here], out=total[..., keys, :])
                elif total is not False:
                    total[..., keys, :] += np.matmul(a, b[here])
        if gk is not None:
            np.multiply(sums[0], scale, out=gk[heads])
        if gv is not None:
            gv[heads] = sums[1]
    share(work, some_heads)
    return gq, gk, gv


def _tiles(shape, width, is_causal):
    """How to cut scores (…, T, S) of heads so wide: indices of some heads; blocks of queries and the keys they may see.

    A block of some heads is a PIECE of scores or two, or more where one head has so many keys.  BLAS is quickest at what is small
    enough not to be copied first, and else at long blocks; short ones compute fewer scores of keys that are masked.
    """
    *lead, T, S = shape
    most = UNCOPIED // max(1, S * width) // 16 * 16          # queries (the numbers below were found by timing)
    if most < 64:
        most = min(256, -(-T // 256) * 64) if is_causal else 256
    elif is_causal:
        most = min(most, 112)
    step = -(-T // -(-T // most))
    step = min(T, step + -step % 16)            # rows of scores begin where a vector of the processor does
    limit = cores.PIECE if step <= 64 else 2 * cores.PIECE
    blocks = [(slice(i, i + step), slice(min(S, i + step) if is_causal else S)) for i in range(0, T, step)]
    many = cores.CORES if math.prod(shape) >= cores.SHARED else 1

    def fits(i):
        pieces = math.prod(lead[:i + 1])
        return math.prod(lead[i + 1:]) * step * S <= limit and (not pieces % many or pieces >= 4 * many)
    axis = next(filter(fits, range(len(lead))), len(lead) - 1)
    parts = evenly(lead[axis], limit // (math.prod(lead[axis + 1:]) * step * S), many)
    heads = [(*first, part) for first in np.ndindex(*lead[:axis]) for part in parts]
    return heads, blocks


@functools.lru_cache(8)
def _earlier(keys: int, queries: int) -> np.ndarray:
    """What is added to the score of a key (row) and a query: -inf, if the query comes before the key."""
    return np.tril(np.full((keys, queries), -math.inf, np.float32), -1)


def _turned(q, scale, last=None):
    """Queries (…, T, d), scaled, as (…, d, T), in order; with a last row that is added to every score, if there is one."""
    T, d = q.shape[-2:]
    turned = np.empty((*q.shape[:-2], d + (last is not None), T), np.float32)
    np.multiply(q.swapaxes(-1, -2), scale, out=turned[..., :d, :])
    if last is not None:
        turned[..., d, :] = last
    return turned


def _with_ones(k):
    """Keys (…, S, d) beside a column of ones, (…, S, d + 1), each row as far from the next as BLAS likes it."""
    beside = np.empty((*k.shape[:-1], k.shape[-1] + 16), np.float32)[..., :k.shape[-1] + 1]
    beside[..., :-1], beside[..., -1] = k, 1
    return beside


def _scores(k, q, bias, tile, is_causal, out):
    """The masked scores of one tile, of keys (…, S, d) and queries (…, d, T)."""
    np.matmul(k, q, out=out)
    if bias is not None:
        out += bias[tile].swapaxes(-1, -2)
    if is_causal:
        corner = out[..., tile[-2].start:, :]
        corner += _earlier(*corner.shape[-2:])


def _log_sum_exp(xp, x):
    def work(x):
        total, top = _exp(x, scratch(*x.shape), 1e6)         # of a large logarithm fewer digits are behind the point
        total[total == 0] = math.inf
        return np.log(total) + top
    return np.concatenate(each_piece(work, x))[:, None]


def _scaled_exp(xp, x, log_sum, scale):
    """exp(x - log_sum) · scale, with one of both for each row, as exp(x - (log_sum - log |scale|)), with its sign."""
    y = np.empty_like(x)

    def work(x, log_sum, scale, y):
        np.subtract(x, (log_sum - np.log(np.abs(scale)))[:, None], out=y)
        np.exp(y, out=y)
        if scale.min(initial=0) < 0:
            y *= np.sign(scale)[:, None]
    each_piece(work, x, log_sum, scale, y)
    return y


cross_entropy_forward = functools.partial(kernels.cross_entropy_forward, log_sum_exp=_log_sum_exp)
cross_entropy_backward = functools.partial(kernels.cross_entropy_backward, exp_rows=_scaled_exp)


def embedding_backward(xp, g, shape, wanted, ids):
    gw = np.zeros(shape, g.dtype)
    embedding_add(xp, gw, g, shape, ids)
    return gw,


def embedding_add(xp, total, g, shape, ids):
    """Row by row: numpy.add.at takes several times as long for rows, and adds them in the same order."""
    for i, row in zip(ids.reshape(-1).tolist(), *rows(g)):
        total[i] += row


def at_once(step):
    """An optimiser's step for many parameters, in pieces that are shared out together: one wait for all of them.

    What does not lie in order is a piece as it is, for all but the gradient are written into.
    """
    def run(xp, parameters, **options):
        pieces = []
        for arrays in parameters:
            there = [array for array in arrays if array is not None]
            if all(array.flags.c_contiguous for array in there):
                lines = [None if array is None else array.reshape(-1) for array in arrays]
                parts = cuts(there[0].size, there[0].size)
                pieces += [[None if line is None else line[part] for line in lines] for part in parts]
            else:
                pieces.append(arrays)
        _share_all(lambda arrays: step(xp, *arrays, **options), pieces)
    return run


def _share_all(work, pieces):
    """[work(piece) for piece in pieces], tuples of arrays; where these are few entries in all, on this thread."""
    if sum(piece[0].size for piece in pieces) < cores.SHARED:
        return [work(piece) for piece in pieces]
    return share(work, pieces)


def square_sums(xp, arrays):
    lines = [array.reshape(-1) for array in arrays]
    pieces = [(line[part], i) for i, line in enumerate(lines) for part in cuts(line.size, line.size)]
    total = [0.0] * len(arrays)
    for (_, i), square in zip(pieces, _share_all(lambda piece: float(kernels.square_sum(xp, piece[0])), pieces)):
        total[i] += square
    return total


def scale(xp, arrays, factor):
    at_once(lambda xp, array: np.multiply(array, factor, out=array))(xp, [(array,) for array in arrays])


def in_parts(function, a, b):
    """function(a, b) of an a without gaps and what is broadcast to it: an equal part on each core, for memory takes the time.

    The result lies as a does.  NumPy warns, or raises, as it would on the thread that calls.
    """
    b = np.broadcast_to(np.asarray(b, a.dtype), a.shape)
    if images.lies_by_pixel(a):
        return images.by_sample(in_parts(function, images.by_pixel(a), images.by_pixel(b)))
    if not a.flags.c_contiguous:
        return function(a, b)
    if all(b.strides):                          # not broadcast
        b = images.in_order(b)
    y, errors = np.empty(a.shape, a.dtype), np.geterr()
    out = y
    if b.flags.c_contiguous or not any(b.strides):           # however few there are along the first axis
        out, a = flat(y, a)
        b = b.reshape(-1) if b.flags.c_contiguous else np.broadcast_to(b.reshape(-1)[:1], a.shape)
    while len(a) == 1:
        a, b, out = a[0], b[0], out[0]
    step = -(-len(a) // cores.CORES)

    def work(i):
        with np.errstate(**errors):
            function(a[i:i + step], b[i:i + step], out=out[i:i + step])
    share(work, range(0, len(a), step))
    return y


def plain(x, *rest):
    """Float32, and not so small that cutting it up takes longer than computing it."""
    return x.dtype == np.float32 and x.size > 1024


def plain_matrix(x, *rest):
    """... and in order."""
    return plain(x) and x.flags.c_contiguous


def plain_rows(x, axis):
    return plain(x) and axis in (-1, x.ndim - 1)


def plain_heads(q, k, v, *rest):
    """Float32, several heads, and more than one query on few keys, which is what a writing model asks, a token at a time."""
    few = q.shape[-2] == 1 and k.size < cores.PIECE
    return q.dtype == k.dtype == v.dtype == np.float32 and q.ndim > 2 and min(q.size, k.size, v.size) > 0 and not few


def where(fits, name, *ours):
    """A kernel that is `ours` for inputs that fit and the generic one for others; what it saves says which it was."""
    ours, generic = Kernel(*ours), kernels.table[name]

    def alone(xp, *arguments):
        return ours.alone(xp, *arguments) if fits(*arguments) else generic.forward(xp, *arguments)[0]

    def forward(xp, *arguments):
        chosen = ours if fits(*arguments) else generic
        y, saved = chosen.forward(xp, *arguments)
        return y, (chosen, saved)

    def backward(xp, g, saved, wanted, *options):
        chosen, saved = saved
        return chosen.backward(xp, g, saved, wanted, *options)
    return Kernel(forward, backward, ours.alone and alone)


table = {
    "matmul": kernels.with_vectors(Kernel(matmul_forward, matmul_backward), dot),
    "linear": Kernel(linear_forward, linear_backward),
    "gelu": where(plain, "gelu", gelu_forward, gelu_backward),
    "softmax": where(plain_rows, "softmax", softmax_forward, softmax_backward),
    "log_softmax": where(plain_rows, "log_softmax", log_softmax_forward, log_softmax_backward),
    "layer_norm": where(plain, "layer_norm", layer_norm_forward, layer_norm_backward),
    "dropout": where(plain, "dropout", dropout_forward, dropout_backward),
    "scaled_dot_product_attention": where(plain_heads, "scaled_dot_product_attention", attention_forward, attention_backward),
    "cross_entropy": where(plain_matrix, "cross_entropy", cross_entropy_forward, cross_entropy_backward),
    "embedding": Kernel(kernels.embedding_forward, embedding_backward, add=embedding_add),
    **{f"{name}s": at_once(kernels.table[name]) for name in ("adam_step", "sgd_step", "rmsprop_step", "adagrad_step")},
    "square_sums": square_sums,
    "scale": scale,
    "in_parts": in_parts,
}
