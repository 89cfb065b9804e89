"""Cross-entropy on a CPU without compiled loops: the shared form, its exponentials in slices of a core's cache."""

from __future__ import annotations

import functools

import numpy as np

from ..record import Kernel
from ..shared import losses
from .cores import each_piece


def _log_sum_exp(xp, x):
    slices = each_piece(lambda x: losses.log_sum_exp(np, x), x) if len(x) else [losses.log_sum_exp(np, x)]
    return [np.concatenate(parts) for parts in zip(*slices)]


def _exp_rows(xp, x, top, log_sum, scale):
    y = np.empty_like(x)

    def work(y, *rows):
        y[...] = losses.exp_rows(np, *rows)

    each_piece(work, y, x, top, log_sum, scale)
    return y


table = {
    "cross_entropy": Kernel(
        functools.partial(losses.cross_entropy_forward, log_sum_exp=_log_sum_exp),
        functools.partial(losses.cross_entropy_backward, exp_rows=_exp_rows),
    )
}
