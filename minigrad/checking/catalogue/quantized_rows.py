"""Rows of products with quantised weights; the NumPy references unpack numbers of 4 bits one by one."""

from __future__ import annotations

import numpy as np

from ... import functional as F
from ...functional import quantized
from .rows import Row, drawn_from

R, P = drawn_from(10)
rng = np.random.default_rng(10)


def numbers(weight, scale, features):
    """The whole numbers (rows, features), each with its scale: two matrices."""
    if weight.dtype == np.int8:
        return weight.astype(float), np.repeat(scale[:, None], features, 1)
    found = np.zeros((len(weight), features))
    for (i, j), _ in np.ndenumerate(found):
        group, place = divmod(j, 64)
        pair = int(weight[i, 32 * group + place % 32])
        found[i, j] = (pair >> 4 if place >= 32 else pair & 15) - 8
    return found, np.repeat(scale, 64, 1)[:, :features]


def weights(scale, weight, features):
    return np.multiply(*numbers(weight, scale, features))


def of_scale(g, weight):
    groups = weight.shape[1] // 32  # of int4
    shape = (len(weight),) if weight.dtype == np.int8 else (len(weight), groups)
    products = g * numbers(weight, np.zeros(shape), g.shape[1])[0]
    if weight.dtype == np.int8:
        return products.sum(1)
    return np.stack([products[:, i : i + 64].sum(1) for i in range(0, 64 * groups, 64)], 1)


EIGHT = rng.integers(-127, 128, (7, 19)).astype(np.int8)
FOUR = rng.integers(0, 256, (5, 64)).astype(np.uint8)
ROWS = [
    Row("dequantize", lambda s, n: F.dequantize(n, s), (R(7), EIGHT), lambda s, n: weights(s, n, n.shape[1]), (0, 1)),
    Row("dequantize", lambda s, n: F.dequantize(n, s, 67), (R(5, 2), FOUR), lambda s, n: weights(s, n, 67), (0, 1)),
    Row(
        "quantized_linear",
        lambda x, s, b, n: F.quantized_linear(x, n, s, b),
        (R(3, 19), P(7), R(7), EIGHT),
        lambda x, s, b, n: x @ weights(s, n, x.shape[-1]).T + b,
    ),
    Row(
        "quantized_linear",
        lambda x, s, n: F.quantized_linear(x, n, s),
        (R(2, 1, 67), R(5, 2), FOUR),
        lambda x, s, n: x @ weights(s, n, x.shape[-1]).T,
    ),
    Row("quantized_scale_grad", lambda g, n: quantized._of_scale(g, n), (R(7, 19), EIGHT), of_scale, (0, 1)),
    Row("quantized_scale_grad", lambda g, n: quantized._of_scale(g, n), (R(5, 67), FOUR), of_scale, (0, 1)),
]
