"""A window that slides over signals and images: convolution and pooling, with torch's names, arguments and weight layouts.

Convolution is a product of matrices: lay down what the kernel sees at each place as a column, and multiply.  Three
primitives are closed under differentiation: the convolution is linear in x and in the weight, its gradient with respect
to either is linear in what remains, and each one's rules are the other two.  Pooling rests on a pair of that kind.
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..primitive import primitive
from ..tensor import Tensor
from .index import gather
from .linalg import einsum
from .reduce import sum
from .shape import expand_dims, reshape, squeeze

PIECE = {"cpu": 1 << 18, "cuda": 1 << 27}       # entries laid down at a time: on a CPU, about what a core's cache holds
Sizes = int | tuple[int, ...]                   # one number for every axis, or one for each


class Window(NamedTuple):
    """What a kernel sees: along an axis, its entry k at place q is x[stride · q + dilation · k - (padding before)]."""
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]        # (before, after) along each axis
    dilation: tuple[int, ...]

    def places(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """How many places the kernel has along each axis of an input of this size."""
        return tuple((n + before + after - d * (k - 1) - 1) // s + 1
                     for n, k, s, (before, after), d in zip(size, *self, strict=True))

    def pad(self, xp: Any, x: Any, value: float = 0) -> Any:
        """x (…, *size) with `value` around it."""
        if not any(map(any, self.padding)):
            return x
        sizes = [n + before + after for n, (before, after) in zip(x.shape[-len(self.kernel):], self.padding, strict=True)]
        padded = xp.full((*x.shape[:-len(sizes)], *sizes), value, x.dtype)
        self.crop(padded)[...] = x
        return padded

    def crop(self, padded: Any) -> Any:
        """A padded array without its padding, a view."""
        sizes = padded.shape[-len(self.kernel):]
        return padded[(..., *(slice(before, n - after) for n, (before, after) in zip(sizes, self.padding, strict=True)))]

    def over(self, xp: Any, padded: Any) -> Any:
        """A view (…, *kernel, *places) of a padded array: all that the kernel sees, without a copy."""
        many = len(self.kernel)
        steps, places = padded.strides[-many:], self._replace(padding=((0, 0),) * many).places(padded.shape[-many:])
        return xp.lib.stride_tricks.as_strided(
            padded, (*padded.shape[:-many], *self.kernel, *places),
            (*padded.strides[:-many], *(step * d for step, d in zip(steps, self.dilation)),
             *(step * s for step, s in zip(steps, self.stride))))

    def entries(self) -> Iterator[tuple]:
        """Where to index the view `over` gives for each entry of the kernel: (…, k, places)."""
        rest = (slice(None),) * len(self.kernel)
        return ((..., *k, *rest) for k in np.ndindex(self.kernel))


@primitive
def conv(xp, x, weight, bias, /, window, groups):
    """y[n, o, q] = bias[o] + Σ_ck weight[o, c, k] · x[n, c, entry k at place q], over the channels c of o's group."""
    view = window.over(xp, window.pad(xp, x))                                  # (N, C, *kernel, *places)
    places = view.shape[2 + len(window.kernel):]
    y = xp.empty((len(x), groups, len(weight) // groups, math.prod(places)), xp.result_type(x, weight))
    filters = weight.reshape(groups, y.shape[2], -1)                           # (G, O/G, C/G · kernel)
    for n, q, seen in _pieces(view, len(places)):
        columns = seen.reshape(len(seen), groups, filters.shape[2], -1)        # a copy, unless the kernel is 1 × 1
        out = y[n, :, :, q]
        xp.matmul(filters, columns, out=out)
        if bias is not None:
            out += bias.reshape(groups, -1, 1)
    return y.reshape(len(x), len(weight), *places)


@primitive
def conv_input_grad(xp, g, weight, /, size, window, groups):
    """The gradient of `conv` with respect to an x (N, C, *size); also known as transposed convolution."""
    x = window.pad(xp, xp.zeros((len(g), weight.shape[1] * groups, *size), xp.result_type(g, weight)))
    g = g.reshape(len(g), groups, len(weight) // groups, math.prod(g.shape[2:]))
    filters = weight.reshape(groups, g.shape[2], -1).swapaxes(1, 2)            # (G, C/G · kernel, O/G)
    multiply = xp.matmul if g.shape[2] > 1 else xp.multiply                    # BLAS is slow at a column times a row
    for n, q, seen in _pieces(window.over(xp, x), len(size)):
        columns = multiply(filters, g[n, :, :, q]).reshape(seen.shape)
        for k in window.entries():
            part = seen[k]
            part += columns[k]
    return xp.ascontiguousarray(window.crop(x))


@primitive
def conv_weight_grad(xp, x, g, /, window, groups):
    """The gradient of `conv` with respect to its weight."""
    outputs, many = g.shape[1], len(window.kernel)
    weight = xp.zeros((groups, outputs // groups, x.shape[1] // groups * math.prod(window.kernel)), xp.result_type(x, g))
    g = g.reshape(len(g), groups, weight.shape[1], math.prod(g.shape[2:]))
    for n, q, seen in _pieces(window.over(xp, window.pad(xp, x)), many):
        columns = seen.reshape(len(seen), groups, weight.shape[2], -1)
        weight += xp.matmul(g[n, :, :, q], columns.swapaxes(2, 3)).sum(0)
    return weight.reshape(outputs, -1, *window.kernel)


conv.defvjp(x=lambda g, x_shape, weight, window, groups: conv_input_grad(g, weight, x_shape[2:], window, groups),
            weight=lambda g, x, window, groups: conv_weight_grad(x, g, window, groups),
            bias=lambda g: sum(g, (0, *range(2, len(g.shape)))))
conv_input_grad.defvjp(g=lambda g, weight, window, groups: conv(g, weight, None, window, groups),
                       weight=lambda y, g, window, groups: conv_weight_grad(y, g, window, groups))
conv_weight_grad.defvjp(x=lambda w, x_shape, g, window, groups: conv_input_grad(g, w, x_shape[2:], window, groups),
                        g=lambda w, x, window, groups: conv(x, w, None, window, groups))


def _pieces(view: Any, many: int) -> Iterator[tuple[slice, slice, Any]]:
    """Cut a view (N, C, *kernel, *places) so that little is laid down at a time: samples, their places in a row, and that part."""
    limit, width = PIECE[backend.of(view).name], math.prod(view.shape[view.ndim + 1 - many:])
    row = max(1, math.prod(view.shape[1:-many]) * width)                       # entries seen at one place of the first axis
    for n in _slices(len(view), limit // (row * view.shape[-many])):
        for rows in _slices(view.shape[-many], limit // row):
            yield n, slice(rows.start * width, rows.stop * width), view[(n, ..., rows, *(slice(None),) * (many - 1))]


def _slices(count: int, step: int) -> Iterator[slice]:
    """0 … count, `step` at a time."""
    return (slice(start, min(start + max(1, step), count)) for start in range(0, count, max(1, step)))


@primitive
def max_pool(xp, x, /, window):
    """The largest entry of every window, (…, *size) to (…, *places); of equal ones the first takes the gradient."""
    seen = window.over(xp, window.pad(xp, x, -math.inf))
    first, *others = window.entries()
    y = seen[first].copy()
    for k in others:
        xp.maximum(y, seen[k], out=y)
    return y


@primitive
def collect(xp, x, /, chosen, window):
    """The sum of every window, (…, *size) to (…, *places); or, of each, only the entry whose number is chosen."""
    seen = window.over(xp, window.pad(xp, x))
    y = xp.zeros((*x.shape[:-len(window.kernel)], *seen.shape[-len(window.kernel):]), x.dtype)
    for i, k in enumerate(window.entries()):
        y += seen[k] if chosen is None else xp.where(chosen == i, seen[k], xp.zeros((), x.dtype))
    return y


@primitive
def spread(xp, g, /, size, chosen, window):
    """The gradient of `collect` with respect to an x (…, *size): each g goes to all of its window, or to the entry chosen."""
    x = window.pad(xp, xp.zeros((*g.shape[:-len(size)], *size), g.dtype))
    seen = window.over(xp, x)
    for i, k in enumerate(window.entries()):
        part = seen[k]
        part += g if chosen is None else xp.where(chosen == i, g, xp.zeros((), g.dtype))
    return xp.ascontiguousarray(window.crop(x))


def _first_largest(x, y, window):
    """The number of the first entry in each window of x that equals y, its largest."""
    x, y = (t.data if isinstance(t, Tensor) else t for t in (x, y))
    xp = backend.of(x).xp
    seen, entries = window.over(xp, window.pad(xp, x, -math.inf)), list(window.entries())
    chosen = xp.zeros(y.shape, xp.int16)
    for i in reversed(range(len(entries))):
        xp.copyto(chosen, i, where=seen[entries[i]] == y)
    return chosen


max_pool.defvjp(x=lambda g, x, y, window: spread(g, x.shape[-len(window.kernel):], _first_largest(x, y, window), window))
collect.defvjp(x=lambda g, x_shape, chosen, window: spread(g, x_shape[-len(window.kernel):], chosen, window))
spread.defvjp(g=lambda g, chosen, window: collect(g, chosen, window))


def conv1d(x: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Sizes | str = 0, dilation: Sizes = 1,
           groups: int = 1) -> Any:
    """Slide filters along signals: (N, C, L) or (C, L) to (N, O, L') or (O, L'); otherwise as `conv2d`."""
    return _convolution(1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(x: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Sizes | str = 0, dilation: Sizes = 1,
           groups: int = 1) -> Any:
    """Slide filters over images: (N, C, H, W) or (C, H, W) to (N, O, H', W') or (O, H', W').

    Strictly a cross-correlation: the filters are not flipped.  H' = ⌊(H + 2·padding - dilation·(kernel - 1) - 1) / stride⌋ + 1.

    Args:
        weight: (O, C / groups, kernel height, kernel width).   bias: (O,), or None.
        padding: zeros around each image; "valid" is none, "same" (at stride 1) what keeps its size.
        groups: channels and outputs fall into this many groups, and an output hears only its own; groups=C is a depthwise
            convolution.

    Raises:
        ValueError: the shapes do not fit; the message says which and what to do.
    """
    return _convolution(2, x, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(x: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Sizes = 0, output_padding: Sizes = 0,
                     groups: int = 1, dilation: Sizes = 1) -> Any:
    """The way back of `conv1d`: (N, C, L) or (C, L) to (N, O, L') or (O, L'); otherwise as `conv_transpose2d`."""
    return _transposed_convolution(1, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(x: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Sizes = 0, output_padding: Sizes = 0,
                     groups: int = 1, dilation: Sizes = 1) -> Any:
    """The way back of `conv2d`, its gradient with respect to x: (N, C, H, W) or (C, H, W) to (N, O, H', W') or (O, H', W').

    H' = (H - 1)·stride - 2·padding + dilation·(kernel - 1) + output_padding + 1.

    Args:
        weight: (C, O / groups, kernel height, kernel width).   bias: (O,), or None.
        output_padding: below the stride: which of the sizes that `conv2d` maps to H to return.

    Raises:
        ValueError: the shapes do not fit; the message says which and what to do.
    """
    return _transposed_convolution(2, x, weight, bias, stride, padding, output_padding, groups, dilation)


def _convolution(many, x, weight, bias, stride, padding, dilation, groups):
    op = f"conv{many}d"
    _check_filters(op, many, x, weight, bias, groups, transposed=False)
    if len(x.shape) == many + 1:
        return squeeze(_convolution(many, expand_dims(x, 0), weight, bias, stride, padding, dilation, groups), 0)
    return conv(x, weight, bias, _window(op, x.shape, weight.shape[2:], stride, padding, dilation), groups)


def _transposed_convolution(many, x, weight, bias, stride, padding, output_padding, groups, dilation):
    op = f"conv_transpose{many}d"
    _check_filters(op, many, x, weight, bias, groups, transposed=True)
    if len(x.shape) == many + 1:
        return squeeze(_transposed_convolution(many, expand_dims(x, 0), weight, bias, stride, padding, output_padding, groups,
                                               dilation), 0)
    stride, more = _each(op, "stride", stride, many, 1), _each(op, "output_padding", output_padding, many, 0)
    if any(m >= s for m, s in zip(more, stride)):
        raise ValueError(f"{op}: output_padding {more} must be smaller than the stride {stride}: it tells apart the sizes that stride "
                         "takes to one")
    before, dilation = _each(op, "padding", padding, many, 0), _each(op, "dilation", dilation, many, 1)
    size = tuple((n - 1) * s - 2 * b + d * (k - 1) + m + 1
                 for n, s, b, d, k, m in zip(x.shape[2:], stride, before, dilation, weight.shape[2:], more))
    if min(size) < 1:
        raise ValueError(f"{op}: from {tuple(x.shape)} nothing would be left, size {size}: padding {before} is cut off, so make it less")
    y = conv_input_grad(x, weight, size, Window(tuple(weight.shape[2:]), stride, tuple((b, b) for b in before), dilation), groups)
    return y if bias is None else y + reshape(bias, (-1, *(1,) * many))


def max_pool1d(x: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
               ceil_mode: bool = False) -> Any:
    """The largest entry of every window of a signal, (N, C, L) or (C, L); otherwise as `max_pool2d`."""
    return max_pool(x, _pool_window("max_pool1d", 1, x, kernel_size, stride, padding, dilation, ceil_mode))


def max_pool2d(x: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
               ceil_mode: bool = False) -> Any:
    """The largest entry of every window of an image, (N, C, H, W) or (C, H, W); of equal ones the first takes the gradient.

    Args:
        stride: the kernel size, unless given.
        padding: at most half the kernel; what is outside the image counts as -∞.
        ceil_mode: also keep a last window that reaches over the edge, if it begins inside the image or its padding.

    Raises:
        ValueError: the shapes do not fit; the message says which and what to do.
    """
    return max_pool(x, _pool_window("max_pool2d", 2, x, kernel_size, stride, padding, dilation, ceil_mode))


def avg_pool1d(x: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Any:
    """The mean of every window of a signal, (N, C, L) or (C, L); otherwise as `avg_pool2d`."""
    return _avg_pool(1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(x: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Any:
    """The mean of every window of an image, (N, C, H, W) or (C, H, W).

    Args:
        stride, padding, ceil_mode: as for `max_pool2d`, but what is outside the image counts as 0.
        count_include_pad: whether the padding is counted among what the sum is divided by.
        divisor_override: divide every sum by this instead.

    Raises:
        ValueError: the shapes do not fit; the message says which and what to do.
    """
    return _avg_pool(2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _avg_pool(many, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override):
    window = _pool_window(f"avg_pool{many}d", many, x, kernel_size, stride, padding, 1, ceil_mode)
    total = collect(x, None, window)
    if divisor_override is not None:
        return total / divisor_override
    margins = _each(f"avg_pool{many}d", "padding", padding, many, 0) if count_include_pad else (0,) * many
    count = np.ones(())
    for n, k, s, (before, _), margin, places in zip(x.shape[-many:], window.kernel, window.stride, window.padding, margins,
                                                    total.shape[-many:], strict=True):
        start = np.arange(places) * s - before
        count = count[..., None] * (np.minimum(start + k, n + margin) - np.maximum(start, -margin))
    return total / _beside(x).asarray(count, dtype=total.dtype)


def adaptive_avg_pool1d(x: Any, output_size: Sizes) -> Any:
    """The mean of each of `output_size` near equal parts of a signal, (N, C, L) or (C, L); otherwise as `adaptive_avg_pool2d`."""
    return _adaptive_avg_pool(1, x, output_size)


def adaptive_avg_pool2d(x: Any, output_size: int | None | tuple[int | None, ...]) -> Any:
    """The mean of each part of an image, (N, C, H, W) or (C, H, W), cut into (H', W') = `output_size` parts; 1 is global pooling.

    Part i runs from ⌊i·H / H'⌋ to ⌈(i + 1)·H / H'⌉: parts may overlap, and an image can be enlarged.  None keeps a size.
    """
    return _adaptive_avg_pool(2, x, output_size)


def _adaptive_avg_pool(many, x, output_size):
    """A product with one matrix along each axis, whose row i is the mean over part i."""
    means = []
    for size, places in zip(x.shape[-many:], _adaptive_size(f"adaptive_avg_pool{many}d", many, x, output_size)):
        start, stop = _parts(size, places)
        inside = (np.arange(size) >= start[:, None]) & (np.arange(size) < stop[:, None])
        means.append(_beside(x).asarray(inside / (stop - start)[:, None], dtype=x.dtype))
    return einsum("...l,pl->...p" if many == 1 else "...hw,ph,qw->...pq", x, *means)


def adaptive_max_pool1d(x: Any, output_size: Sizes) -> Any:
    """The largest entry of each of `output_size` near equal parts of a signal; the parts are those of `adaptive_avg_pool1d`."""
    return _adaptive_max_pool(1, x, output_size)


def adaptive_max_pool2d(x: Any, output_size: int | None | tuple[int | None, ...]) -> Any:
    """The largest entry of each part of an image; the parts are those of `adaptive_avg_pool2d`."""
    return _adaptive_max_pool(2, x, output_size)


def _adaptive_max_pool(many, x, output_size):
    """Along one axis after the other, the last one first, so that of equal entries the first in reading order is taken."""
    for back, places in enumerate(reversed(_adaptive_size(f"adaptive_max_pool{many}d", many, x, output_size)), 1):
        axis, xp = len(x.shape) - back, _beside(x)
        start, stop = (xp.asarray(edge) for edge in _parts(x.shape[axis], places))
        offsets = xp.arange(int((stop - start).max()))
        parts = xp.take(x.data if isinstance(x, Tensor) else x, xp.minimum(start[:, None] + offsets, stop[:, None] - 1), axis)
        x = gather(x, axis, parts.argmax(axis + 1) + start.reshape(-1, *(1,) * (back - 1)))
    return x


def _parts(size: int, places: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of `places` parts of an axis begins and ends."""
    i = np.arange(places)
    return i * size // places, -(-(i + 1) * size // places)


def _beside(x: Any) -> Any:
    """The array library x lives in."""
    return backend.of(x.data if isinstance(x, Tensor) else x).xp


def _each(op: str, name: str, value: Any, many: int, least: int) -> tuple[int, ...]:
    """One whole number for each axis, from one for all or from a sequence."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    values *= many if len(values) == 1 else 1
    if len(values) != many or not all(isinstance(v, (int, np.integer)) and v >= least for v in values):
        raise ValueError(f"{op}: {name}={value!r} is not understood: give a whole number, at least {least}, or {many} of them")
    return values


def _window(op, shape, kernel, stride, padding, dilation):
    """The Window of these arguments, once it is known to fit into an input of this shape."""
    many = len(kernel)
    stride, dilation = _each(op, "stride", stride, many, 1), _each(op, "dilation", dilation, many, 1)
    if padding == "same" and any(s > 1 for s in stride):
        raise ValueError(f'{op}: padding="same" keeps a size only at stride 1, not {stride}: give the padding in numbers')
    if padding == "same":
        padding = tuple((d * (k - 1) // 2, (d * (k - 1) + 1) // 2) for k, d in zip(kernel, dilation))
    else:
        padding = tuple((p, p) for p in _each(op, "padding", 0 if padding == "valid" else padding, many, 0))
    window = Window(tuple(kernel), stride, padding, dilation)
    if min(window.places(shape[-many:]), default=1) < 1 or min(kernel) < 1:
        spans = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation))
        raise ValueError(f"{op}: the kernel {tuple(kernel)} at dilation {dilation} spans {spans}, but an input of shape {tuple(shape)} with "
                         f"padding {padding} is smaller: use a smaller kernel, more padding, or larger inputs")
    return window


def _pool_window(op, many, x, kernel_size, stride, padding, dilation, ceil_mode):
    """The Window of a pooling; in ceil_mode with padding after the image for a last window that reaches over the edge."""
    _check_rank(op, many, x)
    kernel = _each(op, "kernel_size", kernel_size, many, 1)
    window = _window(op, x.shape, kernel, kernel if stride is None else stride, padding, dilation)
    after = []
    for n, k, s, (p, _), d in zip(x.shape[-many:], *window, strict=True):
        if 2 * p > k:
            raise ValueError(f"{op}: padding {p} is more than half of the kernel, {k}: some windows would see nothing else")
        span = d * (k - 1) + 1
        start = -(-(n + 2 * p - span) // s) * s                                # of the last window, from the padding's edge on
        start -= s if start >= n + p else 0
        after.append(max(p, start + span - n - p) if ceil_mode else p)
    return window._replace(padding=tuple((p, a) for (p, _), a in zip(window.padding, after)))


def _adaptive_size(op, many, x, output_size):
    """How many parts along each axis; None keeps the size."""
    _check_rank(op, many, x)
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * many
    return _each(op, "output_size", tuple(x.shape[i - many] if n is None else n for i, n in enumerate(sizes)), many, 1)


def _check_rank(op, many, x):
    if len(x.shape) not in (many + 1, many + 2):
        axes = ("L", "H, W")[many - 1]
        raise ValueError(f"{op} takes (N, C, {axes}) or (C, {axes}), but x has shape {tuple(x.shape)}: a missing axis of channels is "
                         "added by x[:, None], one of samples by x[None]")


def _check_filters(op, many, x, weight, bias, groups, transposed):
    """Refuse an input, a weight and a bias that do not fit together."""
    _check_rank(op, many, x)
    layout = f"({'in, out' if transposed else 'out, in'} / groups, {('kernel', 'kernel height, kernel width')[many - 1]})"
    if len(weight.shape) != many + 2:
        raise ValueError(f"{op}: the weight is {layout}, but this one has shape {tuple(weight.shape)}")
    first, second = weight.shape[:2]
    if groups < 1 or first % groups:
        raise ValueError(f"{op}: groups={groups} does not divide the {first} channels on axis 0 of the weight {tuple(weight.shape)}, "
                         f"which is {layout}")
    channels, outputs = (first, second * groups) if transposed else (second * groups, first)
    if x.shape[-many - 1] != channels:
        fix = "; are its channels last?  Then move them, as in x.transpose(0, 3, 1, 2)" if x.shape[-1] == channels else ""
        raise ValueError(f"{op}: x {tuple(x.shape)} has {x.shape[-many - 1]} channels, on axis {len(x.shape) - many - 1}, but the weight "
                         f"{tuple(weight.shape)}, which is {layout} with groups={groups}, takes {channels}{fix}")
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise ValueError(f"{op}: the bias has shape {tuple(bias.shape)}, but there are {outputs} outputs: give one number for each")
