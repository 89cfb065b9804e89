"""Pooling: what a window sees, reduced to one number, the largest or the mean.  Torch's names and arguments.

Two linear primitives, each the other's gradient, carry the derivatives of both: `collect` and `spread`.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from .. import backend
from ..builtin import builtin
from ..primitive import primitive
from ..tensor import as_array, shaped
from .index import gather
from .linalg import einsum
from .reduce import mean
from .shape import check_flags, whole_number
from .window import Sizes, Window, check_rank, each, fitting

Parts = int | None | tuple[int | None, ...]  # how many parts each axis is cut into; None keeps the axis as it is


@builtin()
@primitive
def max_pool(xp, x, /, window):
    """The largest entry of every window, (…, *size) to (…, *places); of equal ones the first takes the gradient."""
    seen = window.over(xp, window.pad(xp, x, -math.inf))
    first, *others = window.entries()
    y = seen[first].copy()
    for k in others:
        xp.maximum(y, seen[k], out=y)
    return y


@builtin(in_float32="halves")
@primitive
def collect(xp, x, /, chosen, window):
    """The sum of every window, (…, *size) to (…, *places); or, of each, only the entry whose number is chosen."""
    seen = window.over(xp, window.pad(xp, x))
    # (in the memory order of x)
    y = xp.zeros_like(x, shape=(*x.shape[: -len(window.kernel)], *seen.shape[-len(window.kernel) :]))
    for i, k in enumerate(window.entries()):
        y += seen[k] if chosen is None else xp.where(chosen == i, seen[k], xp.zeros((), x.dtype))
    return y


@builtin(in_float32="halves")
@primitive
def spread(xp, g, /, size, chosen, window):
    """The gradient of `collect` with respect to x (…, *size): each g goes to its whole window or the chosen entry."""
    x = window.pad(xp, xp.zeros_like(g, shape=(*g.shape[: -len(size)], *size)))
    seen = window.over(xp, x)
    for i, k in enumerate(window.entries()):
        part = seen[k]
        part += g if chosen is None else xp.where(chosen == i, g, xp.zeros((), g.dtype))
    return window.crop(x).copy(order="K") if any(map(any, window.padding)) else x


def _first_largest(x, y, window):
    """The number of the first entry in each window of x that equals y, its largest."""
    x, y = as_array(x), as_array(y)
    xp = backend.of(x).xp
    seen = window.over(xp, window.pad(xp, x, -math.inf))
    small = xp.int8 if math.prod(window.kernel) < 128 else xp.int16
    number, waiting = xp.zeros(y.shape, small), xp.ones(y.shape, bool)
    for k in window.entries():
        waiting &= seen[k] != y
        number += waiting.view(xp.int8)  # one for every entry before the first that equals y
    return number


max_pool.defvjp(
    x=lambda g, x, y, window: spread(g, x.shape[-len(window.kernel) :], _first_largest(x, y, window), window)
)
max_pool.in_symbols(x="g to the largest entry of each window")
collect.defvjp(x=lambda g, x_shape, chosen, window: spread(g, x_shape[-len(window.kernel) :], chosen, window))
collect.in_symbols(x="g to all of each window, or to the entry chosen")
spread.defvjp(g=lambda g, chosen, window: collect(g, chosen, window))
spread.in_symbols(g="the sum of g over each window, or its entry chosen")


def max_pool1d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Any:
    """The largest entry of every window of a signal, (N, C, L) or (C, L); otherwise as `max_pool2d`."""
    x = shaped(x, "max_pool1d")
    return max_pool(x, pool_window("max_pool1d", 1, x, kernel_size, stride, padding, dilation, ceil_mode))


def max_pool2d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Any:
    """The largest entry of each window of an image (N, C, H, W) or (C, H, W); the first of equals takes the gradient.

    Args:
        stride: the kernel size, unless given.
        padding: at most half the kernel; what is outside the image counts as -∞.
        ceil_mode: also keep a last window that reaches over the edge, if it begins inside the image or its padding.

    Raises:
        ValueError: the shapes do not fit; the message says which and what to do.
    """
    x = shaped(x, "max_pool2d")
    return max_pool(x, pool_window("max_pool2d", 2, x, kernel_size, stride, padding, dilation, ceil_mode))


@builtin(in_float32="halves and integers")
def avg_pool1d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of every window of a signal, (N, C, L) or (C, L); otherwise as `avg_pool2d`."""
    return mean_pool(1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@builtin(in_float32="halves and integers")
def avg_pool2d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of every window of an image, (N, C, H, W) or (C, H, W).

    Args:
        stride, padding, ceil_mode: as for `max_pool2d`, but what is outside the image counts as 0.
        count_include_pad: whether the padding is counted among what the sum is divided by.
        divisor_override: divide every sum by this instead.

    Raises:
        ValueError: the shapes do not fit; the message says which and what to do.
    """
    return mean_pool(2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def mean_pool(
    many, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, collect: Any = collect
):
    """The mean of every window over `many` axes, for arguments still to be checked; `collect` adds them up."""
    window = pool_window(f"avg_pool{many}d", many, x, kernel_size, stride, padding, 1, ceil_mode)
    check_flags(f"avg_pool{many}d", count_include_pad=count_include_pad)
    if divisor_override is not None and not (isinstance(divisor_override, Real) and divisor_override):
        raise ValueError(
            f"avg_pool{many}d: divisor_override={divisor_override!r} is what every sum is divided by: give a number "
            "other than 0, or None"
        )
    total = collect(x, None, window)
    if divisor_override is not None:
        return total / whole_number(f"avg_pool{many}d", "divisor_override", divisor_override, 1)
    margins = each(f"avg_pool{many}d", "padding", padding, many, 0) if count_include_pad else (0,) * many
    count = np.ones(())
    for n, k, s, (before, _), margin, places in zip(
        x.shape[-many:], window.kernel, window.stride, window.padding, margins, total.shape[-many:], strict=True
    ):
        start = np.arange(places) * s - before
        count = count[..., None] * (np.minimum(start + k, n + margin) - np.maximum(start, -margin))
    return total / _beside(x).asarray(count, dtype=total.dtype)


@builtin(in_float32="halves and integers")
def adaptive_avg_pool1d(x: Any, output_size: Parts) -> Any:
    """The mean of `output_size` nearly equal parts of a signal, (N, C, L) or (C, L); see `adaptive_avg_pool2d`."""
    return adaptive_avg_pool(1, x, output_size)


@builtin(in_float32="halves and integers")
def adaptive_avg_pool2d(x: Any, output_size: Parts) -> Any:
    """The mean of each part of an image, (N, C, H, W) or (C, H, W), cut into (H', W') = `output_size` parts.

    Part i runs from ⌊i·H / H'⌋ to ⌈(i + 1)·H / H'⌉: parts may overlap, and an image can be enlarged.  None keeps a
    size; 1 is global pooling.
    """
    return adaptive_avg_pool(2, x, output_size)


def adaptive_avg_pool(many, x, output_size):
    """A product with one matrix along each axis, whose row i is the mean over part i."""
    means, sizes = [], _adaptive_size(f"adaptive_avg_pool{many}d", many, x, output_size)
    if set(sizes) == {1}:
        return mean(x, tuple(range(-many, 0)), True)
    for size, places in zip(x.shape[-many:], sizes):
        start, stop = _parts(size, places)
        inside = (np.arange(size) >= start[:, None]) & (np.arange(size) < stop[:, None])
        means.append(_beside(x).asarray(inside / (stop - start)[:, None], dtype=x.dtype))
    return einsum(("...l,pl->...p", "...hw,ph,qw->...pq", "...dhw,od,ph,qw->...opq")[many - 1], x, *means)


@builtin(in_float32="halves")
def adaptive_max_pool1d(x: Any, output_size: Parts) -> Any:
    """The largest entry of `output_size` nearly equal parts of a signal, cut as by `adaptive_avg_pool1d`."""
    return adaptive_max_pool(1, shaped(x, "adaptive_max_pool1d"), output_size)


@builtin(in_float32="halves")
def adaptive_max_pool2d(x: Any, output_size: Parts) -> Any:
    """The largest entry of each part of an image; the parts are those of `adaptive_avg_pool2d`."""
    return adaptive_max_pool(2, shaped(x, "adaptive_max_pool2d"), output_size)


def adaptive_max_pool(many, x, output_size):
    """Pool one axis after another, the last first, so that the first of equal entries in reading order is taken."""
    for back, places in enumerate(reversed(_adaptive_size(f"adaptive_max_pool{many}d", many, x, output_size)), 1):
        axis, xp = len(x.shape) - back, _beside(x)
        start, stop = (edge[:, None] for edge in _parts(x.shape[axis], places))
        inside = np.minimum(start + np.arange((stop - start).max()), stop - 1)
        parts = xp.take(as_array(x), xp.asarray(inside), axis)
        x = gather(x, axis, parts.argmax(axis + 1) + xp.asarray(start).reshape(-1, *(1,) * (back - 1)))
    return x


def _parts(size: int, places: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of `places` parts of an axis begins and ends."""
    i = np.arange(places)
    return i * size // places, -(-(i + 1) * size // places)


def _beside(x: Any) -> Any:
    """The array library x lives in."""
    return backend.of(as_array(x)).xp


def pool_window(op, many, x, kernel_size, stride, padding, dilation, ceil_mode):
    """The Window of a pooling; ceil_mode pads the end of the input where the last window would reach over the edge."""
    check_rank(op, many, x)
    check_flags(op, ceil_mode=ceil_mode)
    kernel = each(op, "kernel_size", kernel_size, many, 1)
    padding, dilation = each(op, "padding", padding, many, 0), each(op, "dilation", dilation, many, 1)
    window = Window(kernel, kernel if stride is None else each(op, "stride", stride, many, 1), (), dilation)
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(
            f"{op}: padding {padding} is more than half of the kernel {kernel}: some windows would see nothing else"
        )
    pairs = []
    for n, p, s, span in zip(x.shape[-many:], padding, window.stride, window.spans(), strict=True):
        start = -(-(n + 2 * p - span) // s) * s  # where the last window begins, padding included
        start -= s if start >= n + p else 0
        pairs.append((p, max(p, start + span - n - p) if ceil_mode else p))
    return fitting(op, x.shape, window._replace(padding=tuple(pairs)))


def _adaptive_size(op, many, x, output_size):
    """How many parts along each axis; None keeps the size."""
    check_rank(op, many, x)
    if 0 in x.shape[-many:]:
        raise ValueError(
            f"{op}: x has shape {tuple(x.shape)}, and there is nothing to cut into parts where an axis is 0 long"
        )
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * many
    return each(op, "output_size", tuple(x.shape[i - many] if n is None else n for i, n in enumerate(sizes)), many, 1)
