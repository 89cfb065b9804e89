"""Entries moved to other places: windows as columns and back, channels as pixels and back."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..builtin import builtin
from ..ops.shape import whole_number
from ..ops.volume import at_depths
from ..ops.window import Sizes, Window, each, fitting
from ..tensor import shaped


def unfold(x: Any, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1) -> Any:
    """What a kernel sees at each place of an image, as a column: (N, C, H, W) to (N, C · kernel, places).

    Also (C, H, W) to (C · kernel, places).  The zeros of the padding are seen too.

    Raises:
        ValueError: the shapes do not fit; the message says which.
    """
    x = shaped(x, "unfold")
    if len(x.shape) == 3:
        return ops.squeeze(unfold(ops.expand_dims(x, 0), kernel_size, dilation, padding, stride), 0)
    if len(x.shape) != 4:
        raise ValueError(f"unfold takes (N, C, H, W) or (C, H, W), but x has shape {tuple(x.shape)}")
    window = fitting("unfold", tuple(x.shape), _window("unfold", kernel_size, dilation, padding, stride))
    x = ops.pad(x, ((0, 0), (0, 0), *window.padding)) if any(map(any, window.padding)) else x
    height, width = _places(x.shape[2:], window)
    seen = [
        x[:, :, i * di : i * di + si * (height - 1) + 1 : si, j * dj : j * dj + sj * (width - 1) + 1 : sj]
        for (di, dj), (si, sj) in [(window.dilation, window.stride)]
        for i in range(window.kernel[0])
        for j in range(window.kernel[1])
    ]
    return ops.reshape(ops.stack(seen, 2), (x.shape[0], x.shape[1] * len(seen), height * width))


@builtin(in_float32="halves")
def fold(
    x: Any, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Any:
    """The way back of `unfold`: (N, C · kernel, places) to (N, C, *output_size); what meets at one entry adds up.

    Raises:
        ValueError: the columns are not those of an image of `output_size`; the message says what is expected.
    """
    x = shaped(x, "fold")
    if len(x.shape) == 2:
        return ops.squeeze(fold(ops.expand_dims(x, 0), output_size, kernel_size, dilation, padding, stride), 0)
    size, window = (
        each("fold", "output_size", output_size, 2, 1),
        _window("fold", kernel_size, dilation, padding, stride),
    )
    fitting("fold", (1, *size), window)
    full = [n + before + after for n, (before, after) in zip(size, window.padding, strict=True)]
    (height, width), count = _places(full, window), math.prod(window.kernel)
    if len(x.shape) != 3 or x.shape[1] % count or x.shape[2] != height * width:
        raise ValueError(
            f"fold: x is (N, C · {count}, {height * width}) for an image of {size}, but has shape {tuple(x.shape)}"
        )
    N, C = x.shape[0], x.shape[1] // count
    parts = ops.reshape(x, (N, C, *window.kernel, height, width))
    rows = []
    for i in range(window.kernel[0]):
        row = [
            at_depths(parts[:, :, i, j], 3, window.stride[1], j * window.dilation[1], full[1])
            for j in range(window.kernel[1])
        ]
        rows.append(at_depths(_sum(row), 2, window.stride[0], i * window.dilation[0], full[0]))
    (top, _), (left, _) = window.padding
    return _sum(rows)[:, :, top : top + size[0], left : left + size[1]]


def _sum(xs):
    total, *others = xs
    for x in others:
        total = total + x
    return total


def _window(op, kernel_size, dilation, padding, stride):
    kernel, dilation = each(op, "kernel_size", kernel_size, 2, 1), each(op, "dilation", dilation, 2, 1)
    pairs = tuple((p, p) for p in each(op, "padding", padding, 2, 0))
    return Window(kernel, each(op, "stride", stride, 2, 1), pairs, dilation)


def _places(size, window):
    """How many places the kernel has along each axis of a padded image."""
    return [(n - span) // s + 1 for n, span, s in zip(size, window.spans(), window.stride, strict=True)]


def pixel_shuffle(x: Any, upscale_factor: int) -> Any:
    """Channels as pixels: (…, C · r², H, W) to (…, C, H · r, W · r), with r = `upscale_factor` (Shi et al. 2016).

    Raises:
        ValueError: the channels are not a multiple of r².
    """
    x, r = shaped(x, "pixel_shuffle"), whole_number("pixel_shuffle", "upscale_factor", upscale_factor, 1)
    if len(x.shape) < 3 or x.shape[-3] % (r * r):
        raise ValueError(f"pixel_shuffle: x is (…, C · {r * r}, H, W), but has shape {tuple(x.shape)}")
    *lead, channels, H, W = x.shape
    C, n = channels // (r * r), len(lead)
    y = ops.transpose(ops.reshape(x, (*lead, C, r, r, H, W)), (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return ops.reshape(y, (*lead, C, H * r, W * r))


def pixel_unshuffle(x: Any, downscale_factor: int) -> Any:
    """Pixels as channels, the way back of `pixel_shuffle`: (…, C, H · r, W · r) to (…, C · r², H, W).

    Raises:
        ValueError: height and width are not multiples of r.
    """
    x, r = shaped(x, "pixel_unshuffle"), whole_number("pixel_unshuffle", "downscale_factor", downscale_factor, 1)
    if len(x.shape) < 3 or x.shape[-2] % r or x.shape[-1] % r:
        raise ValueError(f"pixel_unshuffle: x is (…, C, H · {r}, W · {r}), but has shape {tuple(x.shape)}")
    *lead, C, H, W = x.shape
    n = len(lead)
    y = ops.reshape(x, (*lead, C, H // r, r, W // r, r))
    y = ops.transpose(y, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return ops.reshape(y, (*lead, C * r * r, H // r, W // r))


def channel_shuffle(x: Any, groups: int) -> Any:
    """The channels of x (N, C, …), in so many groups, dealt out: one of each group after the other (Zhang et al. 2018).

    Raises:
        ValueError: the channels are not a multiple of the groups.
    """
    x, groups = shaped(x, "channel_shuffle"), whole_number("channel_shuffle", "groups", groups, 1)
    if len(x.shape) < 3 or x.shape[1] % groups:
        raise ValueError(f"channel_shuffle: x is (N, C · {groups}, …), but has shape {tuple(x.shape)}")
    N, C, *rest = x.shape
    return ops.reshape(ops.swapaxes(ops.reshape(x, (N, groups, C // groups, *rest)), 1, 2), (N, C, *rest))
