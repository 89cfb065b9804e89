"""Picking entries out and adding them back in.  Taking is reading; its gradient is adding up, so repeated indices add.

Every index is checked on every backend: CuPy alone would wrap around in silence.  What comes from the host is checked
there, and refused at once; ids that are on a GPU already are checked on it, and refused when the host next waits for a
value.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..backend import Array
from ..builtin import builtin
from ..primitive import primitive
from ..spelling import torch_spelling
from ..tensor import Tensor, as_array, shape_of, shaped
from .arithmetic import where
from .shape import axis_of, concatenate, reshape, whole_number


@torch_spelling
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The entries of x, read as one vector, at the integers `indices`; with an `axis`, its slices there (numpy.take).

    Raises:
        IndexError: an index is out of range; the message says which, and where.
    """
    x, ids = shaped(x, "take"), as_array(shaped(indices, "take"))
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    axis = axis_of("take", x, axis)
    check_indices("take", ids, x.shape[axis], f"axis {axis} of shape {tuple(x.shape)}")
    return pick(x, (slice(None),) * axis + (ids,))


def pick(x: Any, index: Any) -> Any:
    """x[index]: numbers, slices, None, …, boolean masks, integer arrays or Tensors, mixed as in NumPy.

    Raises:
        IndexError: an index is out of range; the message says which, and where.
    """
    return _take(x, _ready(x, index))


def _ready(x, index):
    """The index with bare arrays on the device of x, checked against the axis each one reads."""
    parts = index if isinstance(index, tuple) else (index,)
    if not any(hasattr(part, "dtype") or isinstance(part, list) for part in parts):
        return index
    xp = backend.of(as_array(x)).xp
    parts = tuple(
        as_array(part, int if part == [] else None)
        if isinstance(part, list)
        else as_array(part)
        if hasattr(part, "dtype")
        else part
        for part in parts
    )
    axis = 0
    for part in parts:
        if part is Ellipsis:
            used = sum(p.ndim if _is_mask(p) else p is not None and p is not Ellipsis for p in parts)
            axis += len(x.shape) - used
        elif part is not None:
            if hasattr(part, "dtype") and not _is_mask(part):
                if axis >= len(x.shape):
                    raise IndexError(f"index: {len(parts)} parts are too many for a Tensor of shape {tuple(x.shape)}")
                check_indices("index", part, x.shape[axis], f"axis {axis} of a Tensor of shape {tuple(x.shape)}")
            axis += part.ndim if _is_mask(part) else 1
    return tuple(xp.asarray(part) if hasattr(part, "dtype") else part for part in parts)


def _is_mask(part):
    return hasattr(part, "dtype") and part.dtype.kind == "b"


def check_indices(op: str, ids: Array, size: int, what: str, low: int | None = None) -> None:
    """Refuse integer ids outside [low, size); `low` is -size by default, since counting from the end is NumPy's habit.

    Raises:
        IndexError: names the first bad id, its position and the range.
        TypeError: the ids are not integers.
    """
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{op}: ids must be integers, these have dtype {ids.dtype}: use .astype('int64')")
    low, home = -size if low is None else low, backend.of(ids)

    def refuse():
        host = home.to_numpy(ids)
        bad = (host < low) | (host >= size)
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise IndexError(
            f"{op}: id {host[place]} at position {place if len(place) != 1 else place[0]} is out of range "
            f"for {what}: {low} to {size - 1} are allowed"
        )

    home.check(ids, low, size - 1, refuse)


@builtin(name="take")
@primitive
def _take(xp, x, /, index):
    """x[index], as an op on one Tensor."""
    return x[index]


_take.defvjp(x=lambda g, x_shape, index: add_at(g, x_shape, index))
_take.in_symbols(x="zeros, with g added in at the index")


@builtin(in_float32="halves", autocast="float32")
@primitive
def add_at(xp, g, /, shape, index):
    """Zeros of `shape` with g added in at `index`; what meets at one place adds up."""
    if any(hasattr(part, "dtype") and not _is_mask(part) for part in (index if isinstance(index, tuple) else (index,))):
        return _added(xp, g, shape, index)
    out = xp.zeros(shape, g.dtype)
    out[index] = g  # slices, numbers and masks cannot meet
    return out


