"""Convolution: the input windows of some output positions are copied to columns, and multiplied in registers.

y[n, o, q] = bias[o] + Σ_ck weight[o, c, k] · x[n, c, entry k at place q].  `ops.window.conv` computes the same on whole
arrays, cuda/convolution.py on a GPU.  A core processes a PANEL of places at a time, or a part of the outputs: columns
stay in its cache, and the sums of a few outputs in its registers, until they are scaled, shifted and written.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ...record import Value
from ...shared.geometry import Geometry, phases
from .. import cores
from ..memory import in_order
from .compile import f4, i8, loop
from .registers import LANES, PANEL, ROWS, clear, copy, fetch, move, move_some, multiply, settle, settle_some, turn

MAX_COLUMNS = 1 << 17  # entries of the columns built at a time for the weight's gradient, which fit in a core's cache
MAX_PLACES = 512
MIN_SHARED = 1 << 22  # multiplications from which another core saves more time than it takes to wake it
MAX_ENTRIES = 512  # entries of a filter that are multiplied at a time
MIN_LAID = 9  # the cost of building a column, in products of it with one filter


class Seen(NamedTuple):
    """Padded images, in which each phase of the stride is a plane of its own.

    At place (i, j) of image n, entry k of a filter covers, in channel c,
    space[n · sample + offsets[c, k] + i · width + j].
    """

    space: np.ndarray
    offsets: np.ndarray  # (C, kh · kw)
    sample: int
    width: int
    line: int  # the number of places that are contiguous
    W: int
    places: int  # the number of places of an image


def see(x: np.ndarray, at: Geometry) -> Seen:
    """Images (N, C, height, width), or signals, prepared for windows."""
    N, C = x.shape[:2]
    down, across = at.dh * np.arange(at.kh), at.dw * np.arange(at.kw)
    inside = at.top == at.left == 0 and (at.height, at.width) == (at.H + down[-1], at.W + across[-1])
    if inside and at.sh == at.sw == 1:  # nothing to add, and nothing to keep apart
        apart, rows, width, space = (1, 1), at.height, at.width, np.ascontiguousarray(x)
    else:
        apart = int((down % at.sh).max()) + 1, int((across % at.sw).max()) + 1
        rows, width = at.H + int(down[-1]) // at.sh, at.W + int(across[-1]) // at.sw
        space = np.empty((N * C, *apart, rows, width), np.float32)
        images = np.ascontiguousarray(x).reshape(N * C, at.height, at.width)
        share(lambda some: spread(images, *some, at.top, at.left, at.sh, at.sw, space), N * C, 8 * space.size)
    plane = rows * width
    entries = (down % at.sh * apart[1] * plane + down // at.sh * width)[:, None] + across % at.sw * plane
    entries = (entries + across // at.sw).reshape(-1)
    channel, places = apart[0] * apart[1] * plane, at.H * at.W
    offsets = np.arange(C)[:, None] * channel + entries
    return Seen(space.reshape(-1), offsets, C * channel, width, places if width == at.W else at.W, at.W, places)


def share(work: Any, count: int, size: int, unit: int = 1) -> list:
    """[work(first, last)] for equal parts of the range `count`, one per core, in multiples of `unit`.

    It is not divided if `size`, the number of multiplications or of numbers to copy, is small.
    """
    units = -(-count // unit)
    parts = cores.evenly(units, units, cores.CORES) if size >= MIN_SHARED else [slice(0, units)]
    return cores.share(lambda part: work((part.start * unit, min(part.stop * unit, count))), parts)


@loop
def spread(x, first_plane, last_plane, top, left, sh, sw, space):
    """space[c, a, b, i, j] = x[c, i · sh + a - top, j · sw + b - left], and 0 outside of x."""
    height, width = x.shape[1:]
    for c in range(first_plane, last_plane):
        for a in range(space.shape[1]):
            for b in range(space.shape[2]):
                first = min(max(0, (left - b + sw - 1) // sw), space.shape[4])
                last = max(first, min(space.shape[4], (width + left - b + sw - 1) // sw))
                for i in range(space.shape[3]):
                    row, to = i * sh + a - top, i8(space[c, a, b, i].ctypes.data)
                    if 0 <= row < height:
                        source = x[c, row].ctypes.data + 4 * (first * sw + b - left)
                        zeros(to, first)
                        if sw == 1:
                            copy(source, to + 4 * first, last - first)
                        else:
                            for j in range(last - first):
                                move_some(source + 4 * j * sw, to + 4 * (first + j), 1)
                        zeros(to + 4 * last, space.shape[4] - last)
                    else:
                        zeros(to, space.shape[4])


@loop
def zeros(target, count):
    for i in range(0, count, LANES):
        clear(target + 4 * i, count - i)


@loop
def cut(first, last, seen, runs):
    """Divide places into runs of at most LANES that are contiguous in `seen.space`; return the number of runs.

    `runs` has for each its position among these places, its length, and the index in `space` of its first place for
    the first entry of the first channel.
    """
    count, q = 0, first
    while q < last:
        n, r = divmod(q, seen.places)
        length = min(seen.line - r % seen.line, min(last - q, LANES))
        runs[0, count], runs[1, count] = q - first, length
        runs[2, count] = n * seen.sample + r // seen.W * seen.width + r % seen.W
        count += 1
        q += length
    return count


@loop
def lay_down(seen, offsets, runs, count, inside, columns):
    """columns[k, q] = the input of entry k at the q-th place of all runs.

    If all runs lie `inside` the array, whole vectors are copied: the numbers after a run are overwritten by the next.
    """
    space, to, row = seen.space.ctypes.data, columns.ctypes.data, 4 * columns.shape[1]
    for k in range(offsets.shape[0]):
        if inside:
            for u in range(count):
                move(space + 4 * (runs[2, u] + offsets[k]), to + k * row + 4 * runs[0, u])
        else:
            for u in range(count):
                copy(space + 4 * (runs[2, u] + offsets[k]), to + k * row + 4 * runs[0, u], runs[1, u])


@loop
def finish(sums, count, runs, o, scale, shift, more, floor, y):
    """y = max(scale · sum + shift + more, floor), for some places of an output.

    Each run has the index of its first sum, its length, and its index in channel 0 of the result.
    """
    w, b = scale[o], shift[o]
    for u in range(count):
        source, length, place = sums + 4 * runs[0, u], runs[1, u], runs[2, u] + o * y.shape[2]
        target, also = y.ctypes.data + 4 * place, more.ctypes.data + 4 * place if more.size else 0
        for i in range(0, length - LANES + 1, LANES):
            settle(source + 4 * i, w, b, also + 4 * i if also else 0, floor, target + 4 * i)
        i = length // LANES * LANES
        if i < length:
            settle_some(source + 4 * i, w, b, also + 4 * i if also else 0, floor, target + 4 * i, length - i)


@loop
def targets(first, last, outputs, places, runs):
    """The runs of `finish` for places of all images, numbered one image after the other."""
    count, q = 0, first
    while q < last:
        n, r = divmod(q, places)
        length = min(places - r, last - q)
        runs[0, count], runs[1, count], runs[2, count] = q - first, length, n * outputs * places + r
        count += 1
        q += length
    return count


@loop
def targets_within(n, first, last, outputs, seen, runs):
    """The same for places of one image, numbered by their positions in `seen.space`, including the padding of rows."""
    count, v = 0, first
    while v < last:
        i, j = divmod(v, seen.width)
        if j < seen.W:
            length = min(seen.line - j if seen.line == seen.W else last - v, last - v)
            runs[0, count], runs[1, count] = v - first, length
            runs[2, count] = n * outputs * seen.places + i * seen.W + j
            count += 1
            v += length
        else:
            v += seen.width - j
    return count


@loop
def convolve(seen, filters, direct, first, last, o_first, o_last, scale, shift, more, floor, y):
    """Panels first..last of places, of some outputs of each group, from filters (groups, outputs, entries).

    If `direct`, columns are multiplied in place, and only those that would reach beyond the end are copied.
    """
    groups, outputs, entries = filters.shape
    N, O = y.shape[:2]  # noqa: E741
    few, wide = min(entries, MAX_ENTRIES), i8(PANEL)
    columns, laid = np.empty((few + 1, PANEL), np.float32), np.arange(few) * PANEL
    sums = np.empty((o_last - o_first if few < entries else ROWS, PANEL), np.float32)
    runs, into = np.empty((3, PANEL), np.int64), np.empty((3, PANEL), np.int64)
    offsets, length = seen.offsets.reshape(groups, entries), (seen.places // seen.W - 1) * seen.width + seen.W
    each = (length + PANEL - 1) // PANEL
    for panel in range(first, last):
        if direct:
            n, v = panel // each, panel % each * PANEL
            width = min(PANEL, length - v)
            found = targets_within(n, v, v + width, O, seen, into)
            runs[0, 0], runs[1, 0], runs[2, 0], count = 0, width, n * seen.sample + v, 1
        else:
            q = panel * PANEL
            width = min(PANEL, N * seen.places - q)
            found, count = targets(q, q + width, O, seen.places, into), cut(q, q + width, seen, runs)
        reach = runs[2, :count].max() + (PANEL if direct else LANES)
        for group in range(groups):
            for k in range(0, entries, few):
                deep, own = min(few, entries - k), offsets[group, k : k + few]
                inside = reach + own.max() <= seen.space.size
                if direct and inside:
                    b, rows_of_b = seen.space.ctypes.data + 4 * runs[2, 0], i8(own.ctypes.data)
                else:
                    lay_down(seen, own, runs, count, inside, columns)
                    b, rows_of_b = i8(columns.ctypes.data), i8(laid.ctypes.data)
                for o in range(o_first, o_last, ROWS):
                    rows, output = min(ROWS, o_last - o), group * outputs + o
                    total = sums.ctypes.data + (4 * (o - o_first) * PANEL if few < entries else 0)
                    if k + few >= entries:
                        for u in range(found * rows):
                            r, u = divmod(u, found)
                            target = y.ctypes.data + 4 * (into[2, u] + (output + r) * y.shape[2])
                            for i in range(0, into[1, u] + 15, 16):
                                fetch(target + 4 * i)
                    part = filters.ctypes.data + 4 * (output * entries + k)
                    multiply(part, entries, rows, b, rows_of_b, width, deep, total, wide, k)
                    if k + few >= entries:
                        for r in range(rows):
                            finish(total + 4 * r * PANEL, found, into, output + r, scale, shift, more, floor, y)


@loop
def convolve_channels(seen, filters, first, last, scale, shift, more, floor, y):
    """Depthwise: filters (outputs, entries), each over one channel; computes first..last of the outputs of all images.

    An image is one long row, and each entry multiplies a shift of it; results past the edge of the image are not used.
    """
    outputs, entries = filters.shape
    C, length = seen.offsets.shape[0], (seen.places // seen.W - 1) * seen.width + seen.W
    total, run = np.empty(length, np.float32), np.empty((3, 1), np.int64)
    for plane in range(first, last):
        n, o = divmod(plane, outputs)
        c, w = o // (outputs // C), filters[o]
        shifts = seen.offsets[c] + n * seen.sample
        total[:] = f4(0)
        k = 0
        while k < entries:
            if entries - k >= 3:
                one, two, three = seen.space[shifts[k] :], seen.space[shifts[k + 1] :], seen.space[shifts[k + 2] :]
                weigh_3(one, two, three, w[k], w[k + 1], w[k + 2], total)
                k += 3
            else:
                weigh(seen.space[shifts[k] :], w[k], total)
                k += 1
        for i in range(seen.places // seen.W):
            run[0, 0], run[1, 0], run[2, 0] = i * seen.width, seen.W, n * outputs * seen.places + i * seen.W
            finish(i8(total.ctypes.data), i8(1), run, o, scale, shift, more, floor, y)


@loop
def weigh(x, w, total):
    for j in range(total.shape[0]):
        total[j] += w * x[j]


@loop
def weigh_3(x, y, z, u, v, w, total):
    for j in range(total.shape[0]):
        total[j] += u * x[j] + v * y[j] + w * z[j]


@loop
def sum_columns(seen, g, first, last, width, total):
    """total[group, k, o] += Σ_q columns[k, q] · g[o, q] over places first..last; `total` has whole panels."""
    groups, entries, padded = total.shape
    outputs = g.shape[1] // groups
    runs, offsets = np.empty((3, width), np.int64), seen.offsets.reshape(groups, entries)
    columns, turned = np.empty((entries + 1, width), np.float32), np.zeros((width, padded), np.float32)
    rows_of, add = np.arange(width) * padded, i8(1)
    for start in range(first, last, width):
        stop = min(start + width, last)
        count = cut(start, stop, seen, runs)
        for group in range(groups):
            inside = runs[2, :count].max() + offsets[group].max() + LANES <= seen.space.size
            lay_down(seen, offsets[group], runs, count, inside, columns)
            turn_places(g, start, stop, group * outputs, outputs, seen.places, turned)
            for k in range(0, entries, ROWS):
                for o in range(0, outputs, PANEL):
                    column, more = columns.ctypes.data + 4 * k * width, min(ROWS, entries - k)
                    out, into = turned.ctypes.data + 4 * o, total.ctypes.data + 4 * ((group * entries + k) * padded + o)
                    some, deep = min(PANEL, outputs - o), stop - start
                    multiply(column, width, more, out, i8(rows_of.ctypes.data), some, deep, into, padded, add)


@loop
def turn_places(g, first, last, start, outputs, places, turned):
    """turned[q, o] = g[n, start + o, q], for places first..last of all images."""
    q, row = first, turned.shape[1]
    while q < last:
        n, r = divmod(q, places)
        length = min(places - r, last - q)
        source = g.ctypes.data + 4 * ((n * g.shape[1] + start) * places + r)
        turn(source, places, outputs, length, turned.ctypes.data + 4 * (q - first) * row, row)
        q += length


@loop
def sum_channels(seen, g, first, last, total):
    """The same for depthwise filters: total[o, k], of some outputs first..last."""
    N, outputs, places = g.shape
    C, entries = seen.offsets.shape
    runs, columns = np.empty((3, places), np.int64), np.empty((entries + 1, places + LANES), np.float32)
    for o in range(first, last):
        for n in range(N):
            count, own = cut(n * places, (n + 1) * places, seen, runs), seen.offsets[o // (outputs // C)]
            inside = runs[2, :count].max() + own.max() + LANES <= seen.space.size
            lay_down(seen, own, runs, count, inside, columns)
            for k in range(entries):
                total[o, k] += dot(columns[k], g[n, o])


@loop
def dot(x, y):
    total = f4(0)
    for j in range(y.shape[0]):
        total += x[j] * y[j]
    return total


NOTHING = np.empty((0, 0, 0), np.float32)


def over_images(size: tuple[int, ...], window: Any) -> Geometry:
    """The geometry of a window over images of this size; a signal is an image of height 1, whose places are a line."""
    if len(size) == 2:
        return Geometry(size, window)
    return Geometry((1, *size), window._make((one, *axis) for one, axis in zip((1, 1, (0, 0), 1), window)))


def forward(x, weight, at, groups, scale=None, shift=None, more=None, is_relu=False):
    """relu(scale · conv(x, weight) + shift + more), (N, O, H · W), without the operands that are None."""
    seen, (N, C), O = see(x, at), x.shape[:2], len(weight)  # noqa: E741
    filters, every = np.ascontiguousarray(weight).reshape(groups, O // groups, -1), O // groups
    y = np.empty((N, O, seen.places), np.float32)
    more = NOTHING if more is None else np.ascontiguousarray(more)
    scale = np.ones(O, np.float32) if scale is None else np.ascontiguousarray(scale)
    shift = np.zeros(O, np.float32) if shift is None else np.ascontiguousarray(shift)
    last, size = (scale, shift, more, f4(0 if is_relu else -np.inf), y), y.size * filters.shape[2]
    if groups == C > 1:
        by_output = filters.reshape(O, -1)
        share(lambda some: convolve_channels(seen, by_output, *some, *last), N * O, size)
        return y
    direct = at.kw > 1 and (seen.width - at.W) * every < MIN_LAID * at.W
    line = (at.H - 1) * seen.width + at.W
    panels = N * -(-line // PANEL) if direct else -(-N * seen.places // PANEL)
    if panels >= 4 * cores.CORES or every < 2 * ROWS:
        share(lambda some: convolve(seen, filters, direct, *some, 0, every, *last), panels, size)
    else:
        share(lambda some: convolve(seen, filters, direct, 0, panels, *some, *last), every, size, ROWS)
    return y


def conv_weight_grad(xp, x, g, window, groups):
    """The gradient (O, C/G, *kernel) of the weight, accumulated on each core and then over the cores."""
    at, (N, C), O = over_images(x.shape[2:], window), x.shape[:2], g.shape[1]  # noqa: E741
    seen, g = see(x, at), np.ascontiguousarray(g).reshape(N, O, -1)
    entries, size = seen.offsets.size // groups, g.size * seen.offsets.size // groups
    if groups == C > 1:
        by_output = np.zeros((O, entries), np.float32)
        share(lambda some: sum_channels(seen, g, *some, by_output), O, size)
        return by_output.reshape(O, 1, *window.kernel)
    padded = -(-(O // groups) // PANEL) * PANEL
    width = max(PANEL, min(MAX_PLACES, MAX_COLUMNS // entries) // LANES * LANES)

    def work(some):
        total = np.zeros((groups, entries, padded), np.float32)
        sum_columns(seen, g, *some, width, total)
        return total

    total = np.sum(share(work, N * seen.places, size, width), axis=0)[:, :, : O // groups]
    return in_order(total.swapaxes(1, 2)).reshape(O, C // groups, *window.kernel)


def conv_input_grad(xp, g, weight, size, window, groups):
    """The gradient of x: for each of its phases, a convolution of g with the flipped kernel entries that meet it."""
    at, (N, O), channels = over_images(size, window), g.shape[:2], weight.shape[1]  # noqa: E741
    filters = weight.reshape(groups, O // groups, channels, at.kh, at.kw).swapaxes(1, 2)
    filters = filters.reshape(groups * channels, O // groups, at.kh, at.kw)
    g, x = g.reshape(N, O, at.H, at.W), np.zeros((N, groups * channels, at.height, at.width), np.float32)
    for (a, *down), (b, *right) in product(phases(at.kh, at.sh, at.dh), phases(at.kw, at.sw, at.dw)):
        own = filters[:, :, a, b][:, :, ::-1, ::-1]
        rows, above = way_back(at.top, at.sh, at.height, at.H, own.shape[2], *down)
        columns, beside = way_back(at.left, at.sw, at.width, at.W, own.shape[3], *right)
        part = x[:, :, rows, columns]
        if part.size:
            back = Geometry(g.shape[2:], (own.shape[2:], (1, 1), (above, beside), (down[2], right[2])))
            part[...] = forward(g, own, back, groups).reshape(part.shape)
    return x.reshape(N, groups * channels, *size)


def way_back(
    before: int, stride: int, size: int, places: int, entries: int, phase: int, shift: int, step: int
) -> tuple[slice, tuple[int, int]]:
    """Along an axis, the entries of x that a phase of the kernel reaches, and the padding of g for as many outputs.

    Entry first + stride · t is read at the places t + skipped - shift - step · m, for each of the phase's entries m.
    """
    first = (phase - before) % stride
    skipped, reach = (first + before - phase) // stride, step * (entries - 1)
    above = shift + reach - skipped
    return slice(first, None, stride), (above, len(range(first, size, stride)) + reach - above - places)


def conv(xp, x, weight, bias, window, groups):
    return conv_norm(xp, x, weight, None, bias, None, window, groups, False)


def conv_norm(xp, x, weight, scale, shift, more, window, groups, is_relu):
    at = over_images(x.shape[2:], window)
    shape = len(x), len(weight), *(at.H, at.W)[4 - x.ndim :]
    more = None if more is None else np.broadcast_to(more, shape).reshape(len(x), len(weight), at.H * at.W)
    return forward(x, weight, at, groups, scale, shift, more, is_relu).reshape(shape)


table = {
    name: Value(value)
    for name, value in {
        "conv": conv,
        "conv_norm": conv_norm,
        "conv_input_grad": conv_input_grad,
        "conv_weight_grad": conv_weight_grad,
    }.items()
}
