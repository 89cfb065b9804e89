"""Fused forms of ops, written once for NumPy and CuPy: bare arrays in, bare arrays out, no Tensors anywhere.

Each op has a forward, which returns its result and what it saves, and a backward, which returns one gradient per input,
or None where none is wanted.  What is saved is small (a number per row): the rest is computed a second time.
Nothing is ever written into an input or into `g`.  `xp` is numpy or cupy.
"""
from __future__ import annotations

import math
from collections.abc import Callable

from .. import Kernel, of


def with_vectors(products: Kernel, dot: Callable | None = None) -> Kernel:
    """The product of stacks of matrices, also of vectors: one on the left is a row, one on the right a column, as in NumPy.

    `dot` multiplies two vectors in less time, if it is given.  (What is meant on the way back the rules of matmul say.)
    """
    def forward(xp, a, b):
        m, n = getattr(a, "ndim", 0), getattr(b, "ndim", 0)
        if not m or not n:
            raise ValueError("a number has no axes")
        row, column = m == 1, n == 1
        if not row and not column:
            y, saved = products.forward(xp, a, b)
            return y, (saved, a, b)
        if row and column and dot is not None:
            return dot(a, b), (None, a, b)
        y, saved = products.forward(xp, a[None] if row else a, b[:, None] if column else b)
        y = y[..., 0, :] if row else y
        return y[..., 0] if column else y, (saved, a, b)

    def backward(xp, g, saved, wanted):
        saved, a, b = saved
        row, column = a.ndim == 1, b.ndim == 1
        if row and column:
            return g * b if wanted[0] else None, g * a if wanted[1] else None
        if row or column:
            g = xp.ascontiguousarray(g)         # that of a sum is one number in many places, which BLAS cannot read
        g = g[..., None] if column else g[..., None, :] if row else g
        ga, gb = products.backward(xp, g, saved, wanted)
        return ga[..., 0, :] if row and wanted[0] else ga, gb[..., 0] if column and wanted[1] else gb
    return Kernel(forward, backward)


def linear_forward(xp, x, weight, bias):
    """x Wᵀ + b with W stored (out, in): one matrix product, however many leading axes x has."""
    y = xp.empty((*x.shape[:-1], weight.shape[0]), x.dtype)
    xp.matmul(as_matrix(xp, x), weight.T, out=as_matrix(xp, y))
    if bias is not None:
        y += bias
    return y, (x, weight)


def linear_backward(xp, g, saved, wanted):
    x, weight = saved
    g, gx = as_matrix(xp, g), None
    if wanted[0]:
        gx = xp.empty(x.shape, g.dtype)
        xp.matmul(g, weight, out=as_matrix(xp, gx))
    return gx, g.T @ as_matrix(xp, x) if wanted[1] else None, g.sum(0) if wanted[2] else None


def as_matrix(xp, x):
    """x with its leading axes made one, in the layout BLAS reads (a gradient may be a broadcast view)."""
    return xp.ascontiguousarray(x).reshape(math.prod(x.shape[:-1]), x.shape[-1])


def gelu_forward(xp, x, bias, approximate):
    """x Φ(x), of x + bias if there is one; "tanh" approximates the normal distribution function Φ (Hendrycks & Gimpel 2016)."""
    x = x if bias is None else x + bias
    return x * _phi(xp, x, approximate), x


def gelu_backward(xp, g, x, wanted, approximate):
    phi = _phi(xp, x, approximate)
    if approximate == "tanh":
        gx = phi * (1 - phi) * (GELU_TANH[0] + 3 * GELU_TANH[1] * (x * x))
    else:
        gx = xp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    gx *= x
    gx += phi
    gx *= g
    return gx if wanted[0] else None, as_matrix(xp, gx).sum(0) if wanted[1] else None


GELU_TANH = math.sqrt(8 / math.pi), math.sqrt(8 / math.pi) * 0.044715          # Φ(x) = sigmoid(a x + b x³), roughly


