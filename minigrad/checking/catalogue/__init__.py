"""The catalogue of ops: for each, example calls, their inputs, and the result computed in NumPy.

test_catalogue.py runs every test on every row, and fails if an op has no row.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import functional as F
from ... import losses, ops
from ...functional import activations
from ...nn.position import rotate
from ...primitive import OPS, Primitive
from . import (
    activation_rows,
    arrangement_rows,
    elementwise_rows,
    image_rows,
    linalg_rows,
    loss_rows,
    margin_rows,
    quantized_rows,
    recurrent_rows,
    volume_rows,
    window_rows,
)
from .rows import P, R, Row


def added_at(g, shape, index):
    out = np.zeros(shape)
    np.add.at(out, index, g)
    return out


def scattered(x, ids, src):
    y = x.astype(np.result_type(x, src))
    np.put_along_axis(y, ids, src, 1)
    return y


def put_along(g, ids, shape, axis):
    out = np.zeros(shape)
    for place in np.ndindex(ids.shape):
        out[(*place[:axis], ids[place], *place[axis + 1 :])] += g[place]
    return out


def softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


def gelu(x):
    return x * (1 + np.vectorize(math.erf, [float])(x / math.sqrt(2))) / 2


def gelu_tanh(x):
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def layer_norm(x, weight=1, bias=0, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias


def attention(q, k, v, allowed: Any = True, added=0, scale=None):
    """softmax(q kᵀ scale + added) v over the keys that are allowed; 0 for a query that may attend to no key."""
    scores = (
        np.exp(q @ k.swapaxes(-1, -2) * (1 / math.sqrt(q.shape[-1] or 1) if scale is None else scale) + added) * allowed
    )
    total = scores.sum(-1, keepdims=True)
    return scores / np.where(total == 0, 1, total) @ v


def turned(x, cos, sin):
    first, second = np.split(x, 2, -1)
    return x * cos + np.concatenate([-second, first], -1) * sin


def cross_entropy(x, labels, weight=None, ignore=-100, smoothing=0.0, reduction="mean"):
    """The formula, one example at a time."""
    weight, losses, total = np.ones(x.shape[1]) if weight is None else weight, [], 0.0
    for row, label in zip(np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]), labels.ravel(), strict=True):
        log_p = np.log(softmax(row))
        counts = label != ignore
        losses.append(
            -(1 - smoothing) * log_p[label] * weight[label] - smoothing * np.mean(log_p * weight) if counts else 0.0
        )
        total += weight[label] if counts else 0.0
    if reduction == "none":
        return np.reshape(losses, labels.shape)
    return sum(losses) / np.float64(total if reduction == "mean" else 1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


CONSTANT = {name for name, op in OPS.items() if isinstance(op, Primitive) and op.rules == {}}
NO_GRADIENT = CONSTANT | elementwise_rows.QUESTIONS | arrangement_rows.QUESTIONS
BROADCASTING = {
    "add",
    "subtract",
    "multiply",
    "divide",
    "power_by",
    "maximum",
    "minimum",
    "where",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    *elementwise_rows.BROADCASTING,
}
MASK = np.array([[True, False, True], [False, False, False]])  # the second query may attend to nothing
LABELS = np.array([2, 0, -100, 4])

ROWS = [
    # arithmetic
    Row("add", ops.add, (R(2, 3), R(2, 3)), np.add, (0, 1)),
    Row("add", lambda x: ops.add(x, 2), (R(2, 3),), lambda x: x + 2),
    Row("add", lambda x: ops.add(np.float64(2), x), (R(2, 3),), lambda x: 2 + x),
    Row("subtract", ops.subtract, (R(2, 3), R(2, 3)), np.subtract, (0, 1)),
    Row("subtract", lambda x: ops.subtract(2, x), (R(2, 3),), lambda x: 2 - x),
    Row("multiply", ops.multiply, (R(2, 3), R(2, 3)), np.multiply, (0, 1)),
    Row("multiply", lambda x: ops.multiply(x, 2.5), (R(2, 3),), lambda x: x * 2.5),
    Row("divide", ops.divide, (R(2, 3), P(2, 3)), np.divide, (0, 1)),
    Row("divide", lambda x: ops.divide(2, x), (P(2, 3),), lambda x: 2 / x),
    Row("add", lambda x: ops.add(0.1, x), (R(2, 3),), lambda x: 0.1 + x),
    Row("subtract", lambda x: ops.subtract(x, 0.1), (R(2, 3),), lambda x: x - 0.1),
    Row("multiply", lambda x: ops.multiply(x, 0.1), (R(2, 3),), lambda x: x * 0.1),
    Row("negative", ops.negative, (R(2, 3),), np.negative),
    Row("power_of", lambda x: ops.power(x, 3), (R(2, 3),), lambda x: x**3),
    Row("power_of", lambda x: ops.power(x, -0.5), (P(2, 3),), lambda x: x**-0.5),
    Row("power_of", lambda x: ops.power(x, 0), (R(2, 3),), np.ones_like),
    Row("power_of", lambda x: ops.power(x, 1), (np.array([0.0, -1, 2]),), lambda x: x),
    Row("power_by", ops.power, (P(2, 3), R(2, 3)), np.power, (0, 1)),
    Row("power_by", lambda x: ops.power(2, x), (R(2, 3),), lambda x: 2**x),
    Row("abs", ops.abs, (R(2, 3),), np.abs),
    Row("sign", ops.sign, (R(2, 3),), np.sign),
    Row("maximum", ops.maximum, (R(2, 3), R(2, 3)), np.maximum, (0, 1)),
    Row("maximum", lambda x: ops.maximum(x, 0.5), (R(2, 3),), lambda x: np.maximum(x, 0.5)),
    Row("minimum", ops.minimum, (R(2, 3), R(2, 3)), np.minimum, (0, 1)),
    Row("where", ops.where, (R(2, 3) > 0, R(2, 3), R(2, 3)), np.where, (0, 1, 2)),
    Row("where", lambda c, x: ops.where(c, 0, x), (R(2, 3) > 0, R(2, 3)), lambda c, x: np.where(c, 0, x), (0, 1)),
    Row("astype", lambda x: ops.astype(x, x.dtype), (R(2, 3),), lambda x: x),
    *[
        Row(name, getattr(ops, name), (np.round(R(4, 3)), np.round(R(4, 3))), getattr(np, name), (0, 1))
        for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    ],
    Row("to_device", lambda x: ops.to_device(x, "cpu"), (R(2, 3),), lambda x: x),
    # elementwise
    Row("exp", ops.exp, (R(2, 3),), np.exp),
    Row("log", ops.log, (P(2, 3),), np.log),
    Row("log1p", ops.log1p, (P(2, 3),), np.log1p),
    Row("expm1", ops.expm1, (R(2, 3),), np.expm1),
    Row("sqrt", ops.sqrt, (P(2, 3),), np.sqrt),
    Row("sin", ops.sin, (R(2, 3),), np.sin),
    Row("cos", ops.cos, (R(2, 3),), np.cos),
    Row("tanh", ops.tanh, (R(2, 3),), np.tanh),
    Row("sigmoid", ops.sigmoid, (R(2, 3),), sigmoid),
    Row("erf", ops.erf, (R(2, 3),), np.vectorize(math.erf, [float])),
    Row(
        "normal_cdf",
        activations._normal_cdf,
        (R(2, 3),),
        np.vectorize(lambda x: math.erfc(-x / math.sqrt(2)) / 2, [float]),
    ),
    Row("normal_pdf", activations._normal_pdf, (R(2, 3),), lambda x: np.exp(-x * x / 2) / math.sqrt(2 * math.pi)),
    Row("relu", ops.relu, (R(2, 3),), lambda x: np.where(x > 0, x, 0)),
    Row("clip", lambda x: ops.clip(x, -0.5, 0.25), (R(2, 3),), lambda x: np.clip(x, -0.5, 0.25)),
    Row("clip", lambda x: ops.clip(x, None, 0.25), (R(2, 3),), lambda x: np.minimum(x, 0.25)),
    Row(
        "where",
        lambda x, low, high: ops.clip(x, low - 2, high),
        (R(2, 3), P(2, 3), P(2, 3)),
        lambda x, low, high: np.clip(x, low - 2, high),
        (0, 1, 2),
    ),
    Row("logsigmoid", ops.logsigmoid, (R(2, 3),), lambda x: np.log(sigmoid(x))),
    # reduce
    Row("sum", lambda x: ops.sum(x, 1), (R(2, 3),), lambda x: x.sum(1)),
    Row("sum", lambda x: ops.sum(x), (R(2, 3),), lambda x: x.sum()),
    Row("sum", lambda x: ops.sum(x, (0, -1), True), (R(2, 3, 2),), lambda x: x.sum((0, 2), keepdims=True)),
    Row("mean", lambda x: ops.mean(x, 1), (R(2, 3),), lambda x: x.mean(1)),
    Row(
        "mean", lambda x: ops.mean(x, dim=(1, 2), keepdim=True), (R(2, 3, 2),), lambda x: x.mean((1, 2), keepdims=True)
    ),
    Row("var", lambda x: ops.var(x, -1, correction=1), (R(2, 3),), lambda x: x.var(-1, ddof=1)),
    Row("std", lambda x: ops.std(x, 1, correction=1), (R(2, 3),), lambda x: x.std(1, ddof=1)),
    Row("norm", lambda x: ops.norm(x, axis=1), (R(2, 3),), lambda x: np.linalg.norm(x, axis=1)),
    Row("prod", lambda x: ops.prod(x, 1), (R(2, 3),), lambda x: x.prod(1)),
    Row("max", lambda x: ops.max(x, 1), (R(2, 3),), lambda x: x.max(1)),
    Row("max", lambda x: ops.max(x, (1, 2), True), (R(2, 3, 2),), lambda x: x.max((1, 2), keepdims=True)),
    Row("min", lambda x: ops.min(x, -1), (R(2, 3),), lambda x: x.min(-1)),
    Row("argmax", lambda x: ops.argmax(x, 1), (R(2, 3),), lambda x: x.argmax(1)),
    Row("logsumexp", lambda x: ops.logsumexp(x, 1), (R(2, 3),), lambda x: np.log(np.exp(x).sum(1))),
    Row(
        "logsumexp",
        lambda x: ops.logsumexp(x, (1, 2), True),
        (R(2, 3, 2),),
        lambda x: np.log(np.exp(x).sum((1, 2), keepdims=True)),
    ),
    Row("softmax", ops.softmax, (R(2, 3),), softmax),
    Row("softmax", lambda x: ops.softmax(x, 1), (R(2, 3, 2),), lambda x: softmax(x, 1)),
    Row("log_softmax", ops.log_softmax, (R(2, 3),), lambda x: np.log(softmax(x))),
    Row("log_softmax", lambda x: ops.log_softmax(x, 1), (R(2, 3, 2),), lambda x: np.log(softmax(x, 1))),
    Row("sum_to", lambda x: ops.sum_to(x, (3, 1)), (R(2, 3, 4),), lambda x: x.sum((0, 2))[:, None]),
    # shape
    Row("reshape", lambda x: ops.reshape(x, (-1, 2)), (R(2, 3, 2),), lambda x: x.reshape(-1, 2)),
    Row(
        "broadcast_to",
        lambda x: ops.broadcast_to(x, (2, *x.shape[:2], 4)),
        (R(2, 3, 1),),
        lambda x: x + np.zeros((2, 1, 1, 4)),
    ),
    Row("swapaxes", lambda x: ops.swapaxes(x, 0, -1), (R(2, 3, 2),), lambda x: x.swapaxes(0, -1)),
    Row("transpose", ops.transpose, (R(2, 3, 2),), np.transpose),
    Row("transpose", lambda x: ops.transpose(x, (2, 0, 1)), (R(2, 3, 2),), lambda x: x.transpose(2, 0, 1)),
    Row("concatenate", lambda *xs: ops.concatenate(xs), (R(2, 3), R(1, 3)), lambda *xs: np.concatenate(xs), (0, 1)),
    Row(
        "concatenate",
        lambda *xs: ops.concatenate(xs, -1),
        (R(2, 3), R(2, 1), R(2, 2)),
        lambda *xs: np.concatenate(xs, -1),
        (0, 1, 2),
    ),
    Row("expand_dims", lambda x: ops.expand_dims(x, -1), (R(2, 3),), lambda x: x[..., None]),
    Row("squeeze", lambda x: ops.squeeze(x, 1), (R(2, 1, 3),), lambda x: x[:, 0]),
    Row("flatten", lambda x: ops.flatten(x), (R(2, 3),), np.ravel),
    Row("stack", lambda *xs: ops.stack(xs, 1), (R(2, 3), R(2, 3)), lambda *xs: np.stack(xs, 1), (0, 1)),
    Row("flip", lambda x: ops.flip(x, (0, 2)), (R(2, 3, 2),), lambda x: x[::-1, :, ::-1]),
    Row("tile", lambda x: ops.tile(x, (2, 1, 3)), (R(2, 3),), lambda x: np.tile(x, (2, 1, 3))),
    Row(
        "pad",
        lambda x: ops.pad(x, ((0, 0), (1, 2)), 7),
        (R(2, 3),),
        lambda x: np.pad(x, ((0, 0), (1, 2)), constant_values=7),
    ),
    Row("tril", lambda x: ops.tril(x, -1), (R(2, 3, 3),), lambda x: np.tril(x, -1)),
    Row("triu", lambda x: ops.triu(x, 1), (R(2, 3, 3),), lambda x: np.triu(x, 1)),
    Row("split", lambda x: ops.split(x, 2, 1)[1], (R(2, 3),), lambda x: x[:, 2:]),
    # index
    Row("take", lambda x: ops.pick(x, 1), (R(2, 3),), lambda x: x[1], ()),
    Row("take", lambda x: ops.pick(x, (slice(None), slice(None, None, -2))), (R(2, 3),), lambda x: x[:, ::-2]),
    Row("take", lambda x: ops.pick(x, (..., None, 1)), (R(2, 3),), lambda x: x[..., None, 1]),
    Row("take", lambda x, i: ops.pick(x, i), (R(4, 2), np.array([[0, 2], [2, -2]])), lambda x, i: x[i], (1,)),
    Row(
        "take",
        lambda x, i: ops.pick(x, (slice(None), i, i)),
        (R(2, 3, 3), np.array([2, 0, 2])),
        lambda x, i: x[:, i, i],
    ),
    Row("take", lambda x, m: ops.pick(x, m), (R(2, 3), R(2, 3) > 0), lambda x, m: x[m], (0, 1)),
    Row("take", lambda x: ops.take(x, [[0, 5], [-1, 0]]), (R(2, 3),), lambda x: x.take([[0, 5], [-1, 0]]), ()),
    Row("take", lambda x: ops.take(x, [2, 0, 2], 1), (R(2, 3),), lambda x: x.take([2, 0, 2], 1)),
    Row(
        "add_at",
        lambda g, i: ops.add_at(g, (4, 2), i),
        (R(3, 2), np.array([2, 0, 2])),
        lambda g, i: added_at(g, (4, 2), i),
        (0, 1),
    ),
    Row(
        "add_at",
        lambda g: ops.add_at(g, (4, 3), slice(None, None, 2)),
        (R(2, 3),),
        lambda g: added_at(g, (4, 3), slice(None, None, 2)),
        (),
    ),
    Row("embedding", lambda w, i: ops.embedding(i, w), (R(4, 2), np.array([[0, 2], [2, 3]])), lambda w, i: w[i], (1,)),
    Row(
        "gather",
        lambda x, i: ops.gather(x, 1, i),
        (R(2, 3), np.array([[0, 2, 2, -1], [1, 1, 1, 0]])),
        lambda x, i: np.take_along_axis(x, i, 1),
        (0, 1),
    ),
    Row(
        "put_along",
        lambda g, i: ops.put_along(g, (len(g), 3), 1, i),
        (R(2, 4), np.array([[0, 2, 2, -1], [1, 1, 1, 0]])),
        lambda g, i: put_along(g, i, (len(g), 3), 1),
        (0, 1),
    ),
    Row(
        "scatter",
        lambda x, i, src: ops.scatter(x, 1, i, src),
        (R(2, 3), np.array([[0, 2], [1, 1]]), R(2, 2)),
        scattered,
        (0, 1, 2),
    ),
    Row(
        "scatter_add",
        lambda x, i, src: ops.scatter_add(x, 1, i, src),
        (R(2, 3), np.array([[0, 2], [2, 2]]), R(2, 2)),
        lambda x, i, src: x + put_along(src, i, x.shape, 1),
        (0, 1, 2),
    ),
    # order
    Row("argsort", lambda x: ops.argsort(x, 1), (R(2, 4),), lambda x: x.argsort(1)),
    Row("sort", lambda x: ops.sort(x, 1)[0], (R(2, 4),), lambda x: np.sort(x, 1)),
    Row("sort", lambda x: ops.sort(x, -1, descending=True)[0], (R(2, 4),), lambda x: -np.sort(-x, 1)),
    Row("topk", lambda x: ops.topk(x, 2, 1)[0], (R(2, 4),), lambda x: -np.sort(-x, 1)[:, :2]),
    Row("topk", lambda x: ops.topk(x, 2, 1, largest=False)[0], (R(2, 4),), lambda x: np.sort(x, 1)[:, :2]),
    Row("cumsum", lambda x: ops.cumsum(x, 1), (R(2, 4),), lambda x: x.cumsum(1)),
    # linalg
    Row("matmul", ops.matmul, (R(2, 3), R(3, 2)), np.matmul),
    Row("matmul", ops.matmul, (R(2, 1, 2, 3), R(2, 3, 2)), np.matmul),
    Row("matmul", ops.matmul, (R(2, 2, 3), R(3, 2)), np.matmul),
    Row("matmul", ops.matmul, (R(2, 3, 2), R(2, 2, 2)), np.matmul, (0, 1)),
    Row("matmul", ops.matmul, (R(3), R(3)), np.matmul, ()),
    Row("matmul", ops.matmul, (R(2, 2, 3), R(3)), np.matmul),
    Row("matmul", ops.matmul, (R(3), R(2, 3, 2)), np.matmul, (1,)),
    Row("linear", F.linear, (R(2, 3), R(2, 3), R(2)), lambda x, w, b: x @ w.T + b),
    Row("linear", F.linear, (R(2, 3, 2), R(3, 2), R(3)), lambda x, w, b: x @ w.T + b),
    Row("linear", lambda x, w: F.linear(x, w, None), (R(2, 3), R(2, 3)), lambda x, w: x @ w.T),
    Row(
        "einsum",
        lambda *xs: ops.einsum("bij,bkj->bik", *xs),
        (R(2, 3, 2), R(2, 3, 2)),
        lambda *xs: np.einsum("bij,bkj->bik", *xs),
        (0, 1),
    ),
    Row(
        "einsum",
        lambda *xs: ops.einsum("i,ij,...j->...", *xs),
        (R(2), R(2, 3), R(2, 1, 3)),
        lambda *xs: np.einsum("i,ij,...j->...", *xs),
        (2,),
    ),
    # random
    Row(
        "dropout",
        lambda x, keep: ops.dropout(x, keep, 0.25),
        (R(2, 3), R(2, 3) > 0),
        lambda x, keep: x * keep / 0.75,
        (0, 1),
    ),
    # functional
    Row("gelu", F.gelu, (R(2, 3),), gelu),
    Row("gelu", lambda x: F.gelu(x, "tanh"), (R(2, 3),), gelu_tanh),
    Row("gelu", lambda x, bias: F.gelu(x, bias=bias), (R(2, 3), R(3)), lambda x, bias: gelu(x + bias)),
    Row("silu", F.silu, (R(2, 3),), lambda x: x * sigmoid(x)),
    Row("softplus", F.softplus, (R(2, 3),), lambda x: np.log1p(np.exp(x))),
    Row("leaky_relu", F.leaky_relu, (R(2, 3),), lambda x: np.where(x > 0, x, 0.01 * x)),
    Row("layer_norm", lambda x, w, b: F.layer_norm(x, 3, w, b), (R(2, 3), R(3), R(3)), layer_norm),
    Row("layer_norm", lambda x: F.layer_norm(x, 3, eps=1e-2), (R(2, 2, 3),), lambda x: layer_norm(x, eps=1e-2)),
    Row(
        "rms_norm",
        lambda x, w: F.rms_norm(x, 3, w, 1e-5),
        (R(2, 3), R(3)),
        lambda x, w: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * w,
    ),
    Row(
        "rms_norm",
        lambda x: F.rms_norm(x, (2, 3), eps=1e-2),
        (R(2, 2, 3),),
        lambda x: x / np.sqrt((x * x).mean((1, 2), keepdims=True) + 1e-2),
        (0,),
    ),
    Row("rotate", rotate, (R(2, 3, 4), R(3, 4), R(3, 4)), turned),
    Row(
        "scaled_dot_product_attention",
        F.scaled_dot_product_attention,
        (R(2, 2, 3), R(2, 2, 3), R(2, 2, 3)),
        attention,
        (0, 1, 2),
    ),
    Row(
        "scaled_dot_product_attention",
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.5),
        (R(2, 3, 2), R(2, 3, 2), R(2, 3, 2)),
        lambda q, k, v: attention(q, k, v, np.tri(q.shape[1]), scale=0.5),
        (0, 1, 2),
    ),
    Row(
        "scaled_dot_product_attention",
        F.scaled_dot_product_attention,
        (R(2, 2, 2), R(2, 3, 2), R(2, 3, 1), MASK),
        attention,
        (0, 1, 2),
    ),
    Row(
        "scaled_dot_product_attention",
        lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m - 0.5),
        (R(2, 2, 2), R(2, 3, 2), R(2, 3, 2), MASK),
        lambda q, k, v, m: attention(q, k, v, added=m - 0.5),
        (0, 1, 2),
    ),
    Row(
        "scaled_dot_product_attention",
        lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m * 1.0),
        (R(2, 2, 2), R(2, 3, 2), R(2, 3, 2), R(1, 1, 3)),
        lambda q, k, v, m: attention(q, k, v, added=m),
        (0, 1, 2),
    ),
    Row(
        "scaled_dot_product_attention",
        lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m * 1.0, is_causal=True),
        (R(2, 3, 2), R(2, 3, 2), R(2, 3, 2), R(1, 3)),
        lambda q, k, v, m: attention(q, k, v, np.tri(q.shape[1]), m),
        (0, 1, 2),
    ),
    # losses
    Row("cross_entropy", losses.cross_entropy, (R(4, 5), LABELS), cross_entropy, ()),
    Row(
        "cross_entropy",
        lambda x, t: losses.cross_entropy(x, t, [1, 2, 3, 4, 5], ignore_index=2, reduction="sum", label_smoothing=0.25),
        (R(4, 5), LABELS % 5),
        lambda x, t: cross_entropy(x, t, np.arange(1.0, 6), 2, 0.25, "sum"),
        (0, 1),
    ),
    Row(
        "cross_entropy",
        lambda x, t: losses.cross_entropy(x, t, reduction="none"),
        (R(4, 5, 2), LABELS[:, None] + [[0, 0]]),
        lambda x, t: cross_entropy(x, t, reduction="none"),
        (0, 1),
    ),
    Row("mse_loss", losses.mse_loss, (R(2, 3), R(2, 3)), lambda x, t: np.mean((x - t) ** 2), ()),
    *activation_rows.ROWS,
    *elementwise_rows.ROWS,
    *arrangement_rows.ROWS,
    *linalg_rows.ROWS,
    *loss_rows.ROWS,
    *margin_rows.ROWS,
    *quantized_rows.ROWS,
    *[row._replace(batch=()) for row in recurrent_rows.ROWS],  # their first axis is time: no step, no state
    *window_rows.ROWS,
    *volume_rows.ROWS,
    *image_rows.ROWS,
]
