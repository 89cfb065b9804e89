"""The same entries in another arrangement: rolled, turned, repeated, cut into pieces and put together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..spelling import torch_spelling
from ..tensor import as_array, shaped
from .arithmetic import broadcast_to, reshape
from .index import take
from .shape import (
    axes_of,
    axis_of,
    check_flags,
    concatenate,
    flatten,
    flip,
    numbers,
    split,
    stack,
    swapaxes,
    transpose,
    whole_number,
)


def _each(op: str, name: str, value: Any) -> list[int]:
    """One whole number or several, as a list."""
    return [whole_number(op, name, n) for n in (value if isinstance(value, (tuple, list)) else (value,))]


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """The axes `source` moved to the places `destination`, the others in their order."""
    x = shaped(x, "moveaxis")
    places = [_each("moveaxis", "an axis", given) for given in (source, destination)]
    if len(places[0]) != len(places[1]):
        raise ValueError(f"moveaxis: {len(places[0])} axes cannot be moved to {len(places[1])} places")
    for given in places:
        axes_of("moveaxis", x, given)
    source, destination = ([axis_of("moveaxis", x, a) for a in given] for given in places)
    order = [a for a in range(len(x.shape)) if a not in source]
    for there, a in sorted(zip(destination, source)):
        order.insert(there, a)
    return transpose(x, order)


@torch_spelling
def roll(x: Any, shifts: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Any:
    """The entries moved on by `shifts` along an axis (or several), those that fall off the end put in at the start.

    With axis None all entries are moved as one vector.

    Raises:
        ValueError: there are not as many shifts as axes.
    """
    x, shifts = shaped(x, "roll"), _each("roll", "shifts", shifts)
    if axis is None:
        if len(shifts) != 1:
            raise ValueError(f"roll: {len(shifts)} shifts and no axis: give one axis for each")
        return reshape(roll(reshape(x, (math.prod(x.shape),)), shifts, [0]), x.shape)
    axes: Any = axis if isinstance(axis, (tuple, list)) else (axis,)
    if len(axes) != len(shifts):
        raise ValueError(f"roll: {len(shifts)} shifts for {len(axes)} axes: give one axis for each")
    for shift, a in zip(shifts, axes):
        a = axis_of("roll", x, a)
        if x.shape[a] and shift % x.shape[a]:
            cut = x.shape[a] - shift % x.shape[a]
            x = concatenate(split(x, [cut, x.shape[a] - cut], a)[::-1], a)
    return x


@torch_spelling
def rot90(x: Any, k: int = 1, axes: Sequence[int] = (0, 1)) -> Any:
    """Turned by k right angles in the plane of two axes, from the first towards the second."""
    x, k = shaped(x, "rot90"), whole_number("rot90", "k", k) % 4
    if not isinstance(axes, (tuple, list)) or len(axes) != 2:
        raise ValueError(f"rot90: two axes are needed, not {axes!r}")
    axes_of("rot90", x, axes)
    a, b = axes
    if k == 2:
        return flip(x, (a, b))
    return x if not k else swapaxes(flip(x, b), a, b) if k == 1 else flip(swapaxes(x, a, b), b)


def fliplr(x: Any) -> Any:
    """Axis 1 in reverse order."""
    return flip(with_axes("fliplr", x, 2), 1)


def flipud(x: Any) -> Any:
    """Axis 0 in reverse order."""
    return flip(with_axes("flipud", x, 1), 0)


def with_axes(op: str, x: Any, least: int) -> Any:
    """x, known to have so many axes."""
    x = shaped(x, op)
    if len(x.shape) < least:
        raise ValueError(f"{op}: at least {least} axes are needed, x has shape {tuple(x.shape)}")
    return x


@torch_spelling
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each entry along `axis` `repeats` times, a number or one for each of them (numpy.repeat).

    With axis None the entries are read as one vector.  Torch calls this repeat_interleave; its x.repeat is `mg.tile`.

    Raises:
        ValueError: a number is negative, or there are not as many as entries.
    """
    x = shaped(x, "repeat")
    if axis is None:
        x, axis = reshape(x, (math.prod(x.shape),)), 0
    axis = axis_of("repeat", x, axis)
    counts = numbers("repeat", "repeats", repeats)
    if counts.dtype.kind not in "iu" or (counts < 0).any() or counts.size not in (1, x.shape[axis]) or counts.ndim > 1:
        raise ValueError(
            f"repeat: repeats is a whole number from 0 on, or {x.shape[axis]} of them for axis {axis} of "
            f"{tuple(x.shape)}, not {repeats!r:.40}"
        )
    return take(x, np.repeat(np.arange(x.shape[axis]), counts), axis)


