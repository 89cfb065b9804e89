"""Statistics: the middle and other quantiles, the least entry's place, sums without NaN, covariances."""

from __future__ import annotations

import math
from typing import Any

from .. import backend
from ..backend import is_float
from ..builtin import builtin
from ..primitive import primitive
from ..spelling import torch_spelling
from ..tensor import Tensor, as_array, shaped
from .arithmetic import astype, divide, multiply, reshape, sum, where
from .diagonals import diagonal
from .elementwise import sqrt
from .index import gather
from .linalg import matmul
from .logic import isnan
from .order import Ordered, sort
from .rearrange import moveaxis
from .reduce import Axes, max, min
from .scans import cummax
from .shape import axis_of, check_flags, expand_dims, numbers, squeeze, stack, transpose, whole_number


@builtin()
@primitive
def argmin(xp, x, /, axis=None, keepdims=False):
    """The index of the (first) smallest entry over `axis`; an index has no gradient."""
    check_flags("argmin", keepdims=keepdims)
    return xp.argmin(x, axis=axis, keepdims=keepdims)


argmin.defvjp()


@torch_spelling
def aminmax(x: Any, *, axis: Axes = None, keepdims: bool = False) -> tuple[Any, Any]:
    """(the smallest entry over `axis`, the largest)."""
    return min(x, axis, keepdims), max(x, axis, keepdims)


