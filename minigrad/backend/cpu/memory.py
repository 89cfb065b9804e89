"""Arrays in the order of their memory, for code that goes along it."""

from __future__ import annotations

import math

import numpy as np

from . import cores


def in_order(x: np.ndarray) -> np.ndarray:
    """np.ascontiguousarray(x); large images with channels last, or alike, are copied on all cores."""
    if x.flags.c_contiguous or x.size < cores.MIN_SHARED or x.strides[-1] == x.itemsize or x.ndim < 3:
        return np.ascontiguousarray(x)
    y = np.empty(x.shape, x.dtype)
    old, new = x.swapaxes(0, 1), y.swapaxes(0, 1)
    cores.share(lambda some: np.copyto(new[some], old[some]), cores.cuts(len(new), x.size))
    return y


def flat(out: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Each array as one row, in the order of the first one's memory: a view of it, and of those with the same layout.

    `out` must be contiguous in its own order (as `empty_like` returns it); otherwise reshape copies and writes are
    lost.
    """
    arrays = [out, *others]
    if not out.flags.c_contiguous:
        order = np.argsort(out.strides, kind="stable")[::-1]
        arrays = [array.transpose(order) for array in arrays]
    return [in_order(array).reshape(-1) for array in arrays]


def rows(*arrays: np.ndarray) -> list[np.ndarray]:
    """Each array as a matrix whose rows are its last axis: a view, or a copy of an array that is not contiguous."""
    return [in_order(array).reshape(math.prod(array.shape[:-1]), array.shape[-1]) for array in arrays]


def matrix(x: np.ndarray) -> np.ndarray:
    """The array as a matrix, as `rows` makes it; a transposed matrix, which BLAS can read, is returned as it is."""
    return x if x.ndim == 2 and x.flags.f_contiguous else rows(x)[0]