def ravel(x: Any) -> Any:
    """All entries, in order, as one vector."""
    return flatten(x)


@torch_spelling
def unflatten(x: Any, axis: int, sizes: Sequence[int]) -> Any:
    """One axis made several, of these sizes; one may be -1."""
    x = shaped(x, "unflatten")
    axis = axis_of("unflatten", x, axis)
    if not isinstance(sizes, (tuple, list)) or not sizes:
        raise TypeError(f"unflatten: sizes are a tuple of sizes, not {sizes!r}")
    sizes = [whole_number("unflatten", "sizes", n, -1) for n in sizes]
    known = math.prod(n for n in sizes if n != -1)
    if sizes.count(-1) == 1 and known:
        sizes[sizes.index(-1)] = x.shape[axis] // known
    if min(sizes) < 0 or math.prod(sizes) != x.shape[axis]:
        raise ValueError(f"unflatten: axis {axis} of {tuple(x.shape)} is not made of sizes {sizes}")
    return reshape(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


def broadcast_shapes(*shapes: int | Sequence[int]) -> tuple[int, ...]:
    """The shape that arrays of these shapes broadcast to.

    Raises:
        ValueError: there is none.
    """
    try:
        return np.broadcast_shapes(*(tuple(s) if isinstance(s, list) else s for s in shapes))
    except ValueError:
        raise ValueError(
            f"broadcast_shapes: {', '.join(map(str, shapes))} do not broadcast: counted from the right, sizes are "
            "equal or 1"
        ) from None


def broadcast_arrays(*xs: Any) -> list[Any]:
    """Each x in the shape that all broadcast to (torch.broadcast_tensors)."""
    arrays = [shaped(x, "broadcast_arrays") for x in xs]
    shape = broadcast_shapes(*(tuple(x.shape) for x in arrays))
    return [broadcast_to(x, shape) for x in arrays]


def meshgrid(*xs: Any, indexing: str) -> list[Any]:
    """The coordinates of a grid: for vectors of n, m, … entries, as many arrays of shape (n, m, …).

    `indexing` must be given: "ij" for that order, torch's default; "xy", NumPy's, swaps the first two axes.
    """
    vectors = [flatten(x) for x in (xs[0] if len(xs) == 1 and isinstance(xs[0], (tuple, list)) else xs)]
    if indexing not in ("ij", "xy"):
        raise ValueError(f'meshgrid: indexing={indexing!r} is not known: type "ij" or "xy"')
    shape = tuple(x.shape[0] for x in vectors)
    ones = (1,) * len(vectors)
    grids = [broadcast_to(reshape(x, ones[:i] + x.shape + ones[i + 1 :]), shape) for i, x in enumerate(vectors)]
    return grids if indexing == "ij" or len(vectors) < 2 else [swapaxes(grid, 0, 1) for grid in grids]


def cartesian_prod(*xs: Any) -> Any:
    """All tuples with one entry of each vector, a row for each (torch.cartesian_prod); of one vector itself."""
    vectors = [shaped(x, "cartesian_prod") for x in xs]
    if not vectors or any(len(x.shape) != 1 for x in vectors):
        raise ValueError(f"cartesian_prod: vectors are needed, not {[tuple(x.shape) for x in vectors]}")
    return vectors[0] if len(xs) == 1 else stack([flatten(grid) for grid in meshgrid(*vectors, indexing="ij")], -1)


def combinations(x: Any, r: int = 2, with_replacement: bool = False) -> Any:
    """All choices of r entries of a vector, in their order, a row for each (itertools.combinations)."""
    x, r = shaped(x, "combinations"), whole_number("combinations", "r", r, 0)
    if len(x.shape) != 1:
        raise ValueError(f"combinations: a vector is needed, not {tuple(x.shape)}")
    check_flags("combinations", with_replacement=with_replacement)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    ids = np.array([*choose(range(x.shape[0]), r)], dtype=int).reshape(-1, r)
    return take(x, ids) if r else as_array(x)[:0]


@torch_spelling
def unfold(x: Any, axis: int, size: int, step: int = 1) -> Any:
    """The windows of `size` entries along `axis`, one in every `step`, as a new last axis (Tensor.unfold of torch)."""
    x = shaped(x, "unfold")
    axis, size = axis_of("unfold", x, axis), whole_number("unfold", "size", size, 0)
    step, n = whole_number("unfold", "step", step, 1), x.shape[axis]
    if size > n:
        raise ValueError(f"unfold: windows of {size} entries along axis {axis} of {tuple(x.shape)}")
    ids = np.arange(0, n - size + 1, step)[:, None] + np.arange(size)
    return moveaxis(take(x, ids, axis), axis + 1, -1)
