"""Which inputs the CPU's kernels take; all others go to the kernels in shared/."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..record import Kernel

MIN_SIZE = 1 << 10  # entries from which cutting an array up takes less time than it saves


def is_plain(x: np.ndarray, *rest: Any) -> bool:
    """Float32, and not too small to be cut up."""
    return x.dtype == np.float32 and x.size > MIN_SIZE


def is_plain_matrix(x: np.ndarray, *rest: Any) -> bool:
    """`is_plain`, and contiguous."""
    return is_plain(x) and x.flags.c_contiguous


def has_plain_rows(x: np.ndarray, axis: int) -> bool:
    """`is_plain`, and the op is along the last axis."""
    return is_plain(x) and axis in (-1, x.ndim - 1)


def choose(fits: Callable[..., bool], ours: Kernel, generic: Kernel) -> Kernel:
    """The kernel `ours` for inputs that fit, and `generic` for all others.

    What it saves begins with the one that ran.
    """

    def forward(xp, *arguments):
        chosen = ours if fits(*arguments) else generic
        y, saved = chosen.forward(xp, *arguments)
        return y, (chosen, saved)

    def backward(xp, g, saved, wanted, *options):
        chosen, saved = saved
        return chosen.backward(xp, g, saved, wanted, *options)

    return Kernel(forward, backward)
