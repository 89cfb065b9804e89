"""Convolution on a CPU, as products of matrices: a few images, or a few rows of one, at a time on each core.

Laying down a whole column for each place copies every entry of x as often as the kernel is large.  Here the kernel's columns
are laid side by side only along a row; down the image the kernel is walked through row by row, and each of its rows is a
product with the same array, begun a little further on.
"""
from __future__ import annotations

from itertools import product

import numpy as np

from . import Kernel, cores, depthwise, images
from .blas import gemm
from .cores import cuts, share
from .geometry import Geometry, overlap, phases
from .vision_kernels import relu_backward

SPACE = 1 << 19                                 # entries laid down at a time, which stay in a core's cache
FEW = 32                                        # entries of a column below which those of all rows of the kernel go into one
LARGE = 1 << 11                                 # places of an image that is worth a product of its own


def at_once(at: Geometry, samples: int, channels: int, outputs: int) -> bool:
    """Whether it is less work to lay down whole columns, as high as a filter, than to cut filters into rows and walk."""
    return at.kh > 1 and (channels * at.kw < FEW or samples * at.H * at.W < 8 * outputs)


def pieces(at: Geometry, samples: int, channels: int, outputs: int, whole: bool) -> list[tuple[slice, slice]]:
    """(some samples, some rows of places), as many as fit into SPACE with what comes of them, and some for every core."""
    row = max(1, max(channels * at.kw * (at.kh if whole else at.sh), outputs) * at.W)
    if images.side_by_side(samples):            # few rows of many samples; but what two rows both see is laid down twice
        some = evenly(samples, max(images.LINE, 2 * SPACE // (row * min(4, at.H))), 1 if at.H > 1 else cores.CORES)
        rows = evenly(at.H, 2 * SPACE * len(some) // (row * samples), 1 if len(some) > 1 else cores.CORES)
    else:
        large = LARGE >> 4 if at.sees_itself else LARGE      # a 1 × 1 kernel: of one sample nothing need be laid down
        some = evenly(samples, 1 if at.H * at.W >= large else SPACE // (row * at.H), cores.CORES)
        rows = evenly(at.H, SPACE // row, 1 if samples > 1 else cores.CORES)
    return list(product(some, rows))


def evenly(count: int, most: int, among: int) -> list[slice]:
    """Cut `count` things into parts of `most` at most, and about as many for each of so many."""
    parts = -(-count // max(1, most))
    parts = min(count, parts + -parts % among)
    return [slice(count * i // parts, count * (i + 1) // parts) for i in range(parts)]


def in_line(x: np.ndarray, samples: int) -> np.ndarray:
    """Some of so many images, (n, C, rows, columns), as (C, rows, …), what makes long lines last: columns or samples."""
    return images.by_pixel(x) if images.side_by_side(samples) else x.transpose(1, 2, 0, 3)


def laid_down(x: np.ndarray, samples: slice, rows: slice, at: Geometry) -> np.ndarray:
    """What the kernel sees of some of the images x (N, C, height, width) from some rows of places: (C, kw, sh, h, n · W), `in_line`.

    Rows of the image that are the stride apart lie side by side, so that axis 3 counts places; axis 2 tells the phase.
    """
    h, wide = rows.stop - rows.start + at.dh * (at.kh - 1) // at.sh, (at.W - 1) * at.sw + at.dw * (at.kw - 1) + 1
    here, there = overlap(rows.start * at.sh - at.top, h * at.sh, at.height)
    beside, inside = overlap(-at.left, wide, at.width)
    image, last = x[samples, :, here, beside].transpose(1, 2, 0, 3), images.side_by_side(len(x))               # (C, row, n, column)
    padded, n = image, image.shape[2]
    if image.shape[1] < h * at.sh or image.shape[3] < wide:
        room = len(image), h * at.sh
        padded = np.zeros((*room, wide, n), x.dtype).swapaxes(2, 3) if last else np.zeros((*room, n, wide), x.dtype)
        padded[:, there, :, inside] = image
    channel, row, sample, column = padded.strides
    seen = np.lib.stride_tricks.as_strided(
        padded, (len(image), at.kw, at.sh, h, n, at.W), (channel, column * at.dw, row, row * at.sh, sample, column * at.sw))
    if last:
        seen = seen.swapaxes(4, 5)
    return (seen if at.sees_itself else np.ascontiguousarray(seen)).reshape(*seen.shape[:4], -1)


def walk(columns: np.ndarray, groups: int, count: int, at: Geometry, whole: bool) -> list[np.ndarray]:
    """For each row of the kernel what it meets at `count` rows of places: (G, C/G · kw, count · n · W), views.

    Or, for whole filters, one array for all its rows: (G, C/G · kh · kw, count · n · W).
    """
    columns = columns.reshape(groups, len(columns) // groups * at.kw, at.sh, *columns.shape[3:])
    steps = (divmod(i * at.dh, at.sh) for i in range(at.kh))
    seen = [columns[:, :, phase, shift:shift + count].reshape(*columns.shape[:2], count * columns.shape[4])
            for shift, phase in steps]
    if whole:
        seen = [np.stack([part.reshape(groups, -1, at.kw, part.shape[2]) for part in seen], 2).reshape(
            groups, columns.shape[1] * at.kh, -1)]
    return seen


def by_row(weight: np.ndarray, at: Geometry, groups: int, whole: bool) -> np.ndarray:
    """The weight (O, C/G, kh, kw) as a matrix for each array of `walk` and group: (kh, G, O/G, C/G · kw), or whole filters."""
    outputs, channels = weight.shape[:2]
    if whole:
        return weight.reshape(1, groups, outputs // groups, channels * at.kh * at.kw)
    parts = weight.reshape(groups, outputs // groups, channels, at.kh, at.kw).transpose(3, 0, 1, 2, 4)
    return np.ascontiguousarray(parts).reshape(at.kh, groups, outputs // groups, channels * at.kw)


def with_columns(x: np.ndarray) -> np.ndarray:
    """Signals (N, C, L) as images of width 1."""
    return x[..., None] if x.ndim == 3 else x


def is_depthwise(x: np.ndarray, y: np.ndarray, groups: int) -> bool:
    """Whether each channel of x has one filter, of its own, for its channel of y (in a type that einsum adds up well)."""
    return groups == x.shape[1] == y.shape[1] > 1 and x.dtype == y.dtype and x.dtype.itemsize > 2


def forward(xp, x, weight, bias, window, groups, out=None, scale=None, more=None, is_relu=False):
    """y (N, O, *places), as `ops.window.conv` means it; written into `out`, if that is given.

    With a scale for each output, more to add or `is_relu`, it is what `conv_norm` means: done to each piece of y while it is in a
    core's cache.
    """
    at = Geometry(x.shape[2:], window)
    y = out if out is not None else images.new((len(x), len(weight), *(at.H, at.W)[:x.ndim - 2]), np.result_type(x, weight))
    if scale is not None and (weight.size < y.size or groups > 1):             # whichever is less; groups have small filters
        weight, scale = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1)), None
    x, places, more = with_columns(x), with_columns(y), None if more is None else with_columns(np.broadcast_to(more, y.shape))
    if is_depthwise(x, places, groups):
        depthwise.forward(x, weight.reshape(-1, at.kh, at.kw), bias, at, places)
        if more is not None:
            places += more
        return np.maximum(y, 0, out=y) if is_relu else y
    whole = at_once(at, len(x), weight.shape[1], len(weight) // groups)
    filters = by_row(weight, at, groups, whole)
    scale, bias = (None if vector is None else vector.reshape(-1, 1, 1, 1) for vector in (scale, bias))

    def work(piece):
        samples, rows = piece
        into, rest = in_line(places[samples, :, rows], len(x)), 0 if bias is None else bias
        direct = images.side_by_side(len(x)) and into[0].flags.c_contiguous    # else in a core's cache, for which y is too large
        sums = into if direct else np.empty(into.shape, y.dtype)
        if more is not None:
            rest = np.add(in_line(more[samples, :, rows], len(x)), rest, out=sums if scale is None else None)
        if scale is None and rest is not sums:
            sums[...] = rest
        total = sums.reshape(groups, len(weight) // groups, -1)
        seen = walk(laid_down(x, samples, rows, at), groups, rows.stop - rows.start, at, whole)
        for i, (row, columns) in enumerate(zip(filters, seen)):
            for filter_, column, out in zip(row, columns, total):
                gemm(filter_, column, out, add=scale is None or i > 0)
        if scale is not None:
            sums *= scale
            sums += rest
        if is_relu:
            np.maximum(sums, 0, out=into)
        elif sums is not into:
            into[...] = sums
    share(work, pieces(at, len(x), x.shape[1], len(weight), whole))
    return y


def input_grad(xp, g, weight, size, window, groups):
    """The way back is a convolution of g with flipped filters: for each phase of x, the entries of the kernel that meet it."""
    at, C = Geometry(size, window), weight.shape[1] * groups
    turned = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(C, -1, at.kh, at.kw)
    ways = list(product(phases(at.kh, at.sh, at.dh), phases(at.kw, at.sw, at.dw)))
    x = images.new((len(g), C, *size), np.result_type(g, weight))
    if len(ways) < at.sh * at.sw:               # some entries are seen by nobody
        x[...] = 0
    g, into = with_columns(g), with_columns(x)
    for (a, *down), (b, *right) in ways:
        own = turned[:, :, a, b][:, :, ::-1, ::-1]
        rows, above = way_back(at.top, at.sh, at.height, at.H, own.shape[2], *down)
        columns, beside = way_back(at.left, at.sw, at.width, at.W, own.shape[3], *right)
        part = into[:, :, rows, columns]
        if part.size:
            back = window._replace(kernel=own.shape[2:], stride=(1, 1), padding=(above, beside), dilation=(down[2], right[2]))
            forward(xp, g, own, None, back, groups, part)
    return x


def way_back(before: int, stride: int, size: int, places: int, entries: int, phase: int, shift: int,
             step: int) -> tuple[slice, tuple[int, int]]:
    """Along an axis: the entries of x that a phase of the kernel reaches, and the padding of g that yields as many.

    Entry first + stride · t is seen from the places t + skipped - shift - step · m, for each of the phase's entries m.
    """
    first = (phase - before) % stride
    skipped, reach = (first + before - phase) // stride, step * (entries - 1)
    above = shift + reach - skipped
    return slice(first, None, stride), (above, len(range(first, size, stride)) + reach - above - places)


def weight_grad(xp, x, g, window, groups):
    """(O, C/G, *kernel): what each entry of a filter saw, times what came of it, added up on each core, then over the cores."""
    at, C, O = Geometry(x.shape[2:], window), x.shape[1], g.shape[1]  # noqa: E741
    x, g = with_columns(x), with_columns(g)
    if is_depthwise(x, g, groups):
        return depthwise.weight_grad(x, g, at).reshape(C, 1, *window.kernel)
    whole = at_once(at, len(x), C // groups, O // groups)
    parts, height, outputs = pieces(at, len(x), C, O, whole), C // groups * at.kw * (at.kh if whole else 1), O // groups
    tall = height > outputs                     # BLAS is up to three times as quick at as many rows, and few columns

    def work(mine):
        total = np.zeros((1 if whole else at.kh, groups, max(height, outputs), min(height, outputs)), np.result_type(x, g))
        for samples, rows in mine:
            came = in_line(g[samples, :, rows], len(x)).reshape(groups, outputs, -1)
            for part, columns in zip(total, walk(laid_down(x, samples, rows, at), groups, rows.stop - rows.start, at, whole)):
                for column, gradient, out in zip(columns, came, part):
                    one, other = (column, gradient) if tall else (gradient, column)
                    gemm(one, other.T, out, add=True)
        return total
    total = sum(share(work, [parts[i::cores.CORES] for i in range(min(cores.CORES, len(parts)) or 1)]))
    total = total.swapaxes(2, 3) if tall else total
    if not whole:
        total = np.ascontiguousarray(total.reshape(at.kh, O, C // groups, at.kw).transpose(1, 2, 0, 3))
    return total.reshape(O, C // groups, *window.kernel)


def conv_forward(xp, x, weight, bias, window, groups):
    return forward(xp, x, weight, bias, window, groups), (x, weight)


def conv_backward(xp, g, saved, wanted, window, groups):
    x, weight = saved
    return (input_grad(xp, g, weight, x.shape[2:], window, groups) if wanted[0] else None,
            weight_grad(xp, x, g, window, groups) if wanted[1] else None,
            per_channel(g) if wanted[2] else None)


def conv_norm_forward(xp, x, weight, scale, shift, more, window, groups, is_relu):
    y = forward(xp, x, weight, shift, window, groups, None, scale, more, is_relu)
    return y, (x, weight, scale, y if is_relu else None)


def conv_norm_backward(xp, g, saved, wanted, window, groups, is_relu):
    x, weight, scale, y = saved
    if is_relu:
        g, = relu_backward(xp, g, y, wanted)
    column = scale.reshape(-1, *(1,) * (weight.ndim - 1))
    gx, gw, gb = conv_backward(xp, g, (x, weight * column), (wanted[0], wanted[1] or wanted[2], wanted[3]), window, groups)
    by_filter = np.einsum("ij,ij->i", *(a.reshape(len(weight), -1) for a in (gw, weight))) if wanted[2] else None
    return gx, gw * column if wanted[1] else None, by_filter, gb, g if wanted[4] else None


def per_channel(g: np.ndarray) -> np.ndarray:
    """The sums of g (N, C, …) over all but the channels, as products with a vector of ones."""
    planes, = images.planes(g)
    ones = np.ones(planes.shape[2], g.dtype)
    return np.concatenate(share(lambda some: (planes[:, some] @ ones).sum(0), cuts(planes.shape[1], g.size)))


def transposed_forward(xp, g, weight, size, window, groups):
    return input_grad(xp, g, weight, size, window, groups), (g, weight)


def transposed_backward(xp, gy, saved, wanted, size, window, groups):
    g, weight = saved
    return (forward(xp, gy, weight, None, window, groups) if wanted[0] else None,
            weight_grad(xp, gy, g, window, groups) if wanted[1] else None)


table = {"conv": Kernel(conv_forward, conv_backward), "conv_norm": Kernel(conv_norm_forward, conv_norm_backward),
         "conv_input_grad": Kernel(transposed_forward, transposed_backward)}
