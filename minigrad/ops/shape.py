"""The same numbers in another shape.  Most of these cost nothing: they are views."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import accumulate
from numbers import Real
from typing import Any

import numpy as np

from .. import backend
from ..builtin import builtin
from ..primitive import Primitive, primitive
from ..spelling import torch_spelling, whole
from ..tensor import Tensor, as_array, shaped
from .arithmetic import astype, broadcast_to, reshape, where


@builtin()
@primitive
def swapaxes(xp, x, /, a, b):
    """Axes a and b change places."""
    return xp.swapaxes(x, a, b)


swapaxes.defvjp(x=lambda g, a, b: swapaxes(g, a, b))
swapaxes.in_symbols(x="g, the axes swapped back")


def transpose(x: Any, axes: Any = None, other: int | None = None) -> Any:
    """Axes in the given order, all reversed by default; or two of them change places: mg.transpose(x, 0, 2)."""
    return _transpose(x, axes) if other is None else swapaxes(x, axes, other)


@builtin(name="transpose")
@primitive
def _transpose(xp, x, /, axes=None):
    """Axes in the given order; all reversed by default."""
    if axes is not None and not isinstance(axes, (tuple, list)):
        raise TypeError(
            f"axes are a tuple of all {x.ndim} in their new order, not {axes!r}; two axes change places: "
            "mg.transpose(x, 0, 1)"
        )
    if axes is not None and len(axes) != x.ndim:
        raise ValueError(f"give all {x.ndim} axes in their new order; two change places: mg.transpose(x, 0, 1)")
    return xp.transpose(x, axes)


_transpose.defvjp(x=lambda g, axes: _transpose(g, axes and sorted(range(len(axes)), key=lambda i: axes[i] % len(axes))))
_transpose.in_symbols(x="gᵀ: the axes put back")


def whole_number(op: str, name: str, value: Any, least: int | None = None) -> int:
    """An argument that must be a whole number, at least `least`, as a plain int; NumPy's ints will do, booleans not."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{op}: {name} is to be a whole number, not {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{op}: {name}={value} is too small: give at least {least}")
    return int(value)


def axis_of(op: str, x: Any, axis: int, more: int = 0) -> int:
    """`axis` counted from the front, once it is known that x (with `more` axes) has it."""
    many = len(x.shape) + more
    axis = whole(op, axis)
    if not many:
        raise ValueError(f"{op}: axis {axis} of a single number, which has no axes: x.reshape(1) gives it one")
    if not -many <= axis < many:
        raise ValueError(f"{op}: axis {axis} of shape {tuple(x.shape)}: give {-many} to {many - 1}")
    return axis % many


def check_flags(op: str, **flags: Any) -> None:
    """Refuse what is neither True nor False: text, even "False", would count as true."""
    for name, value in flags.items():
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{op}: {name} is True or False, not {value!r}")


def check_numbers(op: str, **options: Any) -> None:
    """Refuse an option that is not a number."""
    for name, value in options.items():
        if not isinstance(value, Real) or isinstance(value, bool):
            raise TypeError(f"{op}: {name} is a number, not {value!r}")


def numbers(op: str, name: str, values: Any, dtype: Any = None) -> np.ndarray:
    """An argument that is a number or a list of numbers, as a NumPy array."""
    try:
        return np.asarray(values.numpy() if isinstance(values, Tensor) else values, dtype)
    except (TypeError, ValueError):
        raise TypeError(f"{op}: {name} is a number, or a list of numbers, not {values!r:.60}") from None


def axes_of(op: str, x: Any, axis: int | Sequence[int] | None, of_number: bool = False) -> set[int]:
    """The axes that `axis`, one or several of them or None for all, names, counted from the front.

    With `of_number` a single number has one axis, as in torch's reductions.
    """
    given: Any = range(len(x.shape)) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = {axis_of(op, x, a, int(of_number and not x.shape)) for a in given}
    if len(axes) < len(given):
        raise ValueError(f"{op}: axis={axis!r} names an axis of shape {tuple(x.shape)} twice")
    return axes


