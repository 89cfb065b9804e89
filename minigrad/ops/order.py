"""Order along an axis: sorting, the largest few, running sums.

Sorting moves entries, so its gradient only moves them back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..builtin import builtin
from ..precision import sum_dtype
from ..primitive import primitive
from ..spelling import torch_spelling, whole
from ..tensor import shaped
from .index import gather
from .shape import axis_of, check_flags, flip, reshape, whole_number


class Ordered(NamedTuple):
    """Entries, and where along the axis they stood."""

    values: Any
    indices: Any


@builtin()
@primitive
def argsort(xp, x, /, axis=-1, descending=False):
    """The indices that would sort `axis`, ties in their first order; an index has no gradient."""
    check_flags("argsort", descending=descending)
    if not descending:
        return xp.argsort(x, axis=axis, kind="stable")
    last = x.shape[axis] - 1  # from the back, and turned round twice, so that ties keep their order
    return xp.flip(last - xp.argsort(xp.flip(x, axis), axis=axis, kind="stable"), axis)


argsort.defvjp()


@torch_spelling
def sort(x: Any, axis: int | None = -1, descending: bool = False) -> Ordered:
    """(x sorted along `axis`, the indices that sort it); with axis None of all entries, as one vector."""
    check_flags("sort", descending=descending)
    x = shaped(x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    ids = argsort(x, whole("sort", axis), descending)
    return Ordered(gather(x, axis, ids), ids)


@torch_spelling
def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> Ordered:
    """(the k largest entries along `axis`, the largest first, their indices); or the smallest.

    Raises:
        ValueError: x has no such axis, or fewer than k entries along it.
    """
    check_flags("topk", largest=largest)
    x, k = shaped(x), whole_number("topk", "k", k)
    if not x.shape:
        axis_of("topk", x, axis, 1)
        values, ids = topk(reshape(x, (1,)), k, 0, largest)
        return Ordered(reshape(values, ()), reshape(ids, ())) if k else Ordered(values, ids)
    axis = axis_of("topk", x, axis)
    if not 0 <= k <= x.shape[axis]:
        raise ValueError(f"topk: k={k} of axis {axis}, which is {x.shape[axis]} long: give 0 <= k <= {x.shape[axis]}")
    ids = argsort(x, axis, largest)[(slice(None),) * axis + (slice(k),)]
    return Ordered(gather(x, axis, ids), ids)


@torch_spelling
def cumsum(x: Any, axis: int | None) -> Any:
    """The sum of each entry and all before it along `axis`, of whole numbers in the dtype that `sum` gives.

    With axis None of all entries, as one vector.
    """
    return _cumsum(x, axis) if axis is not None else _cumsum(reshape(x, (-1,)), 0)


@builtin(name="cumsum", in_float32="halves", autocast="float32")
@primitive
def _cumsum(xp, x, /, axis):
    return xp.cumsum(x, axis=axis, dtype=sum_dtype(x.dtype))


_cumsum.defvjp(x=lambda g, axis: flip(_cumsum(flip(g, axis), axis), axis))
_cumsum.in_symbols(x="the sum of g from here to the end")
