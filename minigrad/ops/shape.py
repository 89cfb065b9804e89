"""The same numbers in another shape.  Most of these cost nothing: they are views."""
from __future__ import annotations

import math
from functools import cache
from itertools import accumulate

from .. import backend
from ..primitive import Primitive, primitive, torch_spelling
from ..tensor import Tensor
from .arithmetic import where


@primitive
def reshape(xp, x, /, shape):
    """x with its entries, in order, in another shape; one size may be -1."""
    return xp.reshape(x, shape)
reshape.defvjp(x=lambda g, x_shape: reshape(g, x_shape))


@primitive
def broadcast_to(xp, x, /, shape):
    """x repeated, without a copy, along new axes and axes of size 1."""
    return xp.broadcast_to(x, shape)
broadcast_to.defvjp(x=lambda g: g)              # the tape adds it up again


@primitive
def swapaxes(xp, x, /, a, b):
    """Axes a and b change places."""
    return xp.swapaxes(x, a, b)
swapaxes.defvjp(x=lambda g, a, b: swapaxes(g, a, b))


@primitive
def transpose(xp, x, /, axes=None):
    """Axes in the given order; all reversed by default."""
    return xp.transpose(x, axes)
transpose.defvjp(x=lambda g, axes: transpose(g, axes and sorted(range(len(axes)), key=lambda i: axes[i] % len(axes))))


def axis_of(op, x, axis, more=0):
    """`axis` counted from the front, once it is known that x (with `more` axes) has it."""
    many = len(x.shape) + more
    if not -many <= axis < many:
        raise ValueError(f"{op}: axis {axis} of shape {tuple(x.shape)}: give {-many} to {many - 1}")
    return axis % many


@torch_spelling
def expand_dims(x, axis):
    """A new axis of size 1 before `axis`."""
    axis = axis_of("expand_dims", x, axis, 1)
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


@torch_spelling
def squeeze(x, axis=None):
    """Without the axes of size 1, or without the one given."""
    if axis is None:
        return reshape(x, tuple(n for n in x.shape if n != 1))
    axis = axis_of("squeeze", x, axis)
    if x.shape[axis] != 1:
        raise ValueError(f"squeeze: axis {axis} of shape {tuple(x.shape)} has size {x.shape[axis]}, only size 1 can be dropped")
    return reshape(x, (*x.shape[:axis], *x.shape[axis + 1:]))


def flatten(x, start_axis=0):
    """All axes from `start_axis` on made one."""
    return reshape(x, (*x.shape[:start_axis], math.prod(x.shape[start_axis:])))         # -1 could not tell in an empty array


@torch_spelling
def concatenate(xs, axis=0):
    """The Tensors `xs` one after the other along an axis they all have."""
    xs = tuple(xs)
    if not xs:
        raise ValueError("concatenate: an empty list was given; it needs at least one Tensor")
    axis = axis_of("concatenate", xs[0], axis)
    ends = tuple(accumulate(x.shape[axis] if axis < len(x.shape) else 0 for x in xs))
    return _concatenate(len(xs))(*xs, axis, ends)


@cache
def _concatenate(n):
    """The op for n inputs, which end at `ends` along the axis.  Input i's gradient is the piece of g where it went."""
    def concatenate(xp, *given):
        *xs, axis, ends = given
        return xp.concatenate(xs, axis)

    def piece(i):
        return lambda g, axis, ends: g[(slice(None),) * axis + (slice(ends[i - 1] if i else 0, ends[i]),)]

    op = Primitive(concatenate, [f"x{i}" for i in range(n)], ["axis", "ends"])
    op.rules = {name: (piece(i), ["axis", "ends"]) for i, name in enumerate(op.inputs)}
    return op.front


@torch_spelling
def stack(xs, axis=0):
    """The Tensors `xs`, all of one shape, along a new axis."""
    return concatenate([expand_dims(x, axis) for x in xs], axis)


@torch_spelling
def flip(x, axis):
    """The entries along `axis` (or several) in reverse order."""
    axes = {axis_of("flip", x, a) for a in (axis if isinstance(axis, tuple) else (axis,))}
    return x[tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(len(x.shape)))]


def tile(x, repeats):
    """x laid side by side, repeats[i] times along axis i."""
    lead = (1,) * (len(repeats) - len(x.shape))
    shape, repeats = lead + tuple(x.shape), (1,) * (len(x.shape) - len(repeats)) + tuple(repeats)
    between = tuple(n for pair in zip(repeats, shape) for n in pair)           # (repeats, n, repeats, n, …)
    ones = tuple(n for size in shape for n in (1, size))
    return reshape(broadcast_to(reshape(x, ones), between), tuple(r * n for r, n in zip(repeats, shape)))


@primitive
def pad(xp, x, /, widths, value=0):
    """x with `value` around it: widths[i] = (before, after) for each axis i."""
    return xp.pad(x, widths, constant_values=value)
pad.defvjp(x=lambda g, x_shape, widths: g[tuple(slice(before, before + n) for (before, _), n in zip(widths, x_shape))])


def tril(x, diagonal=0):
    """The last two axes with zeros above the given diagonal."""
    return where(_triangle(x, diagonal), x, 0)


def triu(x, diagonal=0):
    """The last two axes with zeros below the given diagonal."""
    return where(_triangle(x, diagonal - 1), 0, x)


def _triangle(x, diagonal):
    return backend.of(x.data if isinstance(x, Tensor) else x).xp.tri(*x.shape[-2:], diagonal, dtype=bool)


@torch_spelling
def split(x, sizes, axis=0):
    """Pieces of x along `axis`: of equal size, if `sizes` is a number (of entries, as in torch), or of the sizes given."""
    axis = axis_of("split", x, axis)
    length = x.shape[axis]
    if isinstance(sizes, int):
        sizes = [min(sizes, length - start) for start in range(0, length, sizes)]
    if sum(sizes) != length:
        raise ValueError(f"split: sizes {list(sizes)} add up to {sum(sizes)}, but axis {axis} is {length} long")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [x[(slice(None),) * axis + (slice(start, start + size),)] for start, size in zip(starts, sizes, strict=True)]
