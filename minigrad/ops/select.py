"""Choosing entries by masks and by ids, writing at ids into a copy, counting and searching."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..backend import is_float
from ..builtin import builtin
from ..spelling import torch_spelling
from ..tensor import Tensor, as_array, shaped
from .arithmetic import add, astype, broadcast_to, multiply, where
from .index import add_at, check_indices, gather, last_written, pick, take
from .rearrange import broadcast_arrays, broadcast_shapes
from .shape import axis_of, check_flags, concatenate, flatten, whole_number


def _mask(op, mask):
    mask = shaped(mask, op)
    if mask.dtype.kind != "b":
        raise TypeError(f"{op}: a mask is of booleans, such as x > 0, not of {mask.dtype}")
    return mask


def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """x with `value`, a single number, where the mask holds (torch.masked_fill)."""
    x, mask = shaped(x, "masked_fill"), _mask("masked_fill", mask)
    if np.shape(value) != ():
        raise ValueError(f"masked_fill: the value is a single number, not of shape {np.shape(value)}: see mg.where")
    return where(mask, _in_dtype("masked_fill", value, x), x)


def _in_dtype(op, value, x):
    """The number as one that x's dtype holds."""
    if x.dtype.kind == "b":
        return bool(value)
    if isinstance(value, (bool, int)) or is_float(x.dtype):
        return value
    kind = value.dtype if hasattr(value, "dtype") else np.dtype(type(value))
    if is_float(kind):
        raise TypeError(f"{op}: x, of {x.dtype}, cannot hold {value!r}: make x floating, or give a whole number")
    return value


def masked_select(x: Any, mask: Any) -> Any:
    """The entries of x where the mask holds, in order, as a vector; both are broadcast (torch.masked_select)."""
    x, mask = broadcast_arrays(shaped(x, "masked_select"), as_array(_mask("masked_select", mask)))
    return pick(x, as_array(mask))


@torch_spelling
def index_select(x: Any, axis: int, ids: Any) -> Any:
    """The slices of x along `axis` at these ids, a vector: `take` with torch's order of arguments."""
    if len(shaped(ids, "index_select").shape) > 1:
        raise ValueError(f"index_select: ids are a vector, not {tuple(shaped(ids).shape)}: see mg.take")
    return take(x, flatten(ids), axis)


def _slices(op, x, axis, ids, src=None):
    """x, axis and ids, the ids known to fit, and src in the shape of what is written there."""
    x, ids = shaped(x, op), as_array(flatten(ids))
    number = not x.shape
    x = x.reshape(1) if number else x
    axis = axis_of(op, x, axis)
    check_indices(op, ids, x.shape[axis], f"axis {axis} of shape {tuple(x.shape)}")
    if src is not None:
        src, shape = shaped(src, op), (*x.shape[:axis], len(ids), *x.shape[axis + 1 :])
        if not src.shape and number:
            src = src.reshape(1)
        if tuple(src.shape) != shape:
            raise ValueError(f"{op}: src has shape {tuple(src.shape)}, but {shape} is written")
    return x, axis, backend.of(as_array(x)).xp.asarray(ids), src, () if number else x.shape


@builtin(in_float32="halves", in_int64=True)
@torch_spelling
def index_add(x: Any, axis: int, ids: Any, src: Any, *, alpha: float = 1) -> Any:
    """x with `alpha` times the slices of src added at `ids` along `axis`; what meets adds up (torch.index_add)."""
    x, axis, ids, src, shape = _slices("index_add", x, axis, ids, src)
    src = src if alpha == 1 else multiply(alpha, src)
    return add(x, add_at(src, tuple(x.shape), (slice(None),) * axis + (ids,))).reshape(shape)


@torch_spelling
def index_fill(x: Any, axis: int, ids: Any, value: Any) -> Any:
    """x with `value`, a single number, in the slices at `ids` along `axis` (torch.index_fill)."""
    x, axis, ids, _, shape = _slices("index_fill", x, axis, ids)
    if np.shape(value) != ():
        raise ValueError(f"index_fill: the value is a single number, not of shape {np.shape(value)}")
    return where(_at(x, axis, ids), _in_dtype("index_fill", value, x), x).reshape(shape)


@torch_spelling
def index_copy(x: Any, axis: int, ids: Any, src: Any) -> Any:
    """x with the slices of src in place of those at `ids` along `axis` (torch.index_copy).

    Where an id is repeated the last of its slices wins, and gets the gradient: see `scatter`.
    """
    x, axis, ids, src, shape = _slices("index_copy", x, axis, ids, src)
    xp, count = backend.of(as_array(x)).xp, x.shape[axis]
    origin = last_written(xp, count, xp.arange(count)[ids])
    return concatenate([x, src], axis)[(slice(None),) * axis + (origin,)].reshape(shape)