@torch_spelling
def expand_dims(x: Any, axis: int) -> Any:
    """A new axis of size 1 before `axis`."""
    x = shaped(x)
    axis = axis_of("expand_dims", x, axis, 1)
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


@torch_spelling
def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """Without the axes of size 1, or without the one (or those) given."""
    x = shaped(x)
    axes = (
        axes_of("squeeze", x, axis, of_number=True)
        if axis is not None
        else {i for i, n in enumerate(x.shape) if n == 1}
    )
    for axis in axes & set(range(len(x.shape))):
        if x.shape[axis] != 1:
            raise ValueError(
                f"squeeze: axis {axis} of shape {tuple(x.shape)} has size {x.shape[axis]}, only size 1 can be dropped"
            )
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


@torch_spelling
def flatten(x: Any, start_axis: int = 0, end_axis: int = -1) -> Any:
    """All axes from `start_axis` to `end_axis` made one; a single number becomes a vector of one."""
    x = shaped(x)
    start, end = (axis_of("flatten", x, axis, int(not x.shape)) for axis in (start_axis, end_axis))
    if start > end:
        raise ValueError(f"flatten: start_axis={start_axis} lies behind end_axis={end_axis} in shape {tuple(x.shape)}")
    one = math.prod(x.shape[start : end + 1])  # -1 could not tell in an empty array
    return reshape(x, (*x.shape[:start], one, *x.shape[end + 1 :]))


@torch_spelling
def concatenate(xs: Iterable[Any], axis: int = 0) -> Any:
    """The Tensors `xs` one after the other along an axis they all have."""
    xs = _several("concatenate", xs)
    for i, x in enumerate(xs):
        if len(x.shape) != len(xs[0].shape) or not x.shape:
            raise ValueError(
                f"concatenate: all are to have the same axes, at least one, but number 0 has shape "
                f"{tuple(xs[0].shape)} and number {i} {tuple(x.shape)}; mg.stack makes a new axis"
            )
    axis = axis_of("concatenate", xs[0], axis)
    ends = tuple(accumulate(x.shape[axis] for x in xs))
    return _concatenate(len(xs))(*xs, axis, ends)


def _several(op, xs):
    """The Tensors of a list or another iterable, at least one."""
    if not isinstance(xs, Iterable) or getattr(xs, "shape", None) == ():
        raise TypeError(f"{op}: a list of Tensors is needed, not {xs!r}")
    xs = tuple(map(shaped, xs))
    if not xs:
        raise ValueError(f"{op}: an empty list was given; it needs at least one Tensor")
    return xs


@cache
def _concatenate(n: int) -> Callable:
    """The op for n inputs, which end at `ends` along the axis.  Input i's gradient is the piece of g where it went."""

    def concatenate(xp, *given):
        """the inputs one after the other; along all other axes than `axis` they are of the same sizes."""
        *xs, axis, _ends = given
        return xp.concatenate(xs, axis)

    def piece(i):
        return lambda g, axis, ends: g[(slice(None),) * axis + (slice(ends[i - 1] if i else 0, ends[i]),)]

    op = Primitive(concatenate, [f"x{i}" for i in range(n)], ["axis", "ends"])
    op.rules = {name: (piece(i), ["axis", "ends"]) for i, name in enumerate(op.inputs)}
    op.front.in_symbols("the piece of g where this input went")
    return builtin()(op.front)


@torch_spelling
def stack(xs: Iterable[Any], axis: int = 0) -> Any:
    """The Tensors `xs`, all of one shape, along a new axis."""
    xs = _several("stack", xs)
    axis = axis_of("stack", xs[0], axis, 1)
    if any(x.shape != xs[0].shape for x in xs):
        raise ValueError(f"stack: all are to have one shape, these have {', '.join(str(tuple(x.shape)) for x in xs)}")
    return concatenate([expand_dims(x, axis) for x in xs], axis)