def _added(xp, g, shape, index):
    """Zeros with g added in at an index of integers.  Of whole numbers CuPy adds those of 32 and 64 bits only."""
    narrow = g.dtype.kind in "iub" and g.dtype.itemsize < 4
    out = xp.zeros(shape, "int64" if narrow else g.dtype)
    xp.add.at(out, index, g.astype("int64") if narrow else g)
    return out.astype(g.dtype) if narrow else out


add_at.defvjp(g=lambda g, index: _take(g, index))
add_at.in_symbols(g="g[index]")


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """Rows of `weight` (count, size), one for each of the integer ids `input` (any shape): (*input.shape, size).

    The row `padding_idx` is read like any other, but gets no gradient, as in torch.

    Raises:
        IndexError: an id is negative or too large, and the message says which and where; or padding_idx is not a row.
    """
    table, given = as_array(shaped(weight, "embedding")), as_array(shaped(input, "embedding"))
    if table.ndim != 2:
        raise ValueError(
            f"embedding: the weight is (count, size), with a row for each id, but it has shape {tuple(table.shape)}"
        )
    check_indices("embedding", given, table.shape[0], f"an embedding of {table.shape[0]} rows", low=0)
    ids = backend.of(table).xp.asarray(given)
    y = _embedding(weight, ids)
    if padding_idx is not None:
        padding_idx = padding_row("embedding", padding_idx, table.shape[0])
    if padding_idx is None or not isinstance(y, Tensor) or not y.requires_grad:
        return y
    if backend.of(given).synchronous and not (given == padding_idx).any():
        return y
    return where((ids == padding_idx)[..., None], y.detach(), y)


def padding_row(op: str, padding_idx: int, rows: int) -> int:
    """`padding_idx` counted from the first row, once it is known to be one of `rows`; -1 is the last."""
    padding_idx = whole_number(op, "padding_idx", padding_idx)
    if not -rows <= padding_idx < rows:
        raise IndexError(f"{op}: padding_idx={padding_idx} is none of the {rows} rows: give {-rows} to {rows - 1}")
    return padding_idx % rows


@builtin(name="embedding")
@primitive
def _embedding(xp, weight, /, ids):
    """weight[ids], once the ids are known to be in range."""
    return weight[ids]


_embedding.defvjp(weight=lambda g, weight_shape, ids: add_at(g, weight_shape, ids))
_embedding.in_symbols(weight="zeros, with each row of g added in at its id")


@torch_spelling
def gather(x: Any, axis: int, ids: Any) -> Any:
    """Entry ids[i, j, …] along `axis` for each place of the integers `ids`, with as many axes as x (torch.gather).

    Raises:
        IndexError: an id is out of range; the message says which and where.
        ValueError: ids have another number of axes than x, or are longer than x along another axis.
    """
    (x, ids), shape = _at_least_vectors("gather", x, ids), shape_of(ids)
    ids, axis = _ids_along("gather", x, axis, ids)
    inside = tuple(slice(None) if i == axis else slice(n) for i, n in enumerate(ids.shape))
    y = _gather(x if _fits(ids, x, axis) else pick(x, inside), axis, ids)
    return y if shape else reshape(y, ())


@torch_spelling
def scatter(x: Any, axis: int, ids: Any, src: Any) -> Any:
    """x with src, of ids' shape or a number, written to the places `ids` along `axis` (torch.scatter).

    Where ids name one place several times, the last entry of src wins, in the order in which src is stored.  The
    gradient goes to the entry that won; those that were overwritten, of x and of src, get none.
    """
    (x, ids), shape = _at_least_vectors("scatter", x, ids), shape_of(x)
    (ids, axis), xp = _ids_along("scatter", x, axis, ids), backend.of(as_array(x)).xp
    src = _source("scatter", x, ids, src)
    count = math.prod(x.shape)
    written = xp.arange(count).reshape(x.shape)[_along(xp, axis, ids)].reshape(-1)
    both = concatenate([reshape(x, (-1,)), reshape(src, (-1,))])
    return reshape(pick(both, last_written(xp, count, written)), shape)


