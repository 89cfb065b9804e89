"""Rows of the catalogue for volumes, for normalisation over examples and channels, and for dropout of channels."""

from __future__ import annotations

import math

import numpy as np

from ... import functional as F
from ...functional import dropouts
from ...ops.window import Window
from .rows import Row, drawn_from
from .window_rows import adaptive, conv, conv_input_grad, max_pool, seen

R, P = drawn_from(7)
CUBE = Window((2, 2, 1), (2, 1, 1), ((1, 1), (0, 0), (0, 0)), (1, 1, 1))
DEEP = Window((2, 1, 2), (1, 1, 2), ((0, 0), (0, 0), (1, 1)), (2, 1, 1))
BACK = Window((2, 2, 1), (2, 1, 1), ((1, 1), (0, 0), (0, 0)), (1, 1, 1))


def avg_pool(x, w):
    """Zeros of the padding count in the mean."""
    places = [(n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(x.shape[2:], *w, strict=True)]
    y = np.zeros((*x.shape[:2], *places))
    for q, _, at in seen(x.shape[2:], w):
        y[:, :, *q] += x[:, :, *at] / math.prod(w.kernel)
    return y


def lp_pool(x, p, w):
    return (avg_pool(x**p, w) * math.prod(w.kernel)) ** (1 / p)


def instance_norm(x, weight, bias, eps=1e-5):
    axes = tuple(range(2, x.ndim))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    return y * weight[:, None] + bias[:, None]


def local_response_norm(x):
    y = np.zeros_like(x)
    for c in range(x.shape[1]):
        near = x[:, max(0, c - 1) : c + 1]
        y[:, c] = x[:, c] / (0.5 + 0.3 / 2 * (near * near).sum(1)) ** 0.75
    return y


KEEP = np.array([[[True], [False]], [[True], [True]]])
SCALE = 1 / math.sqrt(0.75 * (1 + 0.25 * dropouts.FLOOR**2))

ROWS = [
    Row(
        "conv3d",
        lambda x, weight, bias: F.conv3d(x, weight, bias, (2, 1, 1), (1, 0, 0), 1, 2),
        (R(1, 2, 2, 3, 2), R(2, 1, 2, 2, 1), R(2)),
        lambda x, weight, bias: conv(x, weight, bias, CUBE, 2),
    ),
    Row(
        "conv3d",
        lambda x, weight: F.conv3d(x, weight, None, (1, 1, 2), (0, 0, 1), (2, 1, 1)),
        (R(1, 1, 3, 1, 2), R(2, 1, 2, 1, 2)),
        lambda x, weight: conv(x, weight, None, DEEP),
    ),
    Row(
        "conv_transpose3d",
        lambda g, weight: F.conv_transpose3d(g, weight, None, (2, 1, 1), (1, 0, 0), groups=2),
        (R(1, 2, 2, 1, 2), R(2, 1, 2, 2, 1)),
        lambda g, weight: conv_input_grad(g, weight, (2, 2, 2), BACK, 2),
    ),
    Row(
        "max_pool3d",
        lambda x: F.max_pool3d(x, (2, 2, 1), (2, 1, 1), (1, 0, 0)),
        (R(1, 2, 2, 3, 2),),
        lambda x: max_pool(x, CUBE),
    ),
    Row(
        "avg_pool3d",
        lambda x: F.avg_pool3d(x, (2, 2, 1), (2, 1, 1), (1, 0, 0)),
        (R(1, 2, 2, 3, 2),),
        lambda x: avg_pool(x, CUBE),
    ),
    Row(
        "adaptive_avg_pool3d",
        lambda x: F.adaptive_avg_pool3d(x, (2, 1, 3)),
        (R(1, 2, 3, 2, 2),),
        lambda x: adaptive(x, (2, 1, 3), np.mean),
    ),
    Row(
        "adaptive_max_pool3d",
        lambda x: F.adaptive_max_pool3d(x, (2, 1, 3)),
        (R(1, 2, 3, 2, 2),),
        lambda x: adaptive(x, (2, 1, 3), np.max),
    ),
    Row(
        "lp_pool1d",
        lambda x: F.lp_pool1d(x, 3.0, 2, 1),
        (P(1, 2, 3),),
        lambda x: lp_pool(x, 3.0, Window((2,), (1,), ((0, 0),), (1,))),
    ),
    Row(
        "lp_pool2d",
        lambda x: F.lp_pool2d(x, 2.0, 2),
        (R(1, 2, 2, 4),),
        lambda x: lp_pool(x, 2.0, Window((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))),
    ),
    Row(
        "lp_pool3d",
        lambda x: F.lp_pool3d(x, 2.0, 2),
        (R(1, 1, 2, 2, 2),),
        lambda x: lp_pool(x, 2.0, Window((2, 2, 2), (2, 2, 2), ((0, 0),) * 3, (1, 1, 1))),
    ),
    Row(
        "instance_norm",
        lambda x, weight, bias: F.instance_norm(x, None, None, weight, bias),
        (R(2, 3, 4), R(3), R(3)),
        instance_norm,
    ),
    Row(
        "local_response_norm", lambda x: F.local_response_norm(x, 2, 0.3, 0.75, 0.5), (R(2, 3, 2),), local_response_norm
    ),
    Row(
        "alpha_dropped",
        lambda x, keep: dropouts.alpha_dropped(x, keep, 0.25),
        (R(2, 2, 3), KEEP),
        lambda x, keep: (np.where(keep, x, dropouts.FLOOR) - 0.25 * dropouts.FLOOR) * SCALE,
        (0, 1),
    ),
]
