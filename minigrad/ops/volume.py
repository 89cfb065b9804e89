"""Convolution and pooling of volumes, made of those of images and of signals.

Along the depth a convolution lays what its kernel sees beside the channels, and convolves images; pooling goes over the
images first and then along the depth.  So all that makes images fast serves volumes too.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from ..builtin import builtin
from ..tensor import shaped
from .arithmetic import reshape, where
from .elementwise import power
from .pool import (
    Parts,
    adaptive_avg_pool,
    adaptive_max_pool,
    avg_pool1d,
    avg_pool2d,
    collect,
    max_pool,
    mean_pool,
    pool_window,
)
from .shape import pad, stack, swapaxes, transpose
from .window import Sizes, Window, conv, conv_input_grad, convolution, each, transposed_convolution


@builtin(in_float32="halves", autocast="half")
def conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Any:
    """Slide filters through volumes: (N, C, D, H, W) or (C, D, H, W) to (N, O, D', H', W') or (O, D', H', W').

    `weight` is (O, C / groups, kernel depth, height, width); otherwise as `conv2d`.
    """
    return convolution(3, x, weight, bias, stride, padding, dilation, groups, _conv)


def _conv(x, weight, bias, window, groups):
    """conv of volumes, for checked arguments."""
    ((kernel, stride, (before, after), dilation), flat), N = _depth_and_rest(window), x.shape[0]
    x = pad(x, ((0, 0), (0, 0), (before, after), (0, 0), (0, 0))) if before or after else x
    places = (x.shape[2] - dilation * (kernel - 1) - 1) // stride + 1
    starts = range(0, kernel * dilation, dilation)
    seen = stack([x[:, :, k : k + stride * (places - 1) + 1 : stride] for k in starts], 3)  # (N, C, D', kernel, H, W)
    size = x.shape[3:]
    images = reshape(transpose(seen, (0, 2, 1, 3, 4, 5)), (N * places, x.shape[1] * kernel, *size))
    filters = reshape(weight, (weight.shape[0], weight.shape[1] * kernel, *weight.shape[3:]))
    y = conv(images, filters, bias, flat, groups)
    return swapaxes(reshape(y, (N, places, *y.shape[1:])), 1, 2)


@builtin(in_float32="halves", autocast="half")
def conv_transpose3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Any:
    """The way back of `conv3d`: (N, C, D, H, W) or (C, D, H, W) to (N, O, D', H', W') or (O, D', H', W').

    `weight` is (C, O / groups, kernel depth, height, width); otherwise as `conv_transpose2d`.
    """
    return transposed_convolution(3, x, weight, bias, stride, padding, output_padding, groups, dilation, _way_back)


def _way_back(x, weight, size, window, groups):
    """conv_input_grad of volumes, for checked arguments."""
    ((kernel, stride, (before, after), dilation), flat), (N, C, D) = _depth_and_rest(window), x.shape[:3]
    images = reshape(swapaxes(x, 1, 2), (N * D, C, *x.shape[3:]))
    filters = reshape(weight, (C, weight.shape[1] * kernel, *weight.shape[3:]))
    y = conv_input_grad(images, filters, size[1:], flat, groups)
    y = transpose(reshape(y, (N, D, weight.shape[1] * groups, kernel, *size[1:])), (3, 0, 2, 1, 4, 5))
    full = size[0] + before + after
    total, *others = (at_depths(y[k], 2, stride, dilation * k, full) for k in range(kernel))
    for planes in others:
        total = total + planes
    return total[:, :, before : before + size[0]]


def at_depths(y: Any, axis: int, stride: int, first: int, size: int) -> Any:
    """y at the places first, first + stride, … along an axis of zeros that is `size` long."""
    lead, n, rest = tuple(y.shape[:axis]), y.shape[axis], tuple(y.shape[axis + 1 :])

    def widths(after: int, before: int = 0, more: int = 0) -> tuple:
        return (*((0, 0),) * (len(lead) + more), (before, after), *((0, 0),) * len(rest))

    if stride > 1:
        y = pad(reshape(y, (*lead, n, 1, *rest)), widths(stride - 1, more=1))
        y = reshape(y, (*lead, n * stride, *rest))[(slice(None),) * axis + (slice(stride * (n - 1) + 1),)]
    return pad(y, widths(size - first - y.shape[axis], first))


def _depth_and_rest(window: Window) -> tuple[tuple, Window]:
    """(kernel, stride, padding, dilation) of the depth, and the window of the images."""
    kernel, stride, padding, dilation = window
    flat = Window(kernel[1:], stride[1:], padding[1:], dilation[1:])
    return tuple(part[0] for part in window), flat


def _in_turn(pool, x, window):
    """A pooling of volumes: of the images, then along the depth."""
    _, flat = _depth_and_rest(window)
    y = pool(x, flat)
    return swapaxes(pool(swapaxes(y, -3, -1), Window(*(part[:1] for part in window))), -3, -1)


def max_pool3d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Any:
    """The largest entry of every window of a volume, (N, C, D, H, W) or (C, D, H, W); otherwise as `max_pool2d`."""
    x = shaped(x, "max_pool3d")
    window = pool_window("max_pool3d", 3, x, kernel_size, stride, padding, dilation, ceil_mode)
    return _in_turn(max_pool, x, window)


@builtin(in_float32="halves and integers")
def avg_pool3d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of every window of a volume, (N, C, D, H, W) or (C, D, H, W); otherwise as `avg_pool2d`."""

    def collected(x: Any, chosen: None, window: Window) -> Any:
        return _in_turn(lambda x, window: collect(x, None, window), x, window)

    options = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    return mean_pool(3, x, *options, collect=collected)


