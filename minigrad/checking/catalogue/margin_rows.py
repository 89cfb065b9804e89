"""Rows of the catalogue for losses with a margin, losses of distributions, and distances; references are formulas."""

from __future__ import annotations

import numpy as np

from ... import functional as F
from ... import losses
from .rows import Row, drawn_from

R, P = drawn_from(5)


def clipped(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


def distance(a, b, p=2.0):
    return (abs(a - b + 1e-6) ** p).sum(-1) ** (1 / p)


def unit(x, p=2.0, axis=-1):
    return x / (abs(x) ** p).sum(axis, keepdims=True) ** (1 / p)


def multi_margin(x, labels):
    """The formula, one example and one class at a time."""
    found = np.zeros(labels.shape)
    for n, label in enumerate(labels):
        for c in range(x.shape[1]):
            found[n] += 0 if c == label else clipped(0.5 - x[n, label] + x[n, c]) ** 2 * CLASSES[label] / x.shape[1]
    return found


def multilabel_margin(x, labels):
    found = np.zeros(len(x))
    for n, row in enumerate(labels):
        mine = [label for i, label in enumerate(row) if (row[: i + 1] >= 0).all()]
        others = set(range(x.shape[1])) - set(mine)
        found[n] = np.float64(sum(clipped(1 - x[n, label] + x[n, c]) for label in mine for c in others)) / x.shape[1]
    return found


def poisson(x, t):
    many = np.where(t > 1, t, 1)
    stirling = np.where(t > 1, many * np.log(many) - many + 0.5 * np.log(2 * np.pi * many), 0)
    return np.exp(x) - t * x + stirling


def focal(x, t):
    p = sigmoid(x)
    cross = t * softplus(-x) + (1 - t) * softplus(x)
    return cross * (p * (1 - t) + (1 - p) * t) ** 1.5 * (0.3 * t + 0.7 * (1 - t))


CLASSES = np.array([0.5, 2.0, 1.0, 1.5])
SIGNS = np.array([[1, -1, 1], [-1, -1, 1]])
MANY = np.array([[2, 0, -1, 1], [3, -1, 3, 3], [-1, 0, 1, 2]])

ROWS = [
    Row("normalize", lambda x: F.normalize(x, 3.0, -1), (R(2, 3),), lambda x: unit(x, 3.0)),
    Row(
        "cosine_similarity",
        lambda a, b: F.cosine_similarity(a, b, -1),
        (R(2, 3), R(2, 3)),
        lambda a, b: (unit(a) * unit(b)).sum(-1),
        (0, 1),
    ),
    Row("pairwise_distance", F.pairwise_distance, (R(2, 3), R(2, 3)), distance, (0, 1)),
    Row(
        "margin_ranking_loss",
        lambda a, b, t: losses.margin_ranking_loss(a, b, t, 0.3, reduction="none"),
        (R(2, 3), R(2, 3), SIGNS),
        lambda a, b, t: clipped(0.3 - t * (a - b)),
        (0, 1, 2),
    ),
    Row(
        "hinge_embedding_loss",
        lambda x, t: losses.hinge_embedding_loss(x, t, 0.7, reduction="none"),
        (R(2, 3), SIGNS),
        lambda x, t: np.where(t == 1, x, clipped(0.7 - x)),
        (0, 1),
    ),
    Row(
        "soft_margin_loss",
        lambda x, t: losses.soft_margin_loss(x, t, reduction="none"),
        (R(2, 3), R(2, 3)),
        lambda x, t: softplus(-t * x),
        (0, 1),
    ),
    Row(
        "multi_margin_loss",
        lambda x, t: losses.multi_margin_loss(x, t, 2, 0.5, CLASSES, reduction="none"),
        (R(3, 4), np.array([2, 0, 3])),
        multi_margin,
        (0, 1),
    ),
    Row(
        "multilabel_margin_loss",
        lambda x, t: losses.multilabel_margin_loss(x, t, reduction="none"),
        (R(3, 4), MANY),
        multilabel_margin,
        (0, 1),
    ),
    Row(
        "multilabel_soft_margin_loss",
        lambda x, t: losses.multilabel_soft_margin_loss(x, t, CLASSES, reduction="none"),
        (R(2, 4), P(2, 4) / 2),
        lambda x, t: (CLASSES * (t * softplus(-x) + (1 - t) * softplus(x))).mean(-1),
        (0, 1),
    ),
    Row(
        "triplet_margin_loss",
        lambda a, b, c: losses.triplet_margin_loss(a, b, c, 2.0, swap=True, reduction="none"),
        (R(3, 4), R(3, 4), R(3, 4)),
        lambda a, b, c: clipped(2.0 + distance(a, b) - np.minimum(distance(a, c), distance(b, c))),
        (0, 1, 2),
    ),
    Row(
        "triplet_margin_with_distance_loss",
        lambda a, b, c: losses.triplet_margin_with_distance_loss(
            a, b, c, distance_function=lambda a, b: F.pairwise_distance(a, b, 1.0), margin=3.0, reduction="none"
        ),
        (R(3, 4), R(3, 4), R(3, 4)),
        lambda a, b, c: clipped(3.0 + distance(a, b, 1.0) - distance(a, c, 1.0)),
        (0, 1, 2),
    ),
    Row(
        "poisson_nll_loss",
        lambda x, t: losses.poisson_nll_loss(x, t, full=True, reduction="none"),
        (R(2, 3), 3 * P(2, 3)),
        poisson,
        (0, 1),
    ),
    Row(
        "poisson_nll_loss",
        lambda x, t: losses.poisson_nll_loss(x, t, False, eps=1e-3, reduction="none"),
        (P(2, 3), P(2, 3)),
        lambda x, t: x - t * np.log(x + 1e-3),
        (0, 1),
    ),
    Row(
        "gaussian_nll_loss",
        lambda x, t, v: losses.gaussian_nll_loss(x, t, v, True, reduction="none"),
        (P(2, 3), P(2, 3), P(2, 3)),
        lambda x, t, v: (np.log(v) + (x - t) ** 2 / v + np.log(2 * np.pi)) / 2,
        (0, 1, 2),
    ),
    Row(
        "sigmoid_focal_loss",
        lambda x, t: losses.sigmoid_focal_loss(x, t, 0.3, 1.5),
        (P(2, 3) / 2, P(2, 3) / 2),
        focal,
        (0, 1),
    ),
]
