"""Steps of optimisers on a GPU, of many parameters by one kernel (cuda/optimizers.cu)."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import Array, kernels
from .cuda_source import THREADS, kernel, wide

MOST = 64                                       # parameters at once; as in optimizers.cu, and so is the order here
TENSORS = np.dtype([(name, np.uint64, MOST) for name in ("param", "grad", "first", "second", "size")])
BLOCKS = 512                                    # for one parameter, however large


def adam_steps(xp, rows, *, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """kernels.adam_step, for each (param, grad, m, v)."""
    unbias = math.sqrt(1 - beta2**step)
    _together(xp, "adam", rows, (beta1, beta2, eps, lr * unbias / (1 - beta1**step), unbias,
                                 1 - lr * weight_decay if decoupled else 1, 0 if decoupled else weight_decay))


def sgd_steps(xp, rows, *, lr, momentum, dampening, weight_decay, nesterov, first):
    """kernels.sgd_step, for each (param, grad, velocity)."""
    _together(xp, "sgd", rows, (lr, momentum, dampening, weight_decay), np.bool_(nesterov), np.bool_(first))


def _together(xp: Any, name: str, rows: list[tuple[Array | None, ...]], numbers: tuple, *flags: np.bool_) -> None:
    """Run a kernel on arrays that may be written to where they lie, as many at a time as it takes, those of a dtype together."""
    by_dtype: dict[np.dtype, list] = {}
    for row in rows:
        by_dtype.setdefault(row[0].dtype, []).append(row)
    for dtype, alike in by_dtype.items():
        for start in range(0, len(alike), MOST):
            tensors, kept = np.zeros((), TENSORS), []
            for k, (param, grad, *memory) in enumerate(alike[start:start + MOST]):
                kept.append(xp.ascontiguousarray(grad, dtype))                 # until the kernel has been asked for
                for field, array in zip(TENSORS.names, (param, kept[-1], *memory)):
                    tensors[field][k] = 0 if array is None else array.data.ptr
                tensors["size"][k] = param.size
            blocks = min(BLOCKS, -(-int(tensors["size"].max()) // THREADS))
            if blocks:
                kernel("optimizers", name, dtype)((blocks, len(kept)), (THREADS,), (tensors[()], *map(wide(dtype), numbers), *flags))


def adam_step(xp, *arrays, **options):
    if all(array.flags.c_contiguous for array in arrays if array is not arrays[1]):
        adam_steps(xp, [arrays], **options)
    else:
        kernels.adam_step(xp, *arrays, **options)


table = {"adam_steps": adam_steps, "sgd_steps": sgd_steps, "adam_step": adam_step}