@builtin(in_float32="halves and integers")
def adaptive_avg_pool3d(x: Any, output_size: Parts) -> Any:
    """The mean of each part of a volume, cut into (D', H', W') = `output_size` parts as by `adaptive_avg_pool2d`."""
    return adaptive_avg_pool(3, x, output_size)


@builtin(in_float32="halves")
def adaptive_max_pool3d(x: Any, output_size: Parts) -> Any:
    """The largest entry of each part of a volume; the parts are those of `adaptive_avg_pool3d`."""
    return adaptive_max_pool(3, shaped(x, "adaptive_max_pool3d"), output_size)


@builtin(in_float32="halves and integers", autocast="float32")
def lp_pool1d(
    x: Any, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Any:
    """(Σ xᵖ)^(1/p) over every window of a signal, with p = `norm_type`; otherwise as `lp_pool2d`."""
    return _lp_pool(1, avg_pool1d, x, norm_type, kernel_size, stride, ceil_mode)


@builtin(in_float32="halves and integers", autocast="float32")
def lp_pool2d(
    x: Any, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Any:
    """(Σ xᵖ)^(1/p) over every window of an image, with p = `norm_type`: 1 is the sum, and a large p nearly the maximum.

    A sum of 0 has gradient 0.  In `ceil_mode` a window over the edge counts as if all of it were like the part inside,
    as in torch.  Otherwise as `avg_pool2d`.

    Raises:
        ValueError: p is not a number, or is 0, or the shapes do not fit.
    """
    return _lp_pool(2, avg_pool2d, x, norm_type, kernel_size, stride, ceil_mode)


@builtin(in_float32="halves and integers", autocast="float32")
def lp_pool3d(
    x: Any, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Any:
    """(Σ xᵖ)^(1/p) over every window of a volume, with p = `norm_type`; otherwise as `lp_pool2d`."""
    return _lp_pool(3, avg_pool3d, x, norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(many, avg_pool, x, norm_type, kernel_size, stride, ceil_mode):
    if not isinstance(norm_type, Real) or not norm_type or not math.isfinite(norm_type):
        raise ValueError(f"lp_pool{many}d: norm_type={norm_type!r} is to be a number other than 0")
    count = math.prod(each(f"lp_pool{many}d", "kernel_size", kernel_size, many, 1))
    total = avg_pool(power(x, float(norm_type)), kernel_size, stride, 0, ceil_mode) * count
    return where(total == 0, 0, power(where(total == 0, 1, total), 1 / norm_type))