def last_written(xp: Any, count: int, places: Array) -> Array:
    """Where each of `count` entries is read after writing to `places`: at its own place, or at count + i.

    There i is the last at which `places` names it.  (NumPy's assignment keeps the last as well, but CuPy's any one, so
    here all that write to one place write the same.)
    """
    order = xp.argsort(places, kind="stable")
    places = places[order]
    origin = xp.arange(count)
    origin[places] = count + order[xp.searchsorted(places, places, "right") - 1]
    return origin


@builtin(in_float32="halves", in_int64=True)
@torch_spelling
def scatter_add(x: Any, axis: int, ids: Any, src: Any) -> Any:
    """x with src added at the places `ids` along `axis`; repeated places accumulate (torch.scatter_add).

    Whole numbers are added up in int64.
    """
    (x, ids), shape = _at_least_vectors("scatter_add", x, ids), shape_of(x)
    ids, axis = _ids_along("scatter_add", x, axis, ids)
    src = _source("scatter_add", x, ids, src)
    return reshape(x + put_along(src, tuple(x.shape), axis, ids), shape)


def _at_least_vectors(op, *xs):
    """Each x, a single number as a vector of one, as in torch: such a vector has an axis to count along."""
    return [x if x.shape else reshape(x, (1,)) for x in (shaped(x, op) for x in xs)]


def _source(op, x, ids, src):
    """What is written in the places `ids`: a number for all, or the entries that src has where ids have theirs."""
    if isinstance(src, (bool, int, float)):
        return backend.of(as_array(x)).xp.full(ids.shape, src, x.dtype)
    (src,) = _at_least_vectors(op, src)
    if len(src.shape) != len(ids.shape) or any(n > m for n, m in zip(ids.shape, src.shape)):
        raise ValueError(
            f"{op}: src has shape {tuple(src.shape)} and ids {tuple(ids.shape)}: one entry is needed for each id"
        )
    return src if src.shape == ids.shape else src[tuple(slice(n) for n in ids.shape)]


def _ids_along(op, x, axis, ids):
    """The ids as an array where x lives, and `axis` counted from the front, both known to fit x."""
    array = as_array(x)
    ids, axis = as_array(ids), axis_of(op, array, axis)
    if ids.ndim != array.ndim or any(n > m for i, (n, m) in enumerate(zip(ids.shape, array.shape)) if i != axis):
        raise ValueError(
            f"{op}: ids of shape {tuple(ids.shape)} do not fit x of shape {tuple(array.shape)}: "
            f"they need as many axes, and along all but axis {axis} to be no longer"
        )
    check_indices(op, ids, array.shape[axis], f"axis {axis} of shape {tuple(array.shape)}")
    return backend.of(array).xp.asarray(ids), axis


def _fits(ids, x, axis):
    return all(n == m for i, (n, m) in enumerate(zip(ids.shape, x.shape)) if i != axis)


@builtin(name="gather")
@primitive
def _gather(xp, x, /, axis, ids):
    """take_along_axis, with ids that are known to be in range."""
    return xp.take_along_axis(x, ids, axis)


_gather.defvjp(x=lambda g, x_shape, axis, ids: put_along(g, x_shape, axis, ids))
_gather.in_symbols(x="zeros, with g added in at the ids")


@builtin(in_float32="halves", autocast="float32")
@primitive
def put_along(xp, g, /, shape, axis, ids):
    """Zeros of `shape` with g added in along `axis` at ids: the gradient of `gather`."""
    out = xp.zeros(shape, g.dtype)
    xp.add.at(out, _along(xp, axis, ids), g)
    return out


def _along(xp, axis, ids):
    """The index of the places that ids name along `axis`."""
    places = list(xp.ogrid[tuple(slice(n) for n in ids.shape)])
    places[axis] = ids
    return tuple(places)


put_along.defvjp(g=lambda g, axis, ids: gather(g, axis, ids))
put_along.in_symbols(g="the entries of g at the ids")
