"""Cross-entropy on a CPU: the exponentials in pieces that stay in a core's cache."""

from __future__ import annotations

import functools
import math

import numpy as np

from ..record import Kernel
from ..shared import losses
from .cores import each_piece, scratch
from .layers import exp_sums
from .select import choose, is_plain_matrix


def _log_sum_exp(xp, x):
    def work(x):
        total, top = exp_sums(x, scratch(*x.shape), 1e6)  # of a large logarithm fewer digits are behind the point
        total[total == 0] = math.inf
        return np.stack([np.broadcast_to(top, total.shape), np.log(total)])

    return np.concatenate(each_piece(work, x), axis=1)[..., None]


def _scaled_exp(xp, x, top, log_sum, scale):
    """exp(x - top - log_sum) · scale, row by row, as ± exp(x - top - (log_sum - log |scale|))."""
    y = np.empty_like(x)

    def work(x, top, log_sum, scale, y):
        less = log_sum - np.log(np.abs(scale))
        if top.any():
            np.subtract(x, top[:, None], out=y)
            y -= less[:, None]
        else:
            np.subtract(x, less[:, None], out=y)
        np.exp(y, out=y)
        if scale.min(initial=0) < 0:
            y *= np.sign(scale)[:, None]

    with np.errstate(divide="ignore"):  # of a scale of 0, where a label is ignored
        each_piece(work, x, top, log_sum, scale, y)
    return y


cross_entropy_forward = functools.partial(losses.cross_entropy_forward, log_sum_exp=_log_sum_exp)

cross_entropy_backward = functools.partial(losses.cross_entropy_backward, exp_rows=_scaled_exp)


table = {
    "cross_entropy": choose(
        is_plain_matrix, Kernel(cross_entropy_forward, cross_entropy_backward), losses.table["cross_entropy"]
    )
}