def _phi(xp, x, approximate):
    if approximate == "tanh":
        return 0.5 * xp.tanh(0.5 * x * (GELU_TANH[0] + GELU_TANH[1] * (x * x))) + 0.5
    return 0.5 * of(x).erf(x * math.sqrt(0.5)) + 0.5


def softmax_forward(xp, x, axis):
    """exp(x), scaled to sum to one along `axis`."""
    y = _below_largest(xp, x, axis)
    xp.exp(y, out=y)
    y /= y.sum(axis=axis, keepdims=True)
    return y, y


def softmax_backward(xp, g, y, wanted, axis):
    gx = g - (g * y).sum(axis=axis, keepdims=True)
    gx *= y
    return gx,


def log_softmax_forward(xp, x, axis):
    """log(softmax(x)), without computing the softmax."""
    y = _below_largest(xp, x, axis)
    if y.size:
        y -= xp.log(xp.exp(y).sum(axis=axis, keepdims=True))
    return y, y


def log_softmax_backward(xp, g, y, wanted, axis):
    gx = xp.exp(y)
    gx *= -g.sum(axis=axis, keepdims=True)
    gx += g
    return gx,


def _below_largest(xp, x, axis):
    """x minus its largest entry along `axis`, so that exp cannot overflow: a new array."""
    return xp.asarray(x - x.max(axis=axis, keepdims=True)) if x.size else x.copy()


def layer_norm_forward(xp, x, weight, bias, eps):
    """Each last-axis vector with zero mean and unit variance, then scaled and shifted: in float64, for means may be large."""
    n = x.shape[-1]
    mean = x.sum(-1, keepdims=True, dtype=xp.float64) / n       # (.mean takes twice as long to begin)
    y = x - mean
    inverse_std = 1 / xp.sqrt((y * y).sum(-1, keepdims=True) / n + eps)
    y *= inverse_std
    if weight is not None:
        y *= weight
    if bias is not None:
        y += bias
    return y.astype(x.dtype, copy=False), (x, weight, mean, inverse_std)


def layer_norm_backward(xp, g, saved, wanted, eps):
    x, weight, mean, inverse_std = saved
    unit = (x - mean) * inverse_std
    gw = as_matrix(xp, g * unit).sum(0).astype(x.dtype, copy=False) if wanted[1] else None
    gb = as_matrix(xp, g).sum(0) if wanted[2] else None
    if not wanted[0]:
        return None, gw, gb
    gx = g * inverse_std if weight is None else g * weight * inverse_std
    unit *= (gx * unit).mean(-1, keepdims=True)
    gx -= gx.mean(-1, keepdims=True)
    gx -= unit
    return gx.astype(x.dtype, copy=False), gw, gb


def dropout_forward(xp, x, keep, p):
    """x where `keep` is True, divided by 1 - p, and 0 elsewhere."""
    y = x * keep
    y *= 1 / (1 - p)
    return y, None


def dropout_backward(xp, g, saved, wanted, keep, p):
    return dropout_forward(xp, g, keep, p)[0],


def attention_forward(xp, q, k, v, mask, keep, p, scale, is_causal):
    """softmax(q kᵀ · scale + mask) v: the result lies in memory as q does, so that merging the heads is free."""
    weights = xp.matmul(q, k.swapaxes(-1, -2))
    weights *= scale
    bias = attention_bias(xp, mask, is_causal, weights.shape, weights.dtype)
    if bias is not None:
        weights += bias
    top, log_sum = log_sum_exp(xp, weights)
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
    gscores -= (g * y).sum(-1, keepdims=True)   # this is (gscores * weights).sum(-1), over the shorter axis
    gscores *= weights
    gmask = gscores.copy() if wanted[3] else None            # the tape adds up what the mask was broadcast to
    gscores *= scale
    return (xp.matmul(gscores, k) if wanted[0] else None,
            xp.matmul(gscores.swapaxes(-1, -2), q) if wanted[1] else None,
            xp.matmul(kept.swapaxes(-1, -2), g) if wanted[2] else None, gmask)


