"""Order along an axis: sorting, the largest few, running sums.  Sorting moves entries, so its gradient only moves them back."""
from __future__ import annotations

from typing import Any

from ..primitive import primitive, torch_spelling
from .index import gather
from .shape import axis_of, flip


@primitive
def argsort(xp, x, /, axis=-1, descending=False):
    """The indices that would sort `axis`, ties in their first order; an index has no gradient."""
    if not descending:
        return xp.argsort(x, axis=axis, kind="stable")
    last = x.shape[axis] - 1                    # from the back, and turned round twice, so that ties keep their order
    return xp.flip(last - xp.argsort(xp.flip(x, axis), axis=axis, kind="stable"), axis)


@torch_spelling
def sort(x: Any, axis: int = -1, descending: bool = False) -> tuple[Any, Any]:
    """(x sorted along `axis`, the indices that sort it)."""
    ids = argsort(x, axis, descending)
    return gather(x, axis, ids), ids


@torch_spelling
def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Any, Any]:
    """(the k largest entries along `axis`, the largest first, their indices); or the smallest.

    Raises:
        ValueError: x has no such axis, or fewer than k entries along it.
    """
    axis = axis_of("topk", x, axis)
    if not 0 <= k <= x.shape[axis]:
        raise ValueError(f"topk: k={k} of axis {axis}, which is {x.shape[axis]} long: give 0 <= k <= {x.shape[axis]}")
    ids = argsort(x, axis, largest)[(slice(None),) * axis + (slice(k),)]
    return gather(x, axis, ids), ids


@primitive
def cumsum(xp, x, /, axis):
    """The sum of each entry and all before it along `axis`."""
    return xp.cumsum(x, axis=axis, dtype=None if x.dtype.kind == "b" else x.dtype)
cumsum.defvjp(x=lambda g, axis: flip(cumsum(flip(g, axis), axis), axis))