@torch_spelling
def flip(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """The entries along `axis` (or several, or all) in reverse order."""
    x = shaped(x)
    axes = axes_of("flip", x, axis, of_number=True)
    return x[tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(len(x.shape)))]


def tile(x: Any, repeats: int | Sequence[int]) -> Any:
    """x laid side by side, repeats[i] times along axis i; of fewer repeats than axes, along the last ones."""
    x = shaped(x)
    given: Any = repeats if isinstance(repeats, (tuple, list)) else (repeats,)
    many = tuple(whole_number("tile", "repeats", n, 0) for n in given)
    lead = (1,) * (len(many) - len(x.shape))
    shape, many = lead + tuple(x.shape), (1,) * (len(x.shape) - len(many)) + many
    between = tuple(n for pair in zip(many, shape) for n in pair)  # (repeats, n, repeats, n, …)
    ones = tuple(n for size in shape for n in (1, size))
    y = reshape(broadcast_to(reshape(x, ones), between), tuple(r * n for r, n in zip(many, shape)))
    copied = any(r > 1 and n > 1 for r, n in zip(many, shape))  # else y shows the memory of x
    return y if copied else astype(y, y.dtype)


@builtin()
@primitive
def pad(xp, x, /, widths, value: Any = 0):
    """x with `value` around it: widths[i] = (before, after) for each axis i."""
    if not isinstance(widths, (tuple, list)) or [np.shape(pair) for pair in widths] != [(2,)] * x.ndim:
        raise ValueError(f"widths are ((before, after), …), a pair for each of the {x.ndim} axes, not {widths!r}")
    return xp.pad(x, widths, constant_values=value)


pad.defvjp(x=lambda g, x_shape, widths: g[tuple(slice(before, before + n) for (before, _), n in zip(widths, x_shape))])
pad.in_symbols(x="g, without the padding")


def tril(x: Any, diagonal: int = 0) -> Any:
    """The last two axes with zeros above the given diagonal."""
    return where(_triangle("tril", x, diagonal, 0), x, False)  # of booleans, a triangle of booleans


def triu(x: Any, diagonal: int = 0) -> Any:
    """The last two axes with zeros below the given diagonal."""
    return where(_triangle("triu", x, diagonal, -1), False, x)


def _triangle(op, x, diagonal, below):
    x, diagonal = shaped(x, op), whole_number(op, "diagonal", diagonal) + below
    if len(x.shape) < 2:
        raise ValueError(f"{op}: a triangle is cut out of the last two axes, but x has shape {tuple(x.shape)}")
    return backend.of(as_array(x)).xp.tri(*x.shape[-2:], diagonal, dtype=bool)


@torch_spelling
def split(x: Any, sizes: int | Sequence[int], axis: int = 0) -> list[Any]:
    """Pieces of x along `axis`: of equal size, if `sizes` is a number (of entries, as in torch), or of the sizes given.

    Raises:
        ValueError: pieces of fewer than one entry, or sizes that do not add up to the axis.
    """
    x = shaped(x)
    axis = axis_of("split", x, axis)
    length = x.shape[axis]
    if isinstance(sizes, (tuple, list)):
        sizes = [whole_number("split", "sizes", size, 0) for size in sizes]
    else:
        sizes = whole_number("split", "sizes", sizes)
        if sizes < 1:
            raise ValueError(f"split: pieces of {sizes} entries were asked for: give 1 or more, or a list of sizes")
        sizes = [min(sizes, length - start) for start in range(0, length or 1, sizes)]
    if sum(sizes) != length:
        raise ValueError(f"split: sizes {list(sizes)} add up to {sum(sizes)}, but axis {axis} is {length} long")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [x[(slice(None),) * axis + (slice(start, start + size),)] for start, size in zip(starts, sizes, strict=True)]
