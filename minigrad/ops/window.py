"""A window that slides over signals and images, and convolution, which is a product of matrices with what it sees.

Lay down what the kernel sees at each place as a column, and multiply.  Three primitives are closed under
differentiation: the convolution is linear in x and in the weight, its gradient with respect to either is linear in what
remains, and the rules of each are the other two.  (On a CPU, backend/cpu/loops/convolution.py does the same faster.)
Torch's names, arguments and weight layouts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import reduce
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..builtin import builtin
from ..primitive import definition, primitive
from ..tensor import shaped
from .elementwise import relu
from .reduce import sum
from .shape import expand_dims, pad, reshape, squeeze, whole_number

PARTS = 4  # in which a weight's gradient is added up, each by one core
Sizes = int | tuple[int, ...]  # one number for every axis, or one for each


class Window(NamedTuple):
    """What a kernel sees: along an axis, its entry k at place q is x[stride · q + dilation · k - (padding before)]."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]  # (before, after) along each axis
    dilation: tuple[int, ...]

    def spans(self) -> tuple[int, ...]:
        """How far the kernel reaches along each axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def pad(self, xp: Any, x: Any, value: float = 0) -> Any:
        """x (…, *size) with `value` around it."""
        if not any(map(any, self.padding)):
            return x
        sizes = [
            n + before + after for n, (before, after) in zip(x.shape[-len(self.kernel) :], self.padding, strict=True)
        ]
        padded = xp.full_like(x, value, shape=(*x.shape[: -len(sizes)], *sizes))
        self.crop(padded)[...] = x
        return padded

    def crop(self, padded: Any) -> Any:
        """A padded array without its padding, a view."""
        sizes = padded.shape[-len(self.kernel) :]
        return padded[
            (..., *(slice(before, n - after) for n, (before, after) in zip(sizes, self.padding, strict=True)))
        ]

    def over(self, xp: Any, padded: Any) -> Any:
        """A view (…, *kernel, *places) of a padded array: all that the kernel sees, without a copy."""
        many = len(self.kernel)
        lead, steps = padded.strides[:-many], padded.strides[-many:]
        places = [
            (n - span) // s + 1 for n, span, s in zip(padded.shape[-many:], self.spans(), self.stride, strict=True)
        ]
        return xp.lib.stride_tricks.as_strided(
            padded,
            (*padded.shape[:-many], *self.kernel, *places),
            (
                *lead,
                *(step * d for step, d in zip(steps, self.dilation)),
                *(step * s for step, s in zip(steps, self.stride)),
            ),
        )

    def entries(self) -> Iterator[tuple]:
        """Where to index the view `over` gives for each entry of the kernel: (…, k, places)."""
        return ((..., *k, *(slice(None),) * len(k)) for k in np.ndindex(self.kernel))


@builtin(in_float32="halves", in_int64=True, autocast="half")
@primitive
def conv(xp, x, weight, bias, /, window, groups):
    """y[n, o, q] = bias[o] + Σ_ck weight[o, c, k] · x[n, c, entry k at place q], over the channels c of o's group."""
    view = window.over(xp, window.pad(xp, x))  # (N, C, *kernel, *places)
    places = view.shape[2 + len(window.kernel) :]
    y = xp.empty((len(x), len(weight), *places), xp.result_type(x, weight))
    rows = y.reshape(len(x), groups, len(weight) // groups, math.prod(places))
    filters = weight.reshape(groups, rows.shape[2], math.prod(weight.shape[1:]))  # (G, O/G, C/G · kernel)

    def work(piece):
        n, q, seen = piece
        out = rows[n, :, :, q]
        columns = xp.ascontiguousarray(seen).reshape(len(seen), groups, filters.shape[2], out.shape[3])
        xp.matmul(filters, columns, out=out)
        if bias is not None:
            out += bias.reshape(groups, -1, 1)

    backend.of(x).share(work, list(_pieces(view, len(places))))
    return y


@builtin(in_float32="halves", autocast="half")
@definition
def conv_norm(x, weight, scale, shift, more, /, window, groups, is_relu):
    """A block of a convolutional network: conv(x, weight · scale, shift) + more, and relu of it if `is_relu`."""
    y = conv(x, weight * reshape(scale, (-1, *(1,) * len(window.kernel), 1)), shift, window, groups)
    y = y if more is None else y + more
    return relu(y) if is_relu else y


conv_norm.in_symbols(
    x="h, slid back over the filters times scale, with h = g where y > 0 if relu",
    weight="scale · W, with W what each entry of a filter saw, times h, summed",
    scale="Σ weight · W",
    shift="Σ h over examples and places",
    more="h",
)


@builtin(in_float32="halves", in_int64=True, autocast="half")
@primitive
def conv_input_grad(xp, g, weight, /, size, window, groups):
    """The gradient of `conv` with respect to an x (N, C, *size); also known as transposed convolution."""
    x = window.pad(xp, xp.zeros((len(g), weight.shape[1] * groups, *size), xp.result_type(g, weight)))
    g = g.reshape(len(g), groups, len(weight) // groups, math.prod(g.shape[2:]))
    filters = weight.reshape(groups, g.shape[2], math.prod(weight.shape[1:])).swapaxes(1, 2)  # (G, C/G · kernel, O/G)
    multiply = xp.matmul if g.shape[2] > 1 else xp.multiply  # BLAS is slow at a column times a row

    def work(pieces):
        for n, q, seen in pieces:
            columns = multiply(filters, g[n, :, :, q]).reshape(seen.shape)
            for k in window.entries():  # at one entry of the kernel no two places meet, so nothing needs to be atomic
                part = seen[k]
                part += columns[k]

    by_samples = groupby(_pieces(window.over(xp, x), len(size)), lambda piece: piece[0].start)
    backend.of(g).share(work, [list(pieces) for _, pieces in by_samples])
    return xp.ascontiguousarray(window.crop(x))


@builtin(in_float32="halves", in_int64=True, autocast="half")
@primitive
def conv_weight_grad(xp, x, g, /, window, groups):
    """The gradient of `conv` with respect to its weight."""
    outputs, many = g.shape[1], len(window.kernel)
    shape = groups, x.shape[1] // groups * math.prod(window.kernel), outputs // groups
    g = g.reshape(len(g), groups, shape[2], math.prod(g.shape[2:]))

    def work(pieces):
        weight = xp.zeros(shape, xp.result_type(x, g))
        for n, q, seen in pieces:
            columns = xp.ascontiguousarray(xp.moveaxis(seen, 0, 1 + many))  # all samples side by side
            came = xp.moveaxis(g[n, :, :, q], (1, 2), (0, 3))  # (G, samples, places, O/G)
            many_places = came.shape[1] * came.shape[2]
            weight += columns.reshape(*shape[:2], many_places) @ came.reshape(groups, many_places, shape[2])
        return weight

    pieces = list(_pieces(window.over(xp, window.pad(xp, x)), many))
    parts = [pieces[i::PARTS] for i in range(min(PARTS, len(pieces) or 1))]
    total = reduce(xp.add, backend.of(x, g).share(work, parts))
    return total.swapaxes(1, 2).reshape(outputs, x.shape[1] // groups, *window.kernel)


conv.defvjp(
    x=lambda g, x_shape, weight, window, groups: conv_input_grad(g, weight, x_shape[2:], window, groups),
    weight=lambda g, x, window, groups: conv_weight_grad(x, g, window, groups),
    bias=lambda g: sum(g, (0, *range(2, len(g.shape)))),
)
conv.in_symbols(
    x="g, slid back over the filters",
    weight="what each entry of a filter saw, times g, summed",
    bias="Σ g over examples and places",
)
conv_input_grad.defvjp(
    g=lambda g, weight, window, groups: conv(g, weight, None, window, groups),
    weight=lambda y, g, window, groups: conv_weight_grad(y, g, window, groups),
)
conv_input_grad.in_symbols(g="conv(g, weight)", weight="what each entry of a filter saw of g, times the input, summed")
conv_weight_grad.defvjp(
    x=lambda w, x_shape, g, window, groups: conv_input_grad(g, w, x_shape[2:], window, groups),
    g=lambda w, x, window, groups: conv(x, w, None, window, groups),
)
conv_weight_grad.in_symbols(x="the input, slid back over g", g="conv(x, g)")


def _pieces(view: Any, many: int) -> Iterator[tuple[slice, slice, Any]]:
    """Cut a view (N, C, *kernel, *places) into small pieces: yields (samples, places in a row, the piece)."""
    limit, width = backend.of(view).max_unfolded, math.prod(view.shape[view.ndim + 1 - many :])
    row = max(1, math.prod(view.shape[1:-many]) * width)  # entries seen at one place of the first axis
    for n in _slices(len(view), limit // max(1, row * view.shape[-many])):
        for rows in _slices(view.shape[-many], limit // row):
            yield n, slice(rows.start * width, rows.stop * width), view[(n, ..., rows, *(slice(None),) * (many - 1))]


def _slices(count: int, step: int) -> Iterator[slice]:
    """0 … count, `step` at a time."""
    return (slice(start, min(start + max(1, step), count)) for start in range(0, count, max(1, step)))


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Any:
    """Slide filters along signals: (N, C, L) or (C, L) to (N, O, L') or (O, L'); otherwise as `conv2d`."""
    return convolution(1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Any:
    """Slide filters over images: (N, C, H, W) or (C, H, W) to (N, O, H', W') or (O, H', W').

    Strictly a cross-correlation: the filters are not flipped.  H' = ⌊(H + 2·padding - dilation·(kernel - 1) - 1) /
    stride⌋ + 1.

    Args:
        weight: (O, C / groups, kernel height, kernel width).   bias: (O,), or None.
        padding: zeros around each image; "valid" is none, "same" (at stride 1) what keeps its size.
        groups: channels and outputs fall into this many groups, and an output hears only its own; groups=C is a
            depthwise convolution.

    Raises:
        ValueError: the shapes do not fit; the message says which and what to do.
    """
    return convolution(2, x, weight, bias, stride, padding, dilation, groups)


def conv2d_norm(
    x: Any,
    weight: Any,
    scale: Any,
    shift: Any,
    more: Any,
    is_relu: bool,
    stride: Sizes,
    padding: Sizes | str,
    dilation: Sizes,
    groups: int,
) -> Any:
    """The op `conv_norm`, with conv2d's options; on a CPU, in one go."""
    return convolution(
        2,
        x,
        weight,
        None,
        stride,
        padding,
        dilation,
        groups,
        lambda x, weight, _, window, groups: conv_norm(x, weight, scale, shift, more, window, groups, is_relu),
    )


def conv_transpose1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Any:
    """The way back of `conv1d`: (N, C, L) or (C, L) to (N, O, L') or (O, L'); otherwise as `conv_transpose2d`."""
    return transposed_convolution(1, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Any:
    """The gradient of `conv2d` with respect to x, as an op: (N, C, H, W) or (C, H, W) to (N, O, H', W') or (O, H', W').

    H' = (H - 1)·stride - 2·padding + dilation·(kernel - 1) + output_padding + 1.

    Args:
        weight: (C, O / groups, kernel height, kernel width).   bias: (O,), or None.
        output_padding: less than the stride or the dilation: which of the sizes that `conv2d` would take to H to
            return.

    Raises:
        ValueError: the shapes do not fit; the message says which and what to do.
    """
    return transposed_convolution(2, x, weight, bias, stride, padding, output_padding, groups, dilation)


def convolution(many, x, weight, bias, stride, padding, dilation, groups, conv: Any = conv):
    op = f"conv{many}d"
    x, weight, bias = shaped(x, op), shaped(weight, op), None if bias is None else shaped(bias, op)
    kernel = tuple(weight.shape[2:])
    _check_filters(op, many, x, weight, bias, groups, transposed=False)
    if len(x.shape) == many + 1:
        return squeeze(convolution(many, expand_dims(x, 0), weight, bias, stride, padding, dilation, groups, conv), 0)
    stride, dilation = each(op, "stride", stride, many, 1), each(op, "dilation", dilation, many, 1)
    if padding == "same":
        if max(stride) > 1:
            raise ValueError(
                f'{op}: padding="same" keeps a size only at stride 1, not {stride}: give the padding in numbers'
            )
        padding = tuple((d * (k - 1) // 2, (d * (k - 1) + 1) // 2) for k, d in zip(kernel, dilation, strict=True))
    else:
        padding = tuple((p, p) for p in each(op, "padding", 0 if padding == "valid" else padding, many, 0))
    return conv(x, weight, bias, fitting(op, x.shape, Window(kernel, stride, padding, dilation)), groups)


def transposed_convolution(
    many, x, weight, bias, stride, padding, output_padding, groups, dilation, back: Any = conv_input_grad
):
    """The way back of a convolution over `many` axes, for arguments still to be checked; `back` does it."""
    op = f"conv_transpose{many}d"
    x, weight, bias = shaped(x, op), shaped(weight, op), None if bias is None else shaped(bias, op)
    kernel = tuple(weight.shape[2:])
    _check_filters(op, many, x, weight, bias, groups, transposed=True)
    if min(kernel) < 1:
        raise ValueError(
            f"{op}: the weight {tuple(weight.shape)} has a kernel {kernel}: give it 1 or more along each axis"
        )
    if len(x.shape) == many + 1:
        batch = expand_dims(x, 0)
        return squeeze(
            transposed_convolution(many, batch, weight, bias, stride, padding, output_padding, groups, dilation, back),
            0,
        )
    stride, more = each(op, "stride", stride, many, 1), each(op, "output_padding", output_padding, many, 0)
    dilation = each(op, "dilation", dilation, many, 1)
    if any(m >= max(s, d) for m, s, d in zip(more, stride, dilation, strict=True)):
        raise ValueError(
            f"{op}: output_padding {more} must be less than the stride {stride}, or than the dilation {dilation}"
        )
    padding, beyond = (
        each(op, "padding", padding, many, 0),
        [max(0, m - s + 1) for m, s in zip(more, stride, strict=True)],
    )
    # Keep what padding would remove, then append zeros.
    padding = tuple((p, p - min(p, b)) for p, b in zip(padding, beyond, strict=True))
    beyond = [max(0, b - p) for (p, _), b in zip(padding, beyond, strict=True)]
    window = Window(kernel, stride, padding, dilation)
    size = tuple(
        (n - 1) * s + span - 2 * p + m
        for n, s, span, (p, _), m in zip(x.shape[2:], stride, window.spans(), padding, more, strict=True)
    )
    if min(size) < 1:
        raise ValueError(
            f"{op}: {tuple(x.shape)} would become {size}, for padding is taken away here: give less than {padding}"
        )
    y = back(x, weight, tuple(n - b for n, b in zip(size, beyond, strict=True)), window, groups)
    y = pad(y, ((0, 0), (0, 0), *((0, b) for b in beyond))) if any(beyond) else y
    return y if bias is None else y + reshape(bias, (-1, *(1,) * many))


def each(op: str, name: str, value: Any, many: int, least: int) -> tuple[int, ...]:
    """One whole number for each axis, given one for all or a sequence."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    values *= many if len(values) == 1 else 1
    if len(values) != many or not all(isinstance(v, (int, np.integer)) and v >= least for v in values):
        raise ValueError(
            f"{op}: {name}={value!r} is not understood: give a whole number, at least {least}, or {many} of them"
        )
    return values


def fitting(op: str, shape: tuple[int, ...], window: Window) -> Window:
    """The window, once it is known that it fits into an input of this shape."""
    sizes = [
        n + before + after for n, (before, after) in zip(shape[-len(window.kernel) :], window.padding, strict=True)
    ]
    if min(window.kernel) < 1 or any(span > size for span, size in zip(window.spans(), sizes, strict=True)):
        raise ValueError(
            f"{op}: a kernel {window.kernel} with dilation {window.dilation} spans {window.spans()}, more than "
            f"{tuple(shape)} with padding {window.padding}: give a smaller kernel, more padding or a larger input"
        )
    return window


def check_rank(op: str, many: int, x: Any) -> None:
    """Refuse what is neither a batch nor a single sample."""
    if len(x.shape) not in (many + 1, many + 2):
        axes = ("L", "H, W", "D, H, W")[many - 1]
        raise ValueError(
            f"{op} takes (N, C, {axes}) or (C, {axes}), but x has shape {tuple(x.shape)}: x[None] adds an axis of "
            "samples, x[:, None] one of channels"
        )


def _check_filters(op, many, x, weight, bias, groups, transposed):
    """Refuse an input, a weight and a bias that do not fit together."""
    check_rank(op, many, x)
    kernel = ("kernel", "kernel height, kernel width", "kernel depth, height, width")[many - 1]
    layout = f"({'in, out' if transposed else 'out, in'} / groups, {kernel})"
    if len(weight.shape) != many + 2:
        raise ValueError(f"{op}: the weight is {layout}, but this one has shape {tuple(weight.shape)}")
    first, second = weight.shape[:2]
    groups = whole_number(op, "groups", groups)
    if groups < 1 or first % groups:
        raise ValueError(f"{op}: groups={groups} does not divide axis 0, of size {first}, of the weight {layout}")
    channels, outputs = (first, second * groups) if transposed else (second * groups, first)
    lead, given = len(x.shape) - many - 1, x.shape[-many - 1]
    if given != channels:
        fix = ""
        if x.shape[-1] == channels:
            order = (*range(lead), lead + many, *range(lead, lead + many))
            fix = f"; are its channels last?  Then x.transpose{order} moves them"
        elif lead == 0 and channels == 1:
            fix = "; is it a batch without an axis of channels?  x[:, None] adds one"
        raise ValueError(
            f"{op}: x {tuple(x.shape)} has {given} channels, on axis {lead}, but the weight {tuple(weight.shape)}, "
            f"which is {layout} with groups={groups}, takes {channels}{fix}"
        )
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise ValueError(
            f"{op}: the bias has shape {tuple(bias.shape)}, but one number is needed for each of {outputs} outputs"
        )
