"""Rows of the catalogue for padding, rearranging, resampling, embeddings and products; references loop over entries."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ... import functional as F
from ...functional import products
from .rows import Row, drawn_from

R, _ = drawn_from(6)


def unfold(x, kernel=(2, 1), stride=(1, 2), pad=(1, 0)):
    x = np.pad(x, ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2))
    places = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], kernel, stride, strict=True)]
    y = np.zeros((len(x), x.shape[1], *kernel, *places))
    for (i, j), (p, q) in itertools.product(np.ndindex(*kernel), np.ndindex(*places)):
        y[:, :, i, j, p, q] = x[:, :, p * stride[0] + i, q * stride[1] + j]
    return y.reshape(len(x), x.shape[1] * math.prod(kernel), math.prod(places))


def fold(columns, size=(3, 3)):
    """The transpose of `unfold`, entry by entry."""
    x = np.zeros((len(columns), columns.shape[1] // 2, *size))
    for place in np.ndindex(size):
        one = np.zeros((1, 1, *size))
        one[(0, 0, *place)] = 1
        seen = unfold(one).reshape(1, 1, 2, -1)
        parts = columns.reshape(len(columns), columns.shape[1] // 2, 2, columns.shape[2])
        x[(slice(None), slice(None), *place)] = (parts * seen).sum((2, 3))
    return x


def shuffle(x, r=2):
    y = np.zeros((len(x), x.shape[1] // (r * r), x.shape[2] * r, x.shape[3] * r))
    for c, i, j in np.ndindex(y.shape[1:]):
        y[:, c, i, j] = x[:, c * r * r + i % r * r + j % r, i // r, j // r]
    return y


def linear(x, size, align):
    """Along the last axis."""
    n = x.shape[-1]
    y = np.zeros((*x.shape[:-1], size))
    for i in range(size):
        place = i * (n - 1) / (size - 1) if align else max(0.0, (i + 0.5) * n / size - 0.5)
        low = int(place)
        y[..., i] = (1 - place + low) * x[..., low] + (place - low) * x[..., min(low + 1, n - 1)]
    return y


def bilinear_image(x):
    return linear(linear(x, 5, False).swapaxes(-1, -2), 2, False).swapaxes(-1, -2)


def keys(t, a=-0.75):
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def bicubic(x, size=5):
    for _ in range(2):
        n = x.shape[-1]
        y = np.zeros((*x.shape[:-1], size))
        for i in range(size):
            place = (i + 0.5) * n / size - 0.5
            for k in range(math.floor(place) - 1, math.floor(place) + 3):
                y[..., i] += keys(place - k) * x[..., min(max(k, 0), n - 1)]
        x = y.swapaxes(-1, -2)
    return x


def sampled(x, grid):
    y = np.zeros((*x.shape[:2], *grid.shape[1:3]))
    for n, i, j in np.ndindex(grid.shape[:3]):
        u, v = (((g + 1) * size - 1) / 2 for g, size in zip(grid[n, i, j], x.shape[:1:-1], strict=True))
        for row, column in np.ndindex(x.shape[2:]):
            y[n, :, i, j] += max(0, 1 - abs(v - row)) * max(0, 1 - abs(u - column)) * x[n, :, row, column]
    return y


def affine(theta):
    y = np.zeros((len(theta), 2, 3, 2))
    for i, j in np.ndindex(2, 3):
        y[:, i, j] = theta @ np.array([(2 * j + 1) / 3 - 1, (2 * i + 1) / 2 - 1, 1.0])
    return y


def bag_means(weight, ids):
    found = [[weight[i] for i in row if i != 1] for row in ids]
    return np.array([np.mean(rows, 0) if rows else weight[0] * 0 for rows in found]).reshape(len(ids), weight.shape[1])


IDS = np.array([[0, 2, 2], [1, 1, 1], [3, 1, 0]])
GRID = np.random.default_rng(3).uniform(-1.2, 1.2, (2, 2, 2, 2))

pad: Any = np.pad  # whose type stubs do not accept a union of the modes
ROWS = [
    Row(
        "pad",
        lambda x: F.pad(x, (1, 2, -1, 1), value=0.5),
        (R(2, 3, 2),),
        lambda x: np.pad(x[:, 1:], ((0, 0), (0, 1), (1, 2)), constant_values=0.5),
    ),
    *[
        Row(
            "take",
            lambda x, mode=mode: F.pad(x, (1, 2), mode),
            (R(2, 3),),
            lambda x, numpy=numpy: pad(x, ((0, 0), (1, 2)), numpy),
        )
        for mode, numpy in (("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap"))
    ],
    Row("image_unfold", lambda x: F.unfold(x, (2, 1), 1, (1, 0), (1, 2)), (R(2, 2, 3, 3),), unfold),
    Row("fold", lambda x: F.fold(x, (3, 3), (2, 1), 1, (1, 0), (1, 2)), (R(2, 4, 8),), fold),
    Row("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), (R(2, 4, 2, 1),), shuffle),
    Row("pixel_unshuffle", lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2), (R(2, 1, 2, 4),), lambda x: x),
    Row(
        "channel_shuffle",
        lambda x: F.channel_shuffle(x, 2),
        (R(2, 4, 3),),
        lambda x: x.reshape(len(x), 2, x.shape[1] // 2, x.shape[2]).swapaxes(1, 2).reshape(x.shape),
    ),
    Row(
        "interpolate",
        lambda x: F.interpolate(x, 4, mode="linear", align_corners=True),
        (R(2, 1, 3),),
        lambda x: linear(x, 4, True),
    ),
    Row("interpolate", lambda x: F.interpolate(x, (2, 5), mode="bilinear"), (R(2, 1, 3, 4),), bilinear_image),
    Row("interpolate", lambda x: F.interpolate(x, 5, mode="bicubic"), (R(2, 1, 3, 4),), bicubic),
    Row(
        "interpolate_nearest",
        lambda x: F.interpolate(x, scale_factor=1.5),
        (R(2, 1, 4),),
        lambda x: x[..., np.arange(x.shape[-1] * 3 // 2) * 2 // 3],
    ),
    Row("grid_sample", F.grid_sample, (R(2, 2, 3, 2), GRID), sampled, (0, 1)),
    Row("affine_grid", lambda theta: F.affine_grid(theta, (*theta.shape[:1], 1, 2, 3)), (R(2, 2, 3),), affine),
    Row(
        "embedding_bag",
        lambda weight, ids: F.embedding_bag(ids, weight, padding_idx=1),
        (R(4, 2), IDS),
        bag_means,
        (1,),
    ),
    Row(
        "bilinear",
        F.bilinear,
        (R(2, 3), R(2, 2), R(2, 3, 2), R(2)),
        lambda a, b, w, bias: np.einsum("ni,oij,nj->no", a, w, b) + bias,
        (0, 1),
    ),
    Row(
        "lora_linear",
        lambda *xs: products.lora_linear(*xs, scale=0.7),
        (R(2, 3), R(2, 3), R(2), R(1, 3), R(2, 1)),
        lambda x, w, bias, a, b: x @ (w + 0.7 * b @ a).T + bias,
    ),
    Row(
        "lora_linear",
        lambda x, w, a, b: products.lora_linear(x, w, None, a, b, scale=2),
        (R(3, 3, 2), R(4, 2), R(2, 2), R(4, 2)),
        lambda x, w, a, b: x @ (w + 2 * b @ a).T,
    ),
]
