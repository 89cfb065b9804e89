"""Rows of the catalogue for convolution and pooling; the NumPy references loop over outputs and kernel entries."""

from __future__ import annotations

from itertools import product

import numpy as np

from ... import functional as F
from ...functional import norms
from ...ops import pool, window
from ...ops.window import Window
from .rows import R, Row

PLAIN = Window((2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1))
UNEVEN = Window((3, 2), (2, 1), ((1, 2), (0, 1)), (1, 2))
LINE = Window((3,), (2,), ((1, 1),), (1,))
SAME = Window((3, 2), (1, 1), ((1, 1), (0, 1)), (1, 1))
POINT = Window((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1))


def seen(size, w):
    """(output index, kernel index, input index) of every product whose input index lies inside the input."""
    places = [(n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, *w, strict=True)]
    for q, k in product(np.ndindex(*places), np.ndindex(w.kernel)):
        at = tuple(s * i + d * j - p for i, j, s, (p, _), d in zip(q, k, w.stride, w.padding, w.dilation, strict=True))
        if all(0 <= i < n for i, n in zip(at, size, strict=True)):
            yield q, k, at


def outputs(size, w):
    return tuple((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, *w, strict=True))


def channels(weight, groups):
    """(output channel, channel of the weight, input channel) of every pair that a grouped convolution connects."""
    each = len(weight) // groups
    return [(o, c, o // each * weight.shape[1] + c) for o in range(len(weight)) for c in range(weight.shape[1])]


def conv(x, weight, bias=None, w=PLAIN, groups=1):
    y = np.zeros((len(x), len(weight), *outputs(x.shape[2:], w)))
    for (q, k, at), (o, c, i) in product(seen(x.shape[2:], w), channels(weight, groups)):
        y[:, o, *q] += weight[o, c, *k] * x[:, i, *at]
    return y if bias is None else y + bias.reshape(-1, *(1,) * len(w.kernel))


def conv_input_grad(g, weight, size, w, groups=1):
    x = np.zeros((len(g), weight.shape[1] * groups, *size))
    for (q, k, at), (o, c, i) in product(seen(size, w), channels(weight, groups)):
        x[:, i, *at] += weight[o, c, *k] * g[:, o, *q]
    return x


def conv_weight_grad(x, g, w, groups=1):
    weight = np.zeros((g.shape[1], x.shape[1] // groups, *w.kernel))
    for (q, k, at), (o, c, i) in product(seen(x.shape[2:], w), channels(weight, groups)):
        weight[o, c, *k] += (x[:, i, *at] * g[:, o, *q]).sum()
    return weight


def max_pool(x, w):
    y = np.full((*x.shape[:2], *outputs(x.shape[2:], w)), -np.inf)
    for q, _, at in seen(x.shape[2:], w):
        y[:, :, *q] = np.maximum(y[:, :, *q], x[:, :, *at])
    return y


def collect(x, chosen, w):
    y = np.zeros((*x.shape[:2], *outputs(x.shape[2:], w)))
    for q, k, at in seen(x.shape[2:], w):
        mine = 1 if chosen is None else chosen[:, :, *q] == np.ravel_multi_index(k, w.kernel)
        y[:, :, *q] += mine * x[:, :, *at]
    return y


def spread(g, size, chosen, w):
    x = np.zeros((*g.shape[:2], *size))
    for q, k, at in seen(size, w):
        mine = 1 if chosen is None else chosen[:, :, *q] == np.ravel_multi_index(k, w.kernel)
        x[:, :, *at] += mine * g[:, :, *q]
    return x


def adaptive(x, sizes, reduce):
    y = np.zeros((*x.shape[:2], *sizes))
    for q in np.ndindex(*sizes):
        parts = tuple(slice(i * n // m, -(-(i + 1) * n // m)) for i, n, m in zip(q, x.shape[2:], sizes, strict=True))
        y[:, :, *q] = reduce(x[:, :, *parts], tuple(range(2, x.ndim)))
    return y


def batch_norm(x, weight=1.0, bias=0.0, eps=1e-5):
    axes, (weight, bias) = (0, *range(2, x.ndim)), (np.reshape(p, (-1, *(1,) * (x.ndim - 2))) for p in (weight, bias))
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps) * weight + bias


def conv_norm(x, weight, scale, shift, more, w=PLAIN, groups=1):
    return conv(x, weight * scale.reshape(-1, *(1,) * (weight.ndim - 1)), shift, w, groups) + more


CHOSEN = np.random.default_rng(1).integers(0, 6, (2, 2, 3, 3))

ROWS = [
    Row(
        "conv",
        lambda x, weight, bias: window.conv(x, weight, bias, PLAIN, 1),
        (R(2, 2, 3, 3), R(3, 2, 2, 2), R(3)),
        conv,
    ),
    Row(
        "conv",
        lambda x, weight, bias: window.conv(x, weight, bias, UNEVEN, 2),
        (R(2, 4, 4, 3), R(4, 2, 3, 2), R(4)),
        lambda x, weight, bias: conv(x, weight, bias, UNEVEN, 2),
    ),
    Row(
        "conv",
        lambda x, weight: window.conv(x, weight, None, POINT, 1),
        (R(2, 2, 2, 3), R(3, 2, 1, 1)),
        lambda x, weight: conv(x, weight, None, POINT),
    ),
    Row(
        "conv",
        lambda x, weight: F.conv1d(x, weight, None, 2, 1, 1, 3),
        (R(2, 3, 4), R(6, 1, 3)),
        lambda x, weight: conv(x, weight, None, LINE, 3),
    ),
    Row(
        "conv_norm",
        lambda *x: window.conv_norm(*x, window=PLAIN, groups=1, is_relu=True),
        (R(2, 2, 3, 3), R(3, 2, 2, 2), R(3), R(3), R(2, 3, 2, 2)),
        lambda *x: np.maximum(conv_norm(*x), 0),
        (0, 4),
    ),
    Row(
        "conv_norm",
        lambda x, weight, scale, shift: window.conv_norm(x, weight, scale, shift, None, UNEVEN, 2, False),
        (R(2, 4, 4, 3), R(4, 2, 3, 2), R(4), R(4)),
        lambda *x: conv_norm(*x, more=0, w=UNEVEN, groups=2),
    ),
    Row(
        "conv_norm",
        lambda *x: window.conv_norm(*x, window=POINT, groups=1, is_relu=True),
        (R(3, 2, 2, 3), R(3, 2, 1, 1), R(3), R(3), R(3, 3, 2, 3)),
        lambda *x: np.maximum(conv_norm(*x, w=POINT), 0),
        (0, 4),
    ),
    Row(
        "conv_norm",
        lambda *x: window.conv_norm(*x, window=LINE, groups=3, is_relu=False),
        (R(2, 3, 4), R(3, 1, 3), R(3), R(3), R(2, 3, 2)),
        lambda *x: conv_norm(*x, w=LINE, groups=3),
        (0, 4),
    ),
    Row(
        "conv_input_grad",
        lambda g, weight: window.conv_input_grad(g, weight, (5, 4), UNEVEN, 2),
        (R(2, 4, 3, 3), R(4, 1, 3, 2)),
        lambda g, weight: conv_input_grad(g, weight, (5, 4), UNEVEN, 2),
    ),
    Row(
        "conv_input_grad",
        lambda g, weight: window.conv_input_grad(g, weight, (4, 3), SAME, 2),
        (R(2, 4, 4, 3), R(4, 2, 3, 2)),
        lambda g, weight: conv_input_grad(g, weight, (4, 3), SAME, 2),
    ),
    Row(
        "conv_input_grad",
        lambda g, weight: window.conv_input_grad(g, weight, (4,), LINE, 2),
        (R(2, 2, 2), R(2, 1, 3)),
        lambda g, weight: conv_input_grad(g, weight, (4,), LINE, 2),
    ),
    Row(
        "conv_weight_grad",
        lambda x, g: window.conv_weight_grad(x, g, UNEVEN, 2),
        (R(2, 4, 4, 3), R(2, 2, 3, 2)),
        lambda x, g: conv_weight_grad(x, g, UNEVEN, 2),
        (0, 1),
    ),
    Row(
        "batch_norm",
        lambda x, weight, bias: F.batch_norm(x, weight=weight, bias=bias, training=True),
        (R(4, 2, 3, 2), R(2), R(2)),
        batch_norm,
        (),
    ),
    Row(
        "batch_norm",
        lambda x: F.batch_norm(x, training=True, eps=0.1),
        (R(4, 3),),
        lambda x: batch_norm(x, eps=0.1),
        (),
    ),
    Row(
        "per_channel",
        norms._per_channel,
        (R(3, 2, 4), R(2), R(2)),
        lambda x, weight, bias: x * weight[:, None] + bias[:, None],
    ),
    Row("per_channel", lambda x, bias: norms._per_channel(x, None, bias), (R(3, 2), R(2)), lambda x, bias: x + bias),
    Row("max_pool", lambda x: pool.max_pool(x, UNEVEN), (R(2, 2, 4, 3),), lambda x: max_pool(x, UNEVEN)),
    Row("max_pool", lambda x: F.max_pool1d(x, 3, 2, 1), (R(2, 2, 4),), lambda x: max_pool(x, LINE)),
    Row("collect", lambda x: pool.collect(x, None, UNEVEN), (R(2, 2, 4, 3),), lambda x: collect(x, None, UNEVEN)),
    Row(
        "collect",
        lambda x, chosen: pool.collect(x, chosen, UNEVEN),
        (R(2, 2, 5, 4), CHOSEN),
        lambda x, chosen: collect(x, chosen, UNEVEN),
        (),
    ),
    Row(
        "spread",
        lambda g: pool.spread(g, (5, 4), None, UNEVEN),
        (R(2, 2, 3, 3),),
        lambda g: spread(g, (5, 4), None, UNEVEN),
    ),
    Row(
        "spread",
        lambda g, chosen: pool.spread(g, (5, 4), chosen, UNEVEN),
        (R(2, 2, 3, 3), CHOSEN),
        lambda g, chosen: spread(g, (5, 4), chosen, UNEVEN),
        (),
    ),
    Row(
        "adaptive_avg_pool2d",
        lambda x: F.adaptive_avg_pool2d(x, (4, 2)),
        (R(2, 2, 3, 5),),
        lambda x: adaptive(x, (4, 2), np.mean),
    ),
    Row(
        "adaptive_max_pool2d",
        lambda x: F.adaptive_max_pool2d(x, (4, 2)),
        (R(2, 2, 3, 5),),
        lambda x: adaptive(x, (4, 2), np.max),
    ),
]
