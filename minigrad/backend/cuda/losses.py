"""Cross-entropy on a GPU (src/cross_entropy_rows.cu)."""

from __future__ import annotations

import numpy as np

from ..record import Kernel
from ..shared.losses import mean_of
from .source import for_rows, wide


def cross_entropy_forward(xp, logits, target, weight, ignore_index, label_smoothing, reduction):
    (rows, n), real = logits.shape, wide(logits.dtype)
    x, target = xp.ascontiguousarray(logits), xp.ascontiguousarray(target, np.int64)
    weight = weight if weight is None else xp.ascontiguousarray(weight, real)
    loss, share, *sums = xp.empty((4, rows), real)
    for_rows(
        "cross_entropy_rows",
        "cross_entropy",
        x.dtype,
        rows,
        n,
        loss,
        share,
        *sums,
        x,
        target,
        weight,
        np.int64(ignore_index),
        real(label_smoothing),
        np.int32(n),
    )
    total = share.sum() if reduction == "mean" else None
    loss = loss if reduction == "none" else loss.sum() if reduction == "sum" else mean_of(xp, loss.sum(), total)
    return loss.astype(x.dtype, copy=False), (x, target, weight, sums, share, total)


def cross_entropy_backward(xp, g, saved, wanted, target, weight, ignore_index, label_smoothing, reduction):
    x, target, weight, sums, share, total = saved
    (rows, n), gx, real = x.shape, xp.empty_like(x), wide(x.dtype)
    for_rows(
        "cross_entropy_rows",
        "cross_entropy_backward",
        x.dtype,
        rows,
        n,
        gx,
        xp.ascontiguousarray(g, x.dtype),
        total,
        x,
        *sums,
        share,
        target,
        weight,
        None if weight is None else weight.sum(),
        np.int64(ignore_index),
        real(label_smoothing),
        np.int32(n),
        np.int32(reduction == "none"),
    )
    return (gx,)


table = {"cross_entropy": Kernel(cross_entropy_forward, cross_entropy_backward)}