def attention_bias(xp, mask, is_causal, shape, dtype):
    """What the masks add to scores of this shape: -inf where attending is not allowed; None where there is no mask."""
    if is_causal:
        causal = xp.tri(*shape[-2:], dtype=bool)
        mask = causal if mask is None else mask & causal if mask.dtype == bool else xp.where(causal, mask, -math.inf)
    if mask is None:
        return None
    if mask.dtype == bool:
        mask = xp.where(mask, 0, -math.inf)
    return xp.broadcast_to(mask.astype(dtype, copy=False), shape)


def log_sum_exp(xp, x):
    """log Σ exp(x) over the last axis, which is kept, as two numbers whose sum it is: the largest x, and log Σ exp(x - largest).

    Added up, a large one would leave the other few digits.  A row of nothing but -inf gives 0 and +inf, so that
    exp(x - …) is 0 there.
    """
    if not x.size:
        return xp.zeros((*x.shape[:-1], 1), x.dtype), xp.full((*x.shape[:-1], 1), math.inf, x.dtype)
    top = x.max(-1, keepdims=True)
    top = xp.where(top == -math.inf, 0, top)
    total = xp.exp(x - top).sum(-1, keepdims=True)
    return top, xp.log(xp.where(total == 0, math.inf, total))


def cross_entropy_forward(xp, logits, target, weight, ignore_index, label_smoothing, reduction, log_sum_exp=log_sum_exp):
    """-log softmax(logits)[target] of (N, C) logits and (N,) labels, with torch's class weights, smoothing and reductions."""
    wide = logits.astype(xp.result_type(logits.dtype, xp.float32), copy=False)
    counted = target != ignore_index
    label = target * counted                    # an ignored label reads class 0, and then does not count
    share = counted.astype(wide.dtype) if weight is None else weight[label] * counted
    top, log_sum = (part[:, 0] for part in log_sum_exp(xp, wide))
    loss = xp.where(counted, top - wide[xp.arange(len(label)), label] + log_sum, 0) * share
    if label_smoothing:
        below = top[:, None] - wide + log_sum[:, None]       # -log p
        everywhere = below.sum(1) if weight is None else below @ weight
        loss = (1 - label_smoothing) * loss + (label_smoothing / wide.shape[1]) * xp.where(counted, everywhere, 0)
    if reduction != "none":
        loss = loss.sum()
        loss = mean_of(xp, loss, share.sum()) if reduction == "mean" else loss
    return loss.astype(logits.dtype), (wide, top, log_sum, counted, label, share)


def cross_entropy_backward(xp, g, saved, wanted, target, weight, ignore_index, label_smoothing, reduction, exp_rows=None):
    wide, top, log_sum, counted, label, share = saved
    each = g
    if reduction == "mean":                     # where nothing counts the loss is no number, but nothing would change it
        total = share.sum()
        each = xp.where(total == 0, 0, g) / xp.where(total == 0, 1, total)
    hit = (1 - label_smoothing) * each * share
    everywhere = (label_smoothing / wide.shape[1]) * each * counted
    gx = (exp_rows or _exp_rows)(xp, wide, top, log_sum, hit + everywhere * (wide.shape[1] if weight is None else weight.sum()))
    gx[xp.arange(len(label)), label] -= hit
    if label_smoothing:
        gx -= everywhere[:, None] if weight is None else everywhere[:, None] * weight
    return gx.astype(g.dtype, copy=False),


def mean_of(xp, total, count):
    """total / count, 0-d arrays; nan, if nothing counts, as in torch, without a warning of 0 / 0."""
    return xp.where(count == 0, xp.nan, total / xp.where(count == 0, 1, count))


def _exp_rows(xp, x, top, log_sum, scale):
    """exp(x - top - log_sum) · scale, with one of each for each row."""
    y = x - top[:, None]
    y -= log_sum[:, None]
    xp.exp(y, out=y)
    y *= scale[:, None]
    return y


