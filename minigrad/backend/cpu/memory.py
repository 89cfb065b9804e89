"""The memory layout of a batch of images (N, C, H, W), or of signals (N, C, L), on a CPU.

Rows of images are short, and NumPy takes longer to start a short loop than to run it.  So for large batches the result
of a network's first convolution has the memory order of (C, H, W, N), in which all samples of a pixel are adjacent, and
later results keep it.  The shape is the same, so most code is not affected; code that reads memory calls `as_usual`.
"""

from __future__ import annotations

import math

import numpy as np

from . import cores

MIN_SAMPLES = 16  # smallest batch for which (C, H, W, N) pays
MIN_WIDENING = 4  # outputs per input channel from which a convolution counts as the first


def new(shape: tuple[int, ...], dtype: np.dtype, beside: bool) -> np.ndarray:
    """An empty array of images or signals; with `beside` the samples of a pixel are adjacent in memory."""
    if not beside:
        return np.empty(shape, dtype)
    # `empty_like` keeps the order of axes; a transposed view would not own its memory.
    return np.empty_like(by_sample(np.empty((2,) * len(shape), dtype)), shape=shape)


def by_pixel(x: np.ndarray) -> np.ndarray:
    """(N, C, …) as (C, …, N), a view."""
    return x.transpose(*range(1, x.ndim), 0)


def by_sample(x: np.ndarray) -> np.ndarray:
    """(C, …, N) as (N, C, …), a view."""
    return x.transpose(-1, *range(x.ndim - 1))


def beside(x: np.ndarray) -> bool:
    """Whether the batch is large and the samples of each pixel are adjacent in memory, also in a part of an array."""
    return x.strides[0] == x.itemsize and len(x) >= MIN_SAMPLES


def lies_by_pixel(x: np.ndarray) -> bool:
    """Whether x has the memory layout of a contiguous (C, …, N)."""
    return not x.flags.c_contiguous and by_pixel(x).flags.c_contiguous


def planes(x: np.ndarray, *others: np.ndarray, dtype: np.dtype | None = None) -> list[np.ndarray]:
    """Each (N, C, …) as (N, C, entries), or as (1, C, entries) if x has the layout of (C, …, N).

    The results are contiguous: views where possible, else copies.
    """
    together = lies_by_pixel(x)
    arrays = [by_pixel(a)[None] if together else a for a in (x, *others)]
    arrays = [in_order(a if dtype is None else a.astype(dtype, copy=False)) for a in arrays]
    return [a.reshape(*a.shape[:2], math.prod(a.shape[2:])) for a in arrays]


def from_planes(planes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The reverse of `planes`: a view of its result, or of an array like it, with the shape and layout of x."""
    return by_sample(planes.reshape(by_pixel(x).shape)) if lies_by_pixel(x) else planes.reshape(x.shape)


def as_usual(x: np.ndarray) -> np.ndarray:
    """The array itself, or a C-ordered copy of images whose samples are adjacent; a matrix may stay transposed."""
    return in_order(x) if x.ndim > 2 and beside(x) and lies_by_pixel(x) else x


def in_order(x: np.ndarray) -> np.ndarray:
    """np.ascontiguousarray(x), several times faster if x is one of the two layouts seen as the other.

    Such an array is a transposed matrix, which is copied along its longer axis in pieces that fit in a core's cache.
    Other arrays are copied in pieces along axis 1 (rows, for images with channels last).  Row-strided arrays are left
    to NumPy.
    """
    if x.flags.c_contiguous or x.size < cores.MIN_SHARED or x.strides[-1] == x.itemsize:
        return np.ascontiguousarray(x)
    turned = (len(x), -1) if lies_by_pixel(x) else (-1, x.shape[-1]) if by_sample(x).flags.c_contiguous else x.shape
    if turned == x.shape and x.ndim < 3:
        return np.ascontiguousarray(x)
    y = np.empty(x.shape, x.dtype)
    old, new = x.reshape(turned), y.reshape(turned)
    if new.ndim > 2 or new.shape[1] > len(new):
        old, new = old.swapaxes(0, 1), new.swapaxes(0, 1)
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
