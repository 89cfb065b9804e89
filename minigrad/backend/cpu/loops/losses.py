"""Cross-entropy: a loop over the classes of each row, forward and backward; shared/losses.py has it on whole arrays."""

from __future__ import annotations

import functools

import numpy as np

from ...record import Kernel
from ...shared import losses
from . import by_core
from .compile import exp, f4, less, log_of, loop
from .layers import largest


@loop
def exp_sum_of(x, top):
    total = f4(0)
    for j in range(x.shape[0]):
        total += exp(x[j] - top)
    return total


@loop
def log_sum_exp(x, top, log_sum):
    """log Σ exp(x) of each row as two numbers whose sum it is: the offset subtracted from x, and the logarithm."""
    for r in range(x.shape[0]):
        top[r] = f4(0)
        total = exp_sum_of(x[r], f4(0))
        if not f4(1e-6) < total < f4(1e6):  # a large logarithm has fewer digits after the point
            top[r] = largest(x[r])
            total = exp_sum_of(x[r], top[r])
        if total == f4(0):
            log_sum[r] = f4(np.inf)
        else:
            top[r], log_sum[r] = log_of(total, top[r])


@loop
def scaled_exp(x, top, log_sum, scale, y):
    """exp(x - top - log_sum) · scale; 0 where the scale is 0, whatever x is."""
    for r in range(x.shape[0]):
        if scale[r] == f4(0):
            y[r, :] = f4(0)
        else:
            for j in range(x.shape[1]):
                y[r, j] = exp(less(x[r, j], top[r], log_sum[r])) * scale[r]


def _log_sum_exp(xp, x):
    top, log_sum = np.empty((2, len(x)), np.float32)
    by_core(log_sum_exp, x, top, log_sum)
    return top[:, None], log_sum[:, None]


def _exp_rows(xp, x, top, log_sum, scale):
    y = np.empty_like(x)
    by_core(scaled_exp, x, top, log_sum, np.asarray(scale, np.float32), y)
    return y


table = {
    "cross_entropy": Kernel(
        functools.partial(losses.cross_entropy_forward, log_sum_exp=_log_sum_exp),
        functools.partial(losses.cross_entropy_backward, exp_rows=_exp_rows),
    )
}
