"""Attention on a CPU, a few heads at a time.

All scores together, which grow with the square of the length, never exist.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ..record import Kernel
from ..shared import attention
from . import cores
from .blas import MAX_UNCOPIED
from .cores import evenly, scratch, share
from .layers import exp_sums
from .select import choose


def attention_forward(xp, q, k, v, mask, keep, p, scale, is_causal):
    """A few heads at a time: their scores stay in the cache, and are then forgotten.

    Scores are laid down as (…, keys, queries): a matrix of which BLAS reads the rows is one that it need not copy.
    """
    shape = (*q.shape[:-1], k.shape[-2])  # of all scores: (…, T, S)
    bias = attention.attention_bias(xp, mask, False, shape, np.float32)
    y = np.empty_like(q, shape=(*q.shape[:-1], v.shape[-1]))
    tops, log_sum = np.zeros(q.shape[:-1], np.float32), np.zeros(q.shape[:-1], np.float32)
    some_heads, blocks = _tiles(shape, q.shape[-1], is_causal)

    def work(heads):
        for queries, keys in blocks:
            here, seen, tile = (
                (*heads, ..., queries, slice(None)),
                (*heads, ..., keys, slice(None)),
                (*heads, ..., queries, keys),
            )
            scores, weights = scratch(2, *q[here].shape[:-2], keys.stop, q[here].shape[-2])
            _scores(k[seen], _turned(q[here], scale), bias, tile, is_causal, out=scores)
            total, top = exp_sums(scores, weights, 1e20, axis=-2)
            total[total == 0] = math.inf  # nothing may be attended to: the result is 0
            tops[(*heads, ..., queries)], log_sum[(*heads, ..., queries)] = top, np.log(total)
            if keep is not None:
                weights *= keep[tile].swapaxes(-1, -2)
                total *= 1 - p
            found = np.matmul(weights.swapaxes(-1, -2), v[seen])
            found *= 1 / total[..., None]
            y[here] = found

    share(work, some_heads)
    return y, (q, k, v, y, bias, tops, log_sum)


def attention_backward(xp, g, saved, wanted, keep, p, scale, is_causal):
    """Computes the weights a second time, from the sums of their rows (Dao et al. 2022, algorithm 4).

    (The gradient of a mask is as large as all scores: there is nothing to be gained by not having them.)
    """
    q, k, v, y, bias, tops, log_sum = saved
    if wanted[3]:
        bias = attention.attention_bias(xp, bias, is_causal, bias.shape, np.float32)
        saved = q, k, v, y, bias, tops[..., None], log_sum[..., None]
        return attention.attention_backward(xp, g, saved, wanted, keep, p, scale, is_causal)
    gq, gk, gv = (np.empty_like(x) if want else None for x, want in zip((q, k, v), wanted))
    some_heads, blocks = _tiles((*q.shape[:-1], k.shape[-2]), q.shape[-1], is_causal)

    def work(heads):
        all_keys, all_values = _with_ones(k[heads]), _with_ones(v[heads])
        sums = [None if x is None else np.zeros(x[heads].shape, np.float32) for x in (gk, gv)]
        dots = np.vecdot(g[heads], y[heads])  # Σ weights · their gradients, over the shorter axis
        for queries, keys in reversed(blocks):  # the first one sees all keys that any sees
            here, tile = (*heads, ..., queries, slice(None)), (*heads, ..., queries, keys)
            weights, gscores, kept = scratch(3, *q[here].shape[:-2], keys.stop, q[here].shape[-2])
            top, rest = (array[(*heads, ..., queries)] for array in (tops, log_sum))
            far = top.any()  # then what is left of the sum is not to be added to scores before they are near 0
            turned, drop = _turned(q[here], scale, 0 if far else -rest), dots[..., queries]
            _scores(all_keys[..., keys, :], turned, bias, tile, is_causal, out=weights)
            if far:
                weights -= top[..., None, :]
                weights -= rest[..., None, :]
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
            if gq is not None:
                found = np.matmul(gscores.swapaxes(-1, -2), all_keys[..., keys, :-1])
                found *= scale
                gq[here] = found
            for a, b, total in ((gscores, q, sums[0]), (kept, g, sums[1])):
                if total is not None and queries is blocks[-1][0]:
                    np.matmul(a, b[here], out=total[..., keys, :])
                elif total is not None:
                    total[..., keys, :] += np.matmul(a, b[here])
        if gk is not None and sums[0] is not None:
            np.multiply(sums[0], scale, out=gk[heads])
        if gv is not None:
            gv[heads] = sums[1]

    share(work, some_heads)
    return gq, gk, gv, None


def _tiles(shape, width, is_causal):
    """Cut scores (…, T, S) of heads of this width: indices of some heads; blocks of queries and the keys they may see.

    A block has one or two MAX_PIECE of scores, or more where one head has so many keys.  BLAS is quickest on operands
    that are too small to be copied first, and otherwise on long blocks; short blocks compute fewer masked scores.
    """
    *lead, T, S = shape
    most = MAX_UNCOPIED // max(1, S * width) // 16 * 16  # queries (the numbers below were found by timing)
    if most < 64:
        most = min(256, -(-T // 256) * 64) if is_causal else 256
    elif is_causal:
        most = min(most, 112)
    step = -(-T // -(-T // most))
    step = min(T, step + -step % 16)  # rows of scores begin where a vector of the processor does
    limit = cores.MAX_PIECE if step <= 64 else 2 * cores.MAX_PIECE
    blocks = [(slice(i, i + step), slice(min(S, i + step) if is_causal else S)) for i in range(0, T, step)]
    many = cores.CORES if math.prod(shape) >= cores.MIN_SHARED else 1

    def fits(i):
        pieces = math.prod(lead[: i + 1])
        return math.prod(lead[i + 1 :]) * step * S <= limit and (not pieces % many or pieces >= 4 * many)

    axis = next(filter(fits, range(len(lead))), len(lead) - 1)
    parts = evenly(lead[axis], limit // (math.prod(lead[axis + 1 :]) * step * S), many)
    heads = [(*first, part) for first in np.ndindex(*lead[:axis]) for part in parts]
    return heads, blocks


@functools.lru_cache(8)
def _earlier(keys: int, queries: int) -> np.ndarray:
    """What is added to the score of a key (row) and a query: -inf, if the query comes before the key."""
    return np.tril(np.full((keys, queries), -math.inf, np.float32), -1)


def _turned(q, scale, last=None):
    """Queries (…, T, d), scaled, as (…, d, T), in order.

    With a last row that is added to every score, if there is one.
    """
    T, d = q.shape[-2:]
    turned = np.empty((*q.shape[:-2], d + (last is not None), T), np.float32)
    np.multiply(q.swapaxes(-1, -2), scale, out=turned[..., :d, :])
    if last is not None:
        turned[..., d, :] = last
    return turned


def _with_ones(k):
    """Keys (…, S, d) beside a column of ones, (…, S, d + 1), each row as far from the next as BLAS likes it."""
    beside = np.empty((*k.shape[:-1], k.shape[-1] + 16), np.float32)[..., : k.shape[-1] + 1]
    beside[..., :-1], beside[..., -1] = k, 1
    return beside


def _scores(k, q, bias, tile, is_causal, out):
    """The masked scores of one tile, of keys (…, S, d) and queries (…, d, T)."""
    np.matmul(k, q, out=out)
    if bias is not None:
        out += bias[tile].swapaxes(-1, -2)
    if is_causal:
        corner = out[..., tile[-2].start :, :]
        corner += _earlier(*corner.shape[-2:])


def plain_heads(q, k, v, *rest):
    """Whether the inputs are float32 in several heads, and not one query on few keys.

    The latter is what a generating model asks, a token at a time.
    """
    few = q.shape[-2] == 1 and k.size < cores.MAX_PIECE
    return q.dtype == k.dtype == v.dtype == np.float32 and q.ndim > 2 and min(q.size, k.size, v.size) > 0 and not few


NAME = "scaled_dot_product_attention"
table = {NAME: choose(plain_heads, Kernel(attention_forward, attention_backward), attention.table[NAME])}
