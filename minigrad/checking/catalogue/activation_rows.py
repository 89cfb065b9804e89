"""Rows of the catalogue for activations; the references are formulas."""

from __future__ import annotations

import numpy as np

from ... import functional as F
from ...functional.dropouts import with_slopes
from .rows import Row, drawn_from

R, P = drawn_from(4)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def elu(x, alpha=1.0, width=1.0):
    return np.where(x > 0, x, alpha * (np.exp(x / width) - 1))


def softmin(x, axis=-1):
    return np.exp(-x) / np.exp(-x).sum(axis, keepdims=True)


def prelu(x, weight):
    return np.where(x > 0, x, weight.reshape(weight.shape + (1,) * (x.ndim - 2)) * x)


ROWS = [
    Row("prelu", F.prelu, (R(2, 3), R(3)), lambda x, w: np.where(x > 0, x, w * x)),
    Row("prelu", F.prelu, (R(2, 3, 2), R(3)), prelu),
    Row("elu", lambda x: F.elu(x, 1.5), (R(2, 3),), lambda x: elu(x, 1.5)),
    Row("celu", lambda x: F.celu(x, 1.5), (R(2, 3),), lambda x: elu(x, 1.5, 1.5)),
    Row("selu", F.selu, (R(2, 3),), lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772)),
    Row("mish", F.mish, (R(2, 3),), lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    Row("hardsigmoid", F.hardsigmoid, (3 * R(2, 3),), lambda x: np.clip(x + 3, 0, 6) / 6),
    Row("hardswish", F.hardswish, (3 * R(2, 3),), lambda x: x * np.clip(x + 3, 0, 6) / 6),
    Row("hardtanh", lambda x: F.hardtanh(x, -0.5, 0.25), (R(2, 3),), lambda x: np.clip(x, -0.5, 0.25)),
    Row("softsign", F.softsign, (R(2, 3),), lambda x: x / (1 + abs(x))),
    Row("softshrink", F.softshrink, (R(2, 3),), lambda x: np.sign(x) * np.maximum(abs(x) - 0.5, 0)),
    Row("hardshrink", F.hardshrink, (R(2, 3),), lambda x: np.where(abs(x) > 0.5, x, 0)),
    Row("tanhshrink", F.tanhshrink, (P(2, 3),), lambda x: x - np.tanh(x)),
    Row("threshold", lambda x: F.threshold(x, 0.1, 0.75), (R(2, 3),), lambda x: np.where(x > 0.1, x, 0.75)),
    Row("glu", F.glu, (R(2, 4),), lambda x: x[:, : x.shape[1] // 2] * sigmoid(x[:, x.shape[1] // 2 :])),
    Row("with_slopes", with_slopes, (R(2, 3), P(2, 3)), lambda x, slopes: np.where(x > 0, x, slopes * x), (0, 1)),
    Row("softmin", F.softmin, (R(2, 3),), softmin),
]
