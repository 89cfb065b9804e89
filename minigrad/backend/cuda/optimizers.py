"""Steps of optimisers on a GPU, for many parameters in one launch (cuda/src/optimizer_steps.cu)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..shared import optimizers
from .source import THREADS, kernel, wide

MAX_TENSORS = 64  # parameters of one launch, as in src/optimizer_steps.cu
ARRAYS = "param", "grad", "first", "second"
TENSORS = np.dtype([(name, np.uint64, MAX_TENSORS) for name in (*ARRAYS, "size")])
MAX_BLOCKS = 512  # blocks for one parameter: more would not run at once


def adam_steps(xp, rows, *, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """The shared adam_step, for each (param, grad, m, v)."""
    unbias = math.sqrt(1 - beta2**step)
    numbers = (
        1 - beta1,
        beta2,
        1 - beta2,
        eps,
        lr * unbias / (1 - beta1**step),
        unbias,
        1 - lr * weight_decay if decoupled else 1,
        0 if decoupled else weight_decay,
    )
    for row in _at_once(xp, "adam", rows, numbers):
        optimizers.adam_step(
            xp,
            *row,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            weight_decay=weight_decay,
            decoupled=decoupled,
            step=step,
        )


def sgd_steps(xp, rows, *, lr, momentum, dampening, weight_decay, nesterov, first):
    """The shared sgd_step, for each (param, grad, velocity)."""
    for row in _at_once(
        xp, "sgd", rows, (lr, momentum, 1 - dampening, weight_decay), np.bool_(nesterov), np.bool_(first)
    ):
        optimizers.sgd_step(
            xp,
            *row,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            first=first,
        )


def _at_once(xp: Any, name: str, rows: list[tuple], numbers: tuple, *flags: np.bool_) -> list[tuple]:
    """Run a kernel on the arrays of each row, which it writes into; return the rows that are not contiguous."""
    alike: dict[np.dtype, list[tuple]] = {}
    left = []
    for row in rows:
        in_order = all(a is None or a.flags.c_contiguous for a in (row[0], *row[2:]))
        (alike.setdefault(row[0].dtype, []) if in_order else left).append(row)
    for dtype, rows in alike.items():
        for start in range(0, len(rows), MAX_TENSORS):
            _run(xp, name, dtype, rows[start : start + MAX_TENSORS], (*map(wide(dtype), numbers), *flags))
    return left


def _run(xp: Any, name: str, dtype: np.dtype, rows: list[tuple], numbers: tuple) -> None:
    tensors = np.zeros((), TENSORS)
    rows = [(param, xp.ascontiguousarray(grad, dtype), *memory) for param, grad, *memory in rows]
    for k, row in enumerate(rows):
        for field, array in zip(ARRAYS, row):
            tensors[field][k] = 0 if array is None else array.data.ptr
        tensors["size"][k] = row[0].size
    blocks = min(MAX_BLOCKS, -(-int(tensors["size"].max()) // THREADS))
    if blocks:
        kernel("optimizer_steps", name, dtype)((blocks, len(rows)), (THREADS,), (tensors[()], *numbers))


def square_sums(xp, arrays):
    """Σ array² of each, in at least float32.

    Products of vectors are avoided, since CuPy cannot capture them in a CUDA graph.
    """
    return [xp.square(array.astype(wide(array.dtype), copy=False)).sum() for array in arrays]


table = {"adam_step": adam_steps, "sgd_step": sgd_steps, "square_sums": square_sums}
