"""Attention with all its scores in memory, for both libraries."""

from __future__ import annotations

import math

from ..record import Kernel
from .layers import dropout_forward
from .losses import log_sum_exp


def attention_forward(xp, q, k, v, mask, keep, p, scale, is_causal, first=0):
    """softmax(q kᵀ · scale + mask) v: the result lies in memory as q does, so that merging the heads is free.

    `first` is the position of the first query.
    """
    weights = xp.matmul(q, k.swapaxes(-1, -2))
    weights *= scale
    bias = attention_bias(xp, mask, is_causal, weights.shape, weights.dtype, first)
    if bias is not None:
        weights += bias
    top, log_sum = log_sum_exp(xp, weights)
    if mask is None and k.size:  # nothing is forbidden: where all scores are -inf, the result is no number
        log_sum = xp.where(log_sum == math.inf, math.nan, log_sum)
    weights = xp.exp(weights - top - log_sum)
    y = xp.empty_like(q, shape=(*q.shape[:-1], v.shape[-1]))
    y[...] = xp.matmul(weights if keep is None else dropout_forward(xp, weights, keep, p)[0], v)
    return y, (q, k, v, y, bias, top, log_sum)


def attention_backward(xp, g, saved, wanted, keep, p, scale, is_causal):
    q, k, v, y, bias, top, log_sum = saved
    weights = xp.matmul(q, k.swapaxes(-1, -2))
    weights *= scale
    if bias is not None:
        weights += bias
    weights -= top
    weights -= log_sum
    xp.exp(weights, out=weights)
    gscores, kept = xp.matmul(g, v.swapaxes(-1, -2)), weights
    if keep is not None:
        gscores, kept = dropout_forward(xp, gscores, keep, p)[0], dropout_forward(xp, weights, keep, p)[0]
    gscores -= (g * y).sum(-1, keepdims=True)  # this is (gscores * weights).sum(-1), over the shorter axis
    gscores *= weights
    gmask = gscores.copy() if wanted[3] else None  # the tape adds up what the mask was broadcast to
    gscores *= scale
    return (
        xp.matmul(gscores, k) if wanted[0] else None,
        xp.matmul(gscores.swapaxes(-1, -2), q) if wanted[1] else None,
        xp.matmul(kept.swapaxes(-1, -2), g) if wanted[2] else None,
        gmask,
    )


def attention_bias(xp, mask, is_causal, shape, dtype, first=0):
    """What the masks add to scores of this shape: -inf where attending is not allowed; None where there is no mask."""
    if is_causal:
        causal = xp.tri(*shape[-2:], first, dtype=bool)
        mask = causal if mask is None else mask & causal if mask.dtype == bool else xp.where(causal, mask, -math.inf)
    if mask is None:
        return None
    if mask.dtype == bool:
        mask = xp.where(mask, 0, -math.inf)
    return xp.broadcast_to(mask.astype(dtype, copy=False), shape)


table = {"scaled_dot_product_attention": Kernel(attention_forward, attention_backward)}
