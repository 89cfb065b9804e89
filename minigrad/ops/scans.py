"""Along an axis, what each entry and all before it give: products, extremes, logarithms of sums; and differences.

A scan takes the logarithm of the axis's length in steps: after step k each entry stands for the 2ᵏ up to it, and two
such, one behind the other, for 2ᵏ⁺¹ (Hillis & Steele 1986).  It is made of ops, so it has derivatives of every order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import backend
from ..backend import is_float
from ..builtin import builtin
from ..spelling import torch_spelling
from ..tensor import Tensor, as_array, shaped
from .arithmetic import add, astype, divide, greater_equal, less_equal, multiply, not_equal, reshape, subtract, where
from .index import gather
from .logic import isnan
from .order import Ordered, cumsum
from .powers import logaddexp
from .reduce import sum, sum_dtype
from .shape import axis_of, concatenate, whole_number


def _scan(op: str, x: Any, axis: int, join: Callable[[Any, Any], Any]) -> Any:
    """Each entry along `axis` joined with all before it: join(what came before, what comes after)."""
    x = shaped(x, op)
    if not x.shape:
        axis_of(op, x, axis, 1)
        return x
    axis, reach = axis_of(op, x, axis), 1
    while reach < x.shape[axis]:
        start, before, after = (
            x[(slice(None),) * axis + (part,)] for part in (slice(reach), slice(-reach), slice(reach, None))
        )
        x, reach = concatenate([start, join(before, after)], axis), 2 * reach
    return x


@builtin(in_float32="halves", autocast="float32")
@torch_spelling
def cumprod(x: Any, axis: int) -> Any:
    """The product of each entry and all before it along `axis`, of whole numbers in the dtype that `prod` gives."""
    x = shaped(x, "cumprod")
    dtype = sum_dtype(x.dtype)
    return _scan("cumprod", x if dtype == x.dtype else astype(x, dtype), axis, multiply)


@builtin(in_float32="halves and integers", autocast="float32")
@torch_spelling
def logcumsumexp(x: Any, axis: int) -> Any:
    """The logarithm of `cumsum` of eˣ along `axis`, without overflow."""
    return _scan("logcumsumexp", x, axis, logaddexp)


@torch_spelling
def cummax(x: Any, axis: int) -> Ordered:
    """(the largest of each entry and all before it along `axis`, its index, of equal ones the last), NaN above all."""
    return _extremes("cummax", x, axis, greater_equal)


@torch_spelling
def cummin(x: Any, axis: int) -> Ordered:
    """(the smallest of each entry and all before it along `axis`, its index, of equal ones the last), NaN below all."""
    return _extremes("cummin", x, axis, less_equal)


def _extremes(op, x, axis, wins):
    x = shaped(x, op)
    line = reshape(x, (1,)) if not x.shape else x
    axis = axis_of(op, line, axis)
    values = as_array(line)
    xp = backend.of(values).xp
    counted = xp.arange(line.shape[axis]).reshape((-1,) + (1,) * (len(line.shape) - axis - 1))
    ids = xp.broadcast_to(counted, line.shape)

    def later(before, after):
        old, new = gather(values, axis, before), gather(values, axis, after)
        return where(wins(new, old) | isnan(new), after, before)

    ids = _scan(op, ids, axis, later)
    found = gather(line, axis, ids)
    return Ordered(reshape(found, x.shape), reshape(Tensor(ids) if isinstance(x, Tensor) else ids, x.shape))


@builtin(in_float32="halves")
@torch_spelling
def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Each entry less the one before it along `axis`, n times over; of booleans, whether they differ.

    `prepend` and `append` are put before and behind x first.
    """
    x, n = shaped(x, "diff"), whole_number("diff", "n", n, 0)
    axis = axis_of("diff", x, axis)
    if not n:
        return x
    given = [part for part in (prepend, x, append) if part is not None]
    x = concatenate(given, axis) if len(given) > 1 else x
    for _ in range(n):
        after, before = (x[(slice(None),) * axis + (part,)] for part in (slice(1, None), slice(-1)))
        x = not_equal(after, before) if x.dtype.kind == "b" else subtract(after, before)
    return x


@builtin(in_float32="halves and integers", autocast="float32")
@torch_spelling
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """The integral of the samples y along `axis` by the trapezoidal rule, at the places x or `dx` apart."""
    return sum(_trapezoids("trapezoid", y, x, dx, axis), axis)


@builtin(in_float32="halves and integers", autocast="float32")
@torch_spelling
def cumulative_trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """`trapezoid` up to each sample but the first (torch.cumulative_trapezoid)."""
    return cumsum(_trapezoids("cumulative_trapezoid", y, x, dx, axis), axis)


def _trapezoids(op, y, x, dx, axis):
    """The area between each two samples."""
    axis = axis_of(op, y, axis)
    if x is None:
        width = dx
    else:
        x = shaped(x, op)
        x = x if is_float(x.dtype) else astype(x, y.dtype)  # unsigned numbers have no negative differences
        if len(x.shape) == 1:
            x = reshape(x, (-1,) + (1,) * (len(y.shape) - axis - 1))
        width = diff(x, axis=axis - len(y.shape))
    after, before = (y[(slice(None),) * axis + (part,)] for part in (slice(1, None), slice(-1)))
    return multiply(width, divide(add(after, before), 2))
