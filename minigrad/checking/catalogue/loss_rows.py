"""Rows of the catalogue for losses; the references are formulas and, for CTC, a sum over all paths."""

from __future__ import annotations

import math
from itertools import groupby, product

import numpy as np

from ... import functional as F
from ... import losses, ops
from .rows import P, R, Row


def log_softmax(x):
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def softplus(x):
    return np.log1p(np.exp(x))


def huber(x, t, delta):
    d = abs(x - t)
    return np.where(d <= delta, d * d / 2, delta * (d - delta / 2))


def cosine(a, b):
    return (a * b).sum(-1) / np.sqrt(((a * a).sum(-1) + losses.EPS) * ((b * b).sum(-1) + losses.EPS))


def distance(a, b):
    return np.linalg.norm(a - b, axis=-1)


def info_nce(query, key):
    scores = cosine(query[:, None], key[None]) / 0.5
    return -log_softmax(scores)[np.arange(len(query)), np.arange(len(query))]


def ctc(x, labels, input_lengths, target_lengths):
    """The sum over every path (one class for each step) that spells the labels."""
    found = []
    for log_probs, label, T, S in zip(x, labels, input_lengths, target_lengths, strict=True):
        paths = [
            path
            for path in product(range(x.shape[2]), repeat=int(T))
            if [c for c, _ in groupby(path) if c] == label[:S].tolist()
        ]
        total = sum(math.exp(sum(log_probs[t, c] for t, c in enumerate(path))) for path in paths)
        found.append(-math.log(total) if total else math.inf)
    return np.array(found)


def ctc_loss(x, *more):
    return losses.ctc_loss(ops.transpose(x, (1, 0, 2)), *more, reduction="none")


SIGNS, WEIGHT = np.array([1, -1, -1]), np.array([0.5, 2.0, 1.0])
LABELS = np.array([[1, 1], [2, 1], [2, 0], [0, 0]])
LENGTHS = np.array([4, 3, 4, 2]), np.array([2, 2, 1, 0])

ROWS = [
    Row(
        "softplus",
        lambda x: F.softplus(x, 2.0, 0.5),
        (R(2, 3),),
        lambda x: np.where(2 * x > 0.5, x, softplus(2 * x) / 2),
    ),
    Row("relu6", lambda x: F.relu6(x * 6), (R(2, 3),), lambda x: np.clip(6 * x, 0, 6)),
    Row(
        "cross_entropy",
        lambda x, t: losses.cross_entropy(x, t, WEIGHT, reduction="none", label_smoothing=0.25),
        (R(2, 3, 2), P(2, 3, 2)),
        lambda x, t: -((0.75 * t + 0.25 / 3) * WEIGHT[:, None] * log_softmax(x)).sum(1),
        (0, 1),
    ),
    Row(
        "nll_loss",
        lambda x, t: losses.nll_loss(x, t, WEIGHT, ignore_index=1, reduction="sum"),
        (R(3, 3), np.array([2, 1, 0])),
        lambda x, t: -sum(row[label] * WEIGHT[label] for row, label in zip(x, t) if label != 1),
        (0, 1),
    ),
    Row(
        "binary_cross_entropy",
        lambda x, t: losses.binary_cross_entropy(x, t, reduction="none"),
        (P(2, 3) / 2, P(2, 3) / 2),
        lambda p, t: -t * np.log(p) - (1 - t) * np.log(1 - p),
        (0, 1),
    ),
    Row(
        "binary_cross_entropy_with_logits",
        lambda x, t: losses.binary_cross_entropy_with_logits(x, t, WEIGHT, reduction="none", pos_weight=WEIGHT**2),
        (R(2, 3), P(2, 3) / 2),
        lambda x, t: WEIGHT * (t * WEIGHT**2 * softplus(-x) + (1 - t) * softplus(x)),
        (0, 1),
    ),
    Row(
        "l1_loss",
        lambda x, t: losses.l1_loss(x, t, reduction="sum"),
        (R(2, 3), R(2, 3)),
        lambda x, t: abs(x - t).sum(),
        (0, 1),
    ),
    Row(
        "huber_loss",
        lambda x, t: losses.huber_loss(x, t, "none", 0.7),
        (R(2, 3), R(2, 3)),
        lambda x, t: huber(x, t, 0.7),
        (0, 1),
    ),
    Row(
        "smooth_l1_loss",
        lambda x, t: losses.smooth_l1_loss(x, t, reduction="none", beta=0.5),
        (R(2, 3), R(2, 3)),
        lambda x, t: huber(x, t, 0.5) / 0.5,
        (0, 1),
    ),
    Row(
        "kl_div",
        lambda x, t: losses.kl_div(x, t, reduction="sum"),
        (P(2, 3), P(2, 3)),
        lambda x, t: (t * (np.log(t) - x)).sum(),
        (0, 1),
    ),
    Row(
        "kl_div",
        lambda x, t: losses.kl_div(x, t, reduction="batchmean", log_target=True),
        (R(2, 3), R(2, 3)),
        lambda x, t: (np.exp(t) * (t - x)).sum() / np.float64((*x.shape, 1)[0]),
        (),
    ),
    Row(
        "cosine_embedding_loss",
        lambda a, b, t: losses.cosine_embedding_loss(a, b, t, -0.5, reduction="none"),
        (R(3, 4), R(3, 4), SIGNS),
        lambda a, b, t: np.where(t == 1, 1 - cosine(a, b), np.maximum(0, cosine(a, b) + 0.5)),
        (0, 1, 2),
    ),
    Row(
        "contrastive_loss",
        lambda a, b, t: losses.contrastive_loss(a, b, t, 3.0, "none"),
        (R(3, 4), R(3, 4), SIGNS),
        lambda a, b, t: np.where(t == 1, distance(a, b), np.maximum(0, 3 - distance(a, b))) ** 2 / 2,
        (0, 1, 2),
    ),
    Row("info_nce", lambda q, k: losses.info_nce(q, k, 0.5, "none"), (R(2, 3), R(4, 3)), info_nce),
    Row("ctc", ctc_loss, (R(4, 4, 3), LABELS, *LENGTHS), ctc, (0, 1, 2, 3)),
    Row(
        "ctc",
        lambda x, *more: losses.ctc_loss(ops.transpose(x, (1, 0, 2)), *more),
        (R(4, 4, 3), LABELS, *LENGTHS),
        lambda x, *more: (ctc(x, *more) / LENGTHS[1].clip(1)).mean(),
        (),
    ),
]