def _at(x, axis, ids):
    """Booleans, true in the slices at ids, that broadcast to x."""
    found = backend.of(as_array(x)).xp.zeros(x.shape[axis], bool)
    found[ids] = True
    return found.reshape((-1,) + (1,) * (len(x.shape) - axis - 1))


@torch_spelling
def take_along_axis(x: Any, indices: Any, axis: int | None) -> Any:
    """The entry indices[i, j, …] along `axis` for each place; other axes broadcast.  With axis None, of all entries."""
    x, ids = shaped(x, "take_along_axis"), shaped(indices, "take_along_axis")
    if axis is None:
        return take(x, flatten(ids))
    axis = axis_of("take_along_axis", x, axis)
    if len(ids.shape) != len(x.shape):
        raise ValueError(f"take_along_axis: indices of {tuple(ids.shape)} need as many axes as x of {tuple(x.shape)}")
    one = [(*s[:axis], 1, *s[axis + 1 :]) for s in (tuple(x.shape), tuple(ids.shape))]
    shape = broadcast_shapes(*one)
    x, ids = (broadcast_to(a, (*shape[:axis], a.shape[axis], *shape[axis + 1 :])) for a in (x, ids))
    return gather(x, axis, ids)


def searchsorted(sorted_sequence: Any, values: Any, *, right: bool = False, side: str | None = None) -> Any:
    """Where each value would be put into a sorted vector: before the entries equal to it, or behind them.

    side="right" says the same as right=True.  Of a stack of vectors (…, n), which has the leading axes of values (…,
    m), each has its own.  int64, without a gradient.
    """
    check_flags("searchsorted", right=right)
    if side not in (None, "left", "right") or (side == "left" and right):
        raise ValueError(f'searchsorted: side={side!r} with right={right}: give one of them, "left" or "right"')
    side = "right" if right or side == "right" else "left"
    line, given = as_array(shaped(sorted_sequence, "searchsorted")), as_array(shaped(values, "searchsorted"))
    if not line.ndim or line.ndim > 1 and line.shape[:-1] != given.shape[:-1]:
        raise ValueError(
            f"searchsorted: a sorted vector is needed, or one for each row of values, not {tuple(line.shape)} for "
            f"{tuple(given.shape)}"
        )
    xp = backend.of(line, given).xp
    if line.ndim == 1:
        found = xp.searchsorted(line, given, side)
    else:
        before = (xp.less if side == "left" else xp.less_equal)(line[..., None, :], given[..., None])
        found = before.sum(-1)
    found = backend.cast(xp.asarray(found), np.dtype("int64"))
    return Tensor(found) if isinstance(sorted_sequence, Tensor) or isinstance(values, Tensor) else found


def bucketize(x: Any, boundaries: Any, *, right: bool = False) -> Any:
    """Between which of the sorted boundaries each entry lies: `searchsorted` the other way round (torch.bucketize)."""
    return searchsorted(boundaries, x, right=right)


def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each whole number from 0 to the largest occurs in a vector; with weights, the sum of its weights.

    The weights have a gradient.

    Raises:
        TypeError, ValueError: x is not a vector of non-negative integers, or the weights have another length.
    """
    ids, minlength = as_array(shaped(x, "bincount")), whole_number("bincount", "minlength", minlength, 0)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise TypeError(f"bincount: a vector of whole numbers is needed, not {ids.dtype} of {tuple(ids.shape)}")
    if ids.size and int(ids.min()) < 0:
        raise ValueError(f"bincount: {int(ids.min())} is negative")
    count = max(minlength, int(ids.max()) + 1 if ids.size else 0)
    if weights is None:
        ones = backend.of(ids).xp.ones(ids.shape, "int64")
        found = add_at(ones, (count,), ids)
        return Tensor(found) if isinstance(x, Tensor) else found
    weights = shaped(weights, "bincount")
    if tuple(weights.shape) != tuple(ids.shape):
        raise ValueError(f"bincount: weights of {tuple(weights.shape)} for {tuple(ids.shape)} numbers")
    return add_at(weights if is_float(weights.dtype) else astype(weights, "float64"), (count,), ids)


@torch_spelling
def unique(x: Any, *, return_inverse: bool = False, return_counts: bool = False, axis: int | None = None) -> Any:
    """The different entries, or slices along `axis`, sorted.

    On request it is a tuple, with each one's place among them, and how often each occurs.

    Raises:
        TypeError: x requires a gradient, which this has not.
    """
    check_flags("unique", return_inverse=return_inverse, return_counts=return_counts)
    if isinstance(x, Tensor) and x.requires_grad:
        raise TypeError("unique has no gradient: type mg.unique(x.detach()), or pick entries of x by their ids")
    array = as_array(shaped(x, "unique"))
    axis = axis if axis is None else axis_of("unique", array, axis)
    found = backend.of(array).xp.unique(array, return_inverse=return_inverse, return_counts=return_counts, axis=axis)
    if not isinstance(x, Tensor):
        return found
    return tuple(map(Tensor, found)) if isinstance(found, tuple) else Tensor(found)