NEVER = -1e30                                   # the logarithm of "impossible"; finite, so that differences of two are no nan


def ctc_forward(xp, log_probs, states, may_skip, ends, input_lengths):
    """-log p(labels | log_probs) of N sequences, by the forward variables α (Graves et al. 2006, eq. 6 and 8), as logarithms."""
    wide = log_probs.astype(xp.result_type(log_probs.dtype, xp.float32), copy=False)
    emit = xp.maximum(wide[:, xp.arange(len(states))[:, None], states], NEVER)             # (T, N, L)
    emit[:, :, 0] = NEVER                       # nothing returns to the start
    alpha = xp.full((len(emit) + 1, *states.shape), NEVER, emit.dtype)
    alpha[0, :, 0] = 0
    for t in range(len(emit)):
        here, there = alpha[t], alpha[t + 1]
        there[...] = here
        there[:, 1:] = xp.logaddexp(there[:, 1:], here[:, :-1])
        there[:, 2:] = xp.logaddexp(there[:, 2:], xp.where(may_skip[:, 2:], here[:, :-2], NEVER))
        there += emit[t]
        xp.copyto(there, here, where=t >= input_lengths[:, None])
    total = sum(log_sum_exp(xp, xp.where(ends, alpha[-1], NEVER)))[:, 0]
    impossible = total < NEVER / 2
    loss = xp.where(impossible, math.inf, -total).astype(log_probs.dtype)
    return loss, (emit, alpha, xp.where(impossible, 0, total), log_probs.shape)


def ctc_backward(xp, g, saved, wanted, states, may_skip, ends, input_lengths):
    """Minus the probability of each class at each step, given the labels: α_t(s) β_t(s) / p, gathered by class (eq. 14 to 16)."""
    emit, alpha, total, shape = saved
    beta = xp.where(ends, xp.zeros((), emit.dtype), NEVER)
    share = xp.empty_like(emit)                 # of all ways to spell the labels, those that are in state s at step t
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
    gx[:, row, states[:, 1]] = share[:, :, 1::2].sum(-1)                       # every other state is the blank
    for s in range(2, states.shape[1], 2):
        gx[:, row, states[:, s]] += share[:, :, s]
    return gx.astype(g.dtype, copy=False),


def embedding_forward(xp, weight, ids):
    """weight[ids]: the embedding of integer ids that are known to be in range."""
    return weight[ids], weight.shape


def embedding_backward(xp, g, shape, wanted, ids):
    """Gradients of one row are brought together by sorting, then added up in their order: the same bits every time."""
    gw = xp.zeros(shape, g.dtype)
    order = xp.argsort(ids.reshape(-1), kind="stable")
    ids = ids.reshape(-1)[order]
    if ids.size:
        starts = xp.flatnonzero(xp.concatenate((xp.ones(1, bool), ids[1:] != ids[:-1])))
        gw[ids[starts]] = xp.add.reduceat(as_matrix(xp, g)[order], starts, axis=0)
    return gw,


def take_forward(xp, x, index):
    """x[index], with an index that is known to be in range."""
    return x[index], x.shape


def take_backward(xp, g, shape, wanted, index):
    gx = xp.zeros(shape, xp.result_type(g.dtype, xp.float32) if _may_meet(index) else g.dtype)
    take_add(xp, gx, g, shape, index)
    return gx,


def take_add(xp, total, g, shape, index):
    """What was taken is added back where it was; entries taken twice add up."""
    if _may_meet(index):
        xp.add.at(total, index, g.astype(total.dtype, copy=False))
    else:
        total[index] += g.astype(total.dtype, copy=False)


def _may_meet(index):
    """Whether an index may name a place twice; slices, numbers and masks do not."""
    return any(hasattr(part, "dtype") and part.dtype.kind != "b" for part in (index if isinstance(index, tuple) else (index,)))


