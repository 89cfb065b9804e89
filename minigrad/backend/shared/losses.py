"""Cross-entropy and CTC as one kernel each, as they read on both libraries."""

from __future__ import annotations

import math

from ..record import Kernel

NEVER = -1e30  # log(0) in CTC; finite, so that the difference of two is not nan


def log_sum_exp(xp, x):
    """log Σ exp(x) over the last axis, which is kept, as two terms: the largest x, and log Σ exp(x - largest).

    Their sum, if large, would leave the second few digits.  A row of nothing but -inf gives 0 and +inf, so that
    exp(x - …) is 0 there.
    """
    if not x.size:
        return xp.zeros((*x.shape[:-1], 1), x.dtype), xp.full((*x.shape[:-1], 1), math.inf, x.dtype)
    top = x.max(-1, keepdims=True)
    top = xp.where(top == -math.inf, 0, top)
    total = xp.exp(x - top).sum(-1, keepdims=True)
    return top, xp.log(xp.where(total == 0, math.inf, total))


def exp_rows(xp, x, top, log_sum, scale):
    """exp(x - top - log_sum) · scale, with one of each for each row."""
    y = x - top[:, None]
    y -= log_sum[:, None]
    xp.exp(y, out=y)
    y *= scale[:, None]
    return y


def cross_entropy_forward(
    xp, logits, target, weight, ignore_index, label_smoothing, reduction, log_sum_exp=log_sum_exp
):
    """-log softmax(logits)[target] of logits (N, C) and labels (N,), with torch's weights, smoothing and reductions."""
    wide = logits.astype(xp.result_type(logits.dtype, xp.float32), copy=False)
    counted = target != ignore_index
    label = target * counted  # an ignored label reads class 0, and then does not count
    share = counted.astype(wide.dtype) if weight is None else weight[label] * counted
    top, log_sum = (part[:, 0] for part in log_sum_exp(xp, wide))
    loss = xp.where(counted, top - wide[xp.arange(len(label)), label] + log_sum, 0) * share
    if label_smoothing:
        below = top[:, None] - wide + log_sum[:, None]  # -log p
        everywhere = below.sum(1) if weight is None else below @ weight
        loss = (1 - label_smoothing) * loss + (label_smoothing / wide.shape[1]) * xp.where(counted, everywhere, 0)
    if reduction != "none":
        loss = loss.sum()
        loss = mean_of(xp, loss, share.sum()) if reduction == "mean" else loss
    return loss.astype(logits.dtype), (wide, top, log_sum, counted, label, share)


def cross_entropy_backward(
    xp, g, saved, wanted, target, weight, ignore_index, label_smoothing, reduction, exp_rows=exp_rows
):
    wide, top, log_sum, counted, label, share = saved
    each = g
    if reduction == "mean":  # if no label counts, the loss is nan, but no gradient flows
        total = share.sum()
        each = xp.where(total == 0, 0, g) / xp.where(total == 0, 1, total)
    hit = (1 - label_smoothing) * each * share
    everywhere = (label_smoothing / wide.shape[1]) * each * counted
    gx = exp_rows(xp, wide, top, log_sum, hit + everywhere * (wide.shape[1] if weight is None else weight.sum()))
    gx[xp.arange(len(label)), label] -= hit
    if label_smoothing:
        gx -= everywhere[:, None] if weight is None else everywhere[:, None] * weight
    return (gx.astype(g.dtype, copy=False),)


def mean_of(xp, total, count):
    """Total / count, 0-d arrays; nan, if nothing counts, as in torch, without a warning of 0 / 0."""
    return xp.where(count == 0, xp.nan, total / xp.where(count == 0, 1, count))


def ctc_forward(xp, log_probs, states, may_skip, ends, input_lengths):
    """-log p(labels | log_probs) of N sequences, by the log forward variables α (Graves et al. 2006, eq. 6, 8)."""
    wide = log_probs.astype(xp.result_type(log_probs.dtype, xp.float32), copy=False)
    emit = xp.maximum(wide[:, xp.arange(len(states))[:, None], states], NEVER)  # (T, N, L)
    emit[:, :, 0] = NEVER  # nothing returns to the start
    alpha = xp.full((len(emit) + 1, *states.shape), NEVER, emit.dtype)
    alpha[0, :, 0] = 0
    for t in range(len(emit)):
        here, there = alpha[t], alpha[t + 1]
        there[...] = here
        there[:, 1:] = xp.logaddexp(there[:, 1:], here[:, :-1])
        there[:, 2:] = xp.logaddexp(there[:, 2:], xp.where(may_skip[:, 2:], here[:, :-2], NEVER))
        there += emit[t]
        xp.copyto(there, here, where=t >= input_lengths[:, None])
    top, log_sum = log_sum_exp(xp, xp.where(ends, alpha[-1], NEVER))
    total = (top + log_sum)[:, 0]
    impossible = total < NEVER / 2
    loss = xp.where(impossible, math.inf, -total).astype(log_probs.dtype)
    return loss, (emit, alpha, xp.where(impossible, 0, total), log_probs.shape)


def ctc_backward(xp, g, saved, wanted, states, may_skip, ends, input_lengths):
    """Minus the posterior probability of each class at each step, Σ α_t(s) β_t(s) / p over its s (eq. 14 to 16)."""
    emit, alpha, total, shape = saved
    beta = xp.where(ends, xp.zeros((), emit.dtype), NEVER)
    share = xp.empty_like(emit)  # of all ways to spell the labels, those that are in state s at step t
    for t in range(len(emit) - 1, -1, -1):
        inside = t < input_lengths[:, None]
        share[t] = xp.exp(alpha[t + 1] + beta - total[:, None]) * inside
        onward = beta + emit[t]
        before = onward.copy()
        before[:, :-1] = xp.logaddexp(before[:, :-1], onward[:, 1:])
        before[:, :-2] = xp.logaddexp(before[:, :-2], xp.where(may_skip[:, 2:], onward[:, 2:], NEVER))
        beta = xp.where(inside, before, beta)
    share *= -g[:, None]
    gx, row = xp.zeros(shape, share.dtype), xp.arange(len(states))
    gx[:, row, states[:, 1]] = share[:, :, 1::2].sum(-1)  # every other state is the blank
    for s in range(2, states.shape[1], 2):
        gx[:, row, states[:, s]] += share[:, :, s]
    return (gx.astype(g.dtype, copy=False),)


table = {
    "cross_entropy": Kernel(cross_entropy_forward, cross_entropy_backward),
    "ctc": Kernel(ctc_forward, ctc_backward),
}
