"""Attention on a CPU without a compiled loop: the shared form, applied to some queries of some heads at a time.

The full matrix of scores, which grows with the square of the length, is never stored.
"""

from __future__ import annotations

import numpy as np

from ..record import Kernel
from ..shared import attention
from . import cores
from .select import choose

QUERIES = 64  # the number of queries in a block; four times as many if all may see the same keys


def is_large(q, k, *rest):
    """Whether there are more scores than fit in a core's cache."""
    return q.size // max(1, q.shape[-1]) * k.shape[-2] > cores.MAX_PIECE


def attention_forward(xp, q, k, v, mask, keep, p, scale, is_causal):
    mask = None if mask is None else np.broadcast_to(mask, (*q.shape[:-1], k.shape[-2]))
    y, sums = np.empty_like(q, shape=(*q.shape[:-1], v.shape[-1])), np.empty((2, *q.shape[:-1], 1), q.dtype)

    def work(heads):
        for first, here, seen, tile in blocks(heads, q, k, is_causal):
            parts = q[here], k[seen], v[seen], part_of(mask, tile), part_of(keep, tile)
            y[here], saved = attention.attention_forward(np, *parts, p, scale, is_causal, first)
            sums[:, *here] = saved[-2:]

    cores.share(work, some_heads(q, k))
    return y, (q, k, v, y, mask, sums)


def attention_backward(xp, g, saved, wanted, keep, p, scale, is_causal):
    """A few queries at a time; but a gradient of the mask is as large as the matrix of scores."""
    q, k, v, y, mask, sums = saved
    if wanted[3]:
        mask = attention.attention_bias(np, mask, is_causal, mask.shape, q.dtype)
        return attention.attention_backward(np, g, (*saved[:4], mask, *sums), wanted, keep, p, scale, is_causal)
    gradients = gq, gk, gv = [np.zeros_like(x) if want else None for x, want in zip((q, k, v), wanted)]

    def work(heads):
        for first, here, seen, tile in blocks(heads, q, k, is_causal):
            scores = (*q[here].shape[:-1], k[seen].shape[-2])
            bias = attention.attention_bias(np, part_of(mask, tile), is_causal, scores, q.dtype, first)
            parts = q[here], k[seen], v[seen], y[here], bias, *sums[:, *here]
            found = attention.attention_backward(np, g[here], parts, wanted, part_of(keep, tile), p, scale, is_causal)
            for total, part, rows in zip((gq, gk, gv), found, (here, seen, seen)):
                if total is not None:
                    total[rows] += part

    cores.share(work, some_heads(q, k))
    return *gradients, None


def part_of(array, index):
    """The entries of a mask at an index, if there is a mask."""
    return None if array is None else array[index]


def some_heads(q, k):
    """Indices of a few heads each, whose scores, for QUERIES of them, fit in a core's cache."""
    *lead, last = q.shape[:-2] or (1,)
    parts = cores.evenly(last, 2 * cores.MAX_PIECE // (min(q.shape[-2], QUERIES) * k.shape[-2]), cores.CORES)
    return [(*i, part) for i in np.ndindex(*lead) for part in parts] if q.ndim > 2 else [()]


def blocks(heads, q, k, is_causal):
    """(first query, index of the queries, of the keys they may see, and of the scores) for each block of queries."""
    step = QUERIES if is_causal else 4 * QUERIES
    for i in range(0, q.shape[-2], step):
        queries, keys = slice(i, i + step), slice(i + step if is_causal else None)
        yield i, (*heads, ..., queries, slice(None)), (*heads, ..., keys, slice(None)), (*heads, ..., queries, keys)


NAME = "scaled_dot_product_attention"
table = {NAME: choose(is_large, Kernel(attention_forward, attention_backward), attention.table[NAME])}
