"""Predicates for the inputs that the CPU's kernels support; all others go to the kernels in shared/."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..record import Kernel

MIN_SIZE = 1 << 10  # entries from which dividing an array saves more time than it takes


def is_plain(x: np.ndarray, *rest: Any) -> bool:
    """Whether x is float32, and large enough to be divided."""
    return x.dtype == np.float32 and x.size > MIN_SIZE


def is_plain_matrix(x: np.ndarray, *rest: Any) -> bool:
    """Whether `is_plain` holds and x is contiguous."""
    return is_plain(x) and x.flags.c_contiguous


def has_plain_rows(x: np.ndarray, axis: int) -> bool:
    """Whether `is_plain` holds and the op is along the last axis."""
    return is_plain(x) and axis in (-1, x.ndim - 1)


def choose(fits: Callable[..., bool], ours: Kernel, generic: Kernel) -> Kernel:
    """The kernel `ours` for inputs that fit, and `generic` for all others.

    The saved values begin with the kernel that ran.
    """

    def forward(xp, *arguments):
        chosen = ours if fits(*arguments) else generic
        y, saved = chosen.forward(xp, *arguments)
        return y, (chosen, saved)

    def backward(xp, g, saved, wanted, *options):
        chosen, saved = saved
        return chosen.backward(xp, g, saved, wanted, *options)

    return Kernel(forward, backward)
