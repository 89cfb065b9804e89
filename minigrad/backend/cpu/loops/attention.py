"""Attention in blocks of queries and keys, forward and backward: a compiled loop with products by BLAS.

Each core stores one block of scores at a time (Milakov & Gimelshein 2018; Dao et al. 2022, algorithms 1 and 4);
shared/attention.py has the same on whole arrays.  A core computes some of the heads, lo..hi.  `where` has a row for
each head, the addresses of its matrices, whose rows are `strides` entries apart.
"""

from __future__ import annotations

import math

import numpy as np

from ...record import Kernel
from ...shared import attention
from .. import blas, cores
from .compile import exp, f4, formula, i8, less, loop, numbers, sgemm, sgemm_turned
from .layers import exp_row_below, largest
from .registers import turn

QUERIES, MAX_KEYS = 64, 512  # in a block; fewer keys if BLAS would copy its operands
MIN_PARTS = 8  # parts of the heads, for balance, since other processes may occupy a core


@loop
def turned(address, stride, rows, columns, wide):
    """A matrix transposed, `wide` of its rows at a time: (pieces, columns · wide)."""
    out = np.empty((-(-rows // wide), columns * wide), np.float32)
    for r in range(0, rows, wide):
        piece = i8(out[r // wide].ctypes.data)
        turn(address + 4 * stride * r, stride, min(wide, rows - r), columns, piece, wide)
    return out


@formula
def own(i, first, n):
    """The number of the n keys that query i of a block may attend to, if the first query may attend to `first` + 1."""
    return max(0, min(n, first + i + 1))


@loop
def add_bias(scores, bias, t, s, n):
    """Add a mask's bias to the scores of the queries from t and the n keys from s; a mask may have a single row."""
    for i in range(scores.shape[0]):
        row = min(t + i, bias.shape[0] - 1)
        for j in range(n):
            scores[i, j] += bias[row, s + j]


@loop
def drop(block, keep, scale, t, s, n):
    for i in range(block.shape[0]):
        for j in range(n):
            block[i, j] *= scale if keep[t + i, s + j] else f4(0)


@loop
def exp_below(scores, first, n, top, weights, sums):
    """The weights exp(score - top) of a block and their sums; 0 for keys that a query may not attend to."""
    for i in range(scores.shape[0]):
        seen, of_row, total = own(i, first, n), top[i], f4(0)
        for j in range(seen):
            weights[i, j] = exp(scores[i, j] - of_row)
        for j in range(seen):
            total += weights[i, j]
        weights[i, seen:n], sums[i] = f4(0), total


@loop
def weigh(scores, first, n, top, total, found, weights, sums):
    """The weights of a block of scores; their `sums` are added to the `total` of earlier keys.

    If a sum would overflow or underflow, `top` becomes the largest score, and the result `found` so far is rescaled.
    """
    exp_below(scores, first, n, top, weights, sums)
    for i in range(scores.shape[0]):
        seen, all_but_last = own(i, first, n), total[i]
        if seen and not (sums[i] < f4(1e20) and all_but_last + sums[i] > f4(1e-20)):
            before, top[i] = top[i], largest(scores[i, :seen])
            sums[i] = exp_row_below(scores[i, :seen], top[i], weights[i])
            scale = exp(before - top[i]) if all_but_last != f4(0) else f4(0)
            all_but_last *= scale
            for j in range(found.shape[1]):
                found[i, j] *= scale
        total[i] = all_but_last + sums[i]


@loop
def scale_row(row, factor, out):
    for j in range(row.shape[0]):
        out[j] = row[j] * factor


@loop
def attend(address, where, strides, sizes, blocks, bias, keep, kept, scale, is_causal, tops, log_sums, lo, hi):
    T, S, d, e = sizes
    step, wide = blocks
    q_row, k_row, v_row, y_row = strides
    scores, weights = np.empty((step, wide), np.float32), np.empty((step, wide), np.float32)
    found, total, sums = np.empty((step, e), np.float32), np.empty(step, np.float32), np.empty(step, np.float32)
    for h in range(lo, hi):
        q, k, v, y, mask = where[h, 0], where[h, 1], where[h, 2], where[h, 3], where[h, 4]
        keys = turned(k, k_row, S, d, wide)
        for t in range(0, T, step):
            m = min(step, T - t)
            top, q_t = tops[h, t : t + m], q + 4 * q_row * t
            found[:m], total[:m], top[:] = f4(0), f4(0), f4(0)
            seen = min(S, t + m) if is_causal else S
            for s in range(0, seen, wide):
                n, first, key = min(wide, seen - s), t - s if is_causal else S, keys[s // wide].ctypes.data
                sgemm(address, m, n, d, scale, q_t, q_row, key, wide, f4(0), scores.ctypes.data, wide)
                if bias.size:
                    add_bias(scores[:m], bias[mask], t, s, n)
                weigh(scores[:m], first, n, top, total, found, weights, sums)
                if keep.size:
                    drop(weights[:m], keep[h], kept, t, s, n)
                value = v + 4 * v_row * s
                sgemm(address, m, e, n, f4(1), weights.ctypes.data, wide, value, v_row, f4(1), found.ctypes.data, e)
            for i in range(m):
                if bias.size and total[i] == f4(0):  # no key may be attended to: the result is 0
                    total[i] = f4(np.inf)
                log_sums[h, t + i], out = np.log(total[i]), numbers(y + 4 * y_row * (t + i), e)
                scale_row(found[i], f4(1) / total[i], out)


@loop
def mean_gradients(g, g_row, y, y_row, e, mean):
    """For some queries, Σ weights · their gradients, which equals Σ g · y over the shorter axis."""
    for i in range(mean.shape[0]):
        given, result, total = numbers(g + 4 * g_row * i, e), numbers(y + 4 * y_row * i, e), f4(0)
        for j in range(e):
            total += given[j] * result[j]
        mean[i] = total


@loop
def weigh_again(scores, first, n, top, log_sum):
    for i in range(scores.shape[0]):
        seen, a, b = own(i, first, n), top[i], log_sum[i]
        for j in range(seen):
            scores[i, j] = exp(less(scores[i, j], a, b))
        scores[i, seen:n] = f4(0)


@loop
def slopes(weights, n, mean, slope):
    """The gradients of a block of scores, given those of its weights, in place."""
    for i in range(weights.shape[0]):
        of_row = mean[i]
        for j in range(n):
            slope[i, j] = weights[i, j] * (slope[i, j] - of_row)


@loop
def attend_back(address, where, strides, sizes, blocks, bias, keep, kept, scale, is_causal, tops, log_sums, lo, hi):
    """The gradients of q, k and v for the heads lo..hi, accumulated block by block."""
    T, S, d, e = sizes
    step, wide = blocks
    q_row, k_row, v_row, y_row, g_row, gq_row, gk_row, gv_row = strides
    weights, slope = np.empty((step, wide), np.float32), np.empty((step, wide), np.float32)
    mean = np.empty(step, np.float32)
    for h in range(lo, hi):
        q, k, v, y, mask, g = where[h, 0], where[h, 1], where[h, 2], where[h, 3], where[h, 4], where[h, 5]
        keys, values = turned(k, k_row, S, d, wide), turned(v, v_row, S, e, wide)
        for t in range(0, T, step):
            m, q_t, g_t, gq_t = min(step, T - t), q + 4 * q_row * t, g + 4 * g_row * t, where[h, 6] + 4 * gq_row * t
            mean_gradients(g_t, g_row, y + 4 * y_row * t, y_row, e, mean[:m])
            seen = min(S, t + m) if is_causal else S
            for s in range(0, seen, wide):
                n, first = min(wide, seen - s), t - s if is_causal else S
                w, dw = weights.ctypes.data, slope.ctypes.data
                sgemm(address, m, n, d, scale, q_t, q_row, keys[s // wide].ctypes.data, wide, f4(0), w, wide)
                sgemm(address, m, n, e, f4(1), g_t, g_row, values[s // wide].ctypes.data, wide, f4(0), dw, wide)
                if bias.size:
                    add_bias(weights[:m], bias[mask], t, s, n)
                weigh_again(weights[:m], first, n, tops[h, t:], log_sums[h, t:])
                if keep.size:
                    drop(slope[:m], keep[h], kept, t, s, n)
                slopes(weights[:m], n, mean, slope)
                if keep.size:
                    drop(weights[:m], keep[h], kept, t, s, n)
                gk_s, gv_s = where[h, 7] + 4 * gk_row * s, where[h, 8] + 4 * gv_row * s
                sgemm(address, m, d, n, scale, dw, wide, k + 4 * k_row * s, k_row, f4(1), gq_t, gq_row)
                sgemm_turned(address, n, d, m, scale, dw, wide, q_t, q_row, f4(1), gk_s, gk_row)
                sgemm_turned(address, n, e, m, f4(1), w, wide, g_t, g_row, f4(1), gv_s, gv_row)


def readable(x):
    """The stack of matrices, or a copy with contiguous rows if BLAS cannot read it."""
    row, entry = x.strides[-2:]
    return x if entry == 4 and row >= 4 * x.shape[-1] and not row % 4 else np.ascontiguousarray(x)


def new(make, x, width):
    """Allocate matrices with rows of this width in the memory order of x, so that merging the heads needs no copy."""
    return readable(make(x, shape=(*x.shape[:-1], width)))


def addresses(x):
    """The address of each matrix of a stack."""
    where = np.array(x.ctypes.data)
    for count, stride in zip(x.shape[:-2], x.strides):
        where = np.add.outer(where, stride * np.arange(count))
    return where.reshape(-1)


def as_bias(mask, lead, S):
    """The bias that a mask adds to scores, (masks, T or 1, S), and the index of each head's mask."""
    if mask is None:
        return np.empty((0, 1, 0), np.float32), np.zeros(math.prod(lead), np.int64)
    mask = mask.reshape((1,) * (len(lead) + 2 - mask.ndim) + mask.shape)
    bias = mask if mask.dtype == np.float32 else np.where(mask, f4(0), f4(-np.inf))
    which = np.broadcast_to(np.arange(math.prod(mask.shape[:-2])).reshape(mask.shape[:-2]), lead)
    rows = np.broadcast_to(bias, (*bias.shape[:-1], S)).reshape(-1, mask.shape[-2], S)
    return np.ascontiguousarray(rows), which.reshape(-1)


def on_cores(work, stacks, mask, keep, p, scale, is_causal, sums):
    """Call a loop on each core for a part of the heads; the `stacks` of matrices begin with q, k and v."""
    (*lead, T, d), (S, e) = stacks[0].shape, stacks[2].shape[-2:]
    bias, which = as_bias(mask, lead, S)
    where = np.stack([*map(addresses, stacks[:4]), which, *map(addresses, stacks[4:])], axis=1)
    strides = tuple(x.strides[-2] // 4 for x in stacks)
    step = min(T, QUERIES)
    most = min(MAX_KEYS, max(16, blas.MAX_UNCOPIED // (step * max(d, e)) // 16 * 16))
    wide = -(-S // -(-S // most))
    keep = np.empty((0, 0, 0), bool) if keep is None else np.ascontiguousarray(keep).reshape(-1, T, S)
    fixed = blas.address(), where, strides, (T, S, d, e), (step, wide + -wide % 16), bias, keep
    options = f4(1 / (1 - p)), f4(scale), bool(is_causal), *sums
    many = len(where) * T * S >= cores.MIN_SHARED
    parts = cores.evenly(len(where), -(-len(where) // MIN_PARTS), cores.CORES) if many else [slice(0, len(where))]
    cores.share(lambda part: work(*fixed, *options, part.start, part.stop), parts)


def attention_forward(xp, q, k, v, mask, keep, p, scale, is_causal):
    q, k, v = map(readable, (q, k, v))
    y, sums = new(np.empty_like, q, v.shape[-1]), np.empty((2, math.prod(q.shape[:-2]), q.shape[-2]), np.float32)
    on_cores(attend, (q, k, v, y), mask, keep, p, scale, is_causal, sums)
    return y, (q, k, v, y, mask, sums)


def attention_backward(xp, g, saved, wanted, keep, p, scale, is_causal):
    q, k, v, y, mask, sums = saved
    if wanted[3]:  # the gradient of a mask is as large as all scores
        scores = (*q.shape[:-1], k.shape[-2])
        bias = attention.attention_bias(xp, mask, is_causal, scores, np.float32)
        saved = q, k, v, y, bias, *sums.reshape(2, *q.shape[:-1], 1)
        return attention.attention_backward(xp, g, saved, wanted, keep, p, scale, is_causal)
    gq, gk, gv = gradients = [new(np.zeros_like, x, x.shape[-1]) for x in (q, k, v)]
    on_cores(attend_back, (q, k, v, y, readable(g), gq, gk, gv), mask, keep, p, scale, is_causal, sums)
    return *(gradient if want else None for gradient, want in zip(gradients, wanted)), None


@formula
def halves(address, n):
    return numbers(address, n), numbers(address + 4 * n, n)


@loop
def rotate(where, n):
    """Rotate each pair (i, i + n) of the rows a, b by the angles with these cosines and sines, and write it to u, v."""
    for r in range(where.shape[0]):
        (a, b), (u, v) = halves(where[r, 0], n), halves(where[r, 3], n)
        (cos, cos_too), (sin, sin_too) = halves(where[r, 1], n), halves(where[r, 2], n)
        for j in range(n):
            u[j] = a[j] * cos[j] - b[j] * sin[j]
        for j in range(n):
            v[j] = b[j] * cos_too[j] + a[j] * sin_too[j]


def rotate_forward(xp, x, cos, sin):
    x = readable(x)
    y = new(np.empty_like, x, x.shape[-1])
    tables = (np.broadcast_to(np.ascontiguousarray(part), x.shape) for part in (cos, sin))
    where = np.stack([addresses(part[..., None, :]) for part in (x, *tables, y)], axis=1)
    parts = cores.evenly(len(where), len(where), cores.CORES if x.size >= cores.MIN_SHARED else 1)
    cores.share(lambda part: rotate(where[part], x.shape[-1] // 2), parts)
    return y, (x, cos, sin)


def rotate_backward(xp, g, saved, wanted):
    """The gradient of x is g rotated back, with the two halves of the sines swapped and negated."""
    x, cos, sin = saved
    n = x.shape[-1] // 2
    gx = rotate_forward(xp, g, cos, -np.roll(sin, n, -1))[0] if wanted[0] else None
    turned = np.concatenate((-x[..., n:], x[..., :n]), -1) if wanted[2] else None
    return gx, g * x if wanted[1] else None, g * turned if wanted[2] else None


table = {
    "scaled_dot_product_attention": Kernel(attention_forward, attention_backward),
    "rotate": Kernel(rotate_forward, rotate_backward),
}