@builtin(in_float32="halves", autocast="float32")
@torch_spelling
def nansum(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The sum over `axis` of the entries that are not NaN."""
    x = shaped(x, "nansum")
    return sum(where(isnan(x), 0, x), axis, keepdims)


@builtin(in_float32="halves and integers", autocast="float32")
@torch_spelling
def nanmean(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The mean over `axis` of the entries that are not NaN; NaN where there is none."""
    missing = isnan(x)
    total = sum(where(missing, 0, x), axis, keepdims)
    return divide(total, sum(astype(missing == 0, x.dtype), axis, keepdims))


INTERPOLATIONS = "linear", "lower", "higher", "nearest", "midpoint"


@builtin(in_float32="halves and integers")
@torch_spelling
def quantile(x: Any, q: Any, axis: int | None = None, keepdims: bool = False, *, interpolation: str = "linear") -> Any:
    """The number below which the part q of the entries along `axis` lies; of several q, (len(q), …).

    The sorted entries stand at 0, 1/(n - 1), …, 1; between two, `interpolation` says what is meant: "linear", "lower",
    "higher", "nearest" or "midpoint".  One NaN makes the result NaN.

    Raises:
        ValueError: q is not from 0 to 1, there are no entries, or the interpolation is unknown.
    """
    return _quantile("quantile", x, q, axis, keepdims, interpolation, skip=False)


@builtin(in_float32="halves and integers")
@torch_spelling
def nanquantile(
    x: Any, q: Any, axis: int | None = None, keepdims: bool = False, *, interpolation: str = "linear"
) -> Any:
    """`quantile` of the entries that are not NaN; NaN where there is none."""
    return _quantile("nanquantile", x, q, axis, keepdims, interpolation, skip=True)


@builtin(in_float32="halves and integers")
@torch_spelling
def median(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The entry in the middle along `axis`, of an even number the mean of the two, as in NumPy.

    (torch.median gives the lower of the two: `mg.quantile(x, 0.5, axis, interpolation="lower")`.)
    """
    return _quantile("median", x, 0.5, axis, keepdims, "linear", skip=False)


@builtin(in_float32="halves and integers")
@torch_spelling
def nanmedian(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """`median` of the entries that are not NaN; NaN where there is none."""
    return _quantile("nanmedian", x, 0.5, axis, keepdims, "linear", skip=True)


def _quantile(op, x, q, axis, keepdims, interpolation, skip):
    check_flags(op, keepdims=keepdims)
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"{op}: interpolation={interpolation!r} is not known: type one of {INTERPOLATIONS}")
    parts = numbers(op, "q", q, "float64")
    if parts.ndim > 1 or not ((parts >= 0) & (parts <= 1)).all():
        raise ValueError(f"{op}: q is a number from 0 to 1, or a list of such, not {q!r:.60}")
    many, shape = len(x.shape), x.shape
    if axis is None or not many:
        axis_of(op, x, axis or 0, int(not many))
        x, axis = reshape(x, (math.prod(shape),)), 0
        kept = (1,) * many if keepdims else ()
    else:
        axis = axis_of(op, x, axis)
        kept = (*shape[:axis], *((1,) if keepdims else ()), *shape[axis + 1 :])
    n = x.shape[axis]
    if not n:
        raise ValueError(f"{op}: axis {axis} of {tuple(shape)} has no entries")
    line = sort(x, axis)[0]
    missing = as_array(isnan(line))
    xp = backend.of(missing).xp
    count = n - missing.sum(axis, keepdims=True) if skip else xp.full_like(missing.sum(axis, keepdims=True), n)
    found = []
    for i, part in enumerate(parts.reshape(-1)):
        place = float(part) * xp.maximum(count - 1, 0)
        below, above = xp.floor(place), xp.ceil(place)
        if interpolation == "nearest":
            below = above = xp.around(place)
        low, high = (gather(line, axis, p.astype("int64")) for p in (below, above))
        weight = {"lower": 0.0, "higher": 1.0, "midpoint": 0.5}.get(interpolation)
        if weight is None:
            weight = (place - below).astype(x.dtype)
            if isinstance(q, Tensor) and q.requires_grad:  # the slope between two entries
                weight = reshape(q, (-1,))[i] * (count - 1).astype(x.dtype) - below.astype(x.dtype)
        value = low + where(above > below, weight * (high - low), 0)
        gone = count == 0 if skip else missing.any(axis, keepdims=True)
        found.append(reshape(where(gone, math.nan, value), kept))
    return found[0] if not parts.ndim else stack(found)


@torch_spelling
def kthvalue(x: Any, k: int, axis: int = -1, keepdims: bool = False) -> Ordered:
    """(the k-th smallest entry along `axis`, counted from 1, its index).

    Raises:
        ValueError: there are not so many.
    """
    x, k = shaped(x, "kthvalue"), whole_number("kthvalue", "k", k)
    check_flags("kthvalue", keepdims=keepdims)
    line = x if x.shape else reshape(x, (1,))
    axis = axis_of("kthvalue", line, axis)
    if not 1 <= k <= line.shape[axis]:
        raise ValueError(f"kthvalue: k={k} of axis {axis}, which is {line.shape[axis]} long: give 1 <= k <= that")
    found = (part[(slice(None),) * axis + (slice(k - 1, k),)] for part in sort(line, axis))
    return Ordered(*(reshape(part, ()) if not x.shape else part if keepdims else squeeze(part, axis) for part in found))


@torch_spelling
def mode(x: Any, axis: int = -1, keepdims: bool = False) -> Ordered:
    """(the most frequent entry along `axis`, of equally frequent ones the smallest; the last of its indices).

    Raises:
        ValueError: the axis has no entries.
    """
    check_flags("mode", keepdims=keepdims)
    x = shaped(x, "mode")
    line = x if x.shape else reshape(x, (1,))
    axis = axis_of("mode", line, axis)
    line = moveaxis(line, axis, -1)
    if not line.shape[-1]:
        raise ValueError(f"mode: axis {axis} of {tuple(x.shape)} has no entries")
    ordered, ids = sort(line, -1)
    bare = as_array(ordered)
    xp = backend.of(bare).xp
    starts, places = xp.ones(bare.shape, bool), xp.arange(bare.shape[-1])
    starts[..., 1:] = bare[..., 1:] != bare[..., :-1]
    runs = places - cummax(xp.where(starts, places, 0), -1)[0]  # how many equal entries stand before each
    index = gather(ids, -1, xp.argmax(runs, -1, keepdims=True))
    found = gather(line, -1, index), index
    if keepdims and x.shape:
        return Ordered(*(moveaxis(part, -1, axis) for part in found))
    return Ordered(*(squeeze(part, -1) for part in found))


@builtin(in_float32="halves and integers", autocast="float32")
def cov(x: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """The covariances of the rows of x (variables, observations): (variables, variables), of one variable a number.

    Sums of products of what is left after subtracting the mean, divided by n - correction.  An observation counts as
    `fweights`, whole numbers, of them; `aweights` says how much it is worth (numpy.cov).
    """
    rows = reshape(x, (1, -1)) if len(x.shape) < 2 else x
    if len(rows.shape) != 2:
        raise ValueError(f"cov: a matrix (variables, observations) is needed, not {tuple(x.shape)}")
    if fweights is not None and is_float(as_array(fweights).dtype):
        raise TypeError("cov: fweights are whole numbers, how often an observation counts; see aweights")
    for given in (fweights, aweights):
        if given is not None and tuple(shaped(given).shape) != (rows.shape[1],):
            raise ValueError(f"cov: weights of {tuple(shaped(given).shape)} for {rows.shape[1]} observations")
        if given is not None and (as_array(given) < 0).any():
            raise ValueError("cov: weights are not negative")
    worth = backend.of(as_array(rows)).xp.ones(rows.shape[1], rows.dtype)
    worth = worth if aweights is None else multiply(worth, shaped(aweights, "cov"))
    weights = worth if fweights is None else multiply(worth, shaped(fweights, "cov"))
    total = sum(weights)
    centred = rows - expand_dims(matmul(rows, weights), 1) / total
    y = divide(matmul(centred * weights, transpose(centred)), total - correction * sum(weights * worth) / total)
    return reshape(y, ()) if rows.shape[0] == 1 else y


@builtin(in_float32="halves and integers", autocast="float32")
def corrcoef(x: Any) -> Any:
    """The correlations of the rows of x (variables, observations): covariances of rows of unit variance."""
    y = cov(x)
    if not y.shape:
        return y / y
    width = sqrt(diagonal(y))
    return y / expand_dims(width, 1) / width