def adam_step(xp, param, grad, m, v, *, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """One step of Adam (Kingma & Ba 2015, algorithm 1), or AdamW where the decay is decoupled; writes into param, m and v."""
    if decoupled:
        param *= 1 - lr * weight_decay
    elif weight_decay:
        grad = grad + weight_decay * param
    change = xp.empty_like(param)
    xp.subtract(grad, m, out=change)
    change *= 1 - beta1
    m += change
    xp.multiply(grad, grad, out=change)
    change *= 1 - beta2
    v *= beta2
    v += change
    xp.sqrt(v, out=change)
    unbias = math.sqrt(1 - beta2**step)         # m̂ / (√v̂ + eps), both sides of the fraction times this
    change += eps * unbias
    xp.divide(m, change, out=change)
    change *= lr * unbias / (1 - beta1**step)
    param -= change


def sgd_step(xp, param, grad, velocity, *, lr, momentum, dampening, weight_decay, nesterov, first):
    """One step of stochastic gradient descent, with momentum where there is a velocity; writes into param and velocity."""
    if weight_decay:
        grad = grad + weight_decay * param
    if velocity is not None:
        if first:
            velocity[...] = grad
        else:
            velocity *= momentum
            velocity += (1 - dampening) * grad if dampening else grad
        grad = grad + momentum * velocity if nesterov else velocity
    param -= lr * grad


def rmsprop_step(xp, param, grad, square, mean, velocity, *, lr, alpha, eps, weight_decay, momentum):
    """One step of RMSprop, centred where there is a mean, with momentum where there is a velocity; writes into all but grad."""
    if weight_decay:
        grad = grad + weight_decay * param
    square *= alpha
    square += (1 - alpha) * (grad * grad)
    if mean is not None:
        mean += (1 - alpha) * (grad - mean)
    change = grad / (xp.sqrt(square if mean is None else square - mean * mean) + eps)
    if velocity is not None:
        velocity *= momentum
        velocity += change
        change = velocity
    param -= lr * change


def adagrad_step(xp, param, grad, total, *, lr, eps, weight_decay):
    """One step of Adagrad (Duchi et al. 2011); writes into param and total."""
    if weight_decay:
        grad = grad + weight_decay * param
    total += grad * grad
    param -= lr * (grad / (xp.sqrt(total) + eps))


def square_sums(xp, arrays):
    """Σ array² of each, in at least float32: 0-d arrays or scalars."""
    return [square_sum(xp, array) for array in arrays]


def square_sum(xp, array):
    flat = array.reshape(-1).astype(xp.result_type(array.dtype, xp.float32), copy=False)
    return flat @ flat


def scale(xp, arrays, factor):
    """Multiply each array by the factor, in place."""
    for array in arrays:
        array *= factor


def unscale(xp, grads, factor):
    """Multiply each array by the factor, in place; returns whether all are finite: on a GPU an array, not waited for."""
    finite = True
    for grad in grads:
        grad *= factor
        finite = finite & xp.isfinite(grad).all()
    return finite


table = {
    "linear": Kernel(linear_forward, linear_backward),
    "gelu": Kernel(gelu_forward, gelu_backward),
    "softmax": Kernel(softmax_forward, softmax_backward),
    "log_softmax": Kernel(log_softmax_forward, log_softmax_backward),
    "layer_norm": Kernel(layer_norm_forward, layer_norm_backward),
    "dropout": Kernel(dropout_forward, dropout_backward),
    "scaled_dot_product_attention": Kernel(attention_forward, attention_backward),
    "cross_entropy": Kernel(cross_entropy_forward, cross_entropy_backward),
    "ctc": Kernel(ctc_forward, ctc_backward),
    "embedding": Kernel(embedding_forward, embedding_backward),
    "take": Kernel(take_forward, take_backward, add=take_add),
    "adam_step": adam_step,
    "sgd_step": sgd_step,
    "rmsprop_step": rmsprop_step,
    "adagrad_step": adagrad_step,
    "square_sums": square_sums,
    "scale": scale,
    "unscale": unscale,
}
