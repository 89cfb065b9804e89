"""Cutting into pieces along an axis, and putting pieces together side by side, below or behind one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..spelling import torch_spelling
from ..tensor import shaped
from .rearrange import with_axes
from .shape import axis_of, concatenate, expand_dims, split, whole_number


@torch_spelling
def chunk(x: Any, chunks: int, axis: int = 0) -> list[Any]:
    """At most so many pieces along `axis`, all but the last of equal size (torch.chunk)."""
    x, chunks = shaped(x, "chunk"), whole_number("chunk", "chunks", chunks, 1)
    axis = axis_of("chunk", x, axis)
    if not x.shape[axis]:
        return [x] * chunks
    return split(x, -(-x.shape[axis] // chunks), axis)


@torch_spelling
def tensor_split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """Pieces along `axis`: so many, of sizes that differ by at most 1; or cut before the given indices.

    (numpy.array_split.)
    """
    x = shaped(x, "tensor_split")
    axis = axis_of("tensor_split", x, axis)
    n, cuts = x.shape[axis], getattr(indices_or_sections, "tolist", lambda: indices_or_sections)()
    if not isinstance(cuts, (tuple, list)):
        parts = whole_number("tensor_split", "sections", cuts, 1)
        return split(x, [n // parts + (i < n % parts) for i in range(parts)], axis)
    ends = [*(whole_number("tensor_split", "indices", cut) for cut in cuts), n]
    starts = [0, *ends[:-1]]
    return [x[(slice(None),) * axis + (slice(a, b),)] for a, b in zip(starts, ends)]


def _cut(op, x, given, axis, least):
    x = with_axes(op, x, least)
    if not isinstance(given, (tuple, list)) and x.shape[axis] % whole_number(op, "sections", given, 1):
        raise ValueError(f"{op}: axis {axis} of {tuple(x.shape)} cannot be cut into {given} equal pieces")
    return tensor_split(x, given, axis)


def hsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Any]:
    """Equal pieces along axis 1, of a vector along axis 0; or cut before the given indices."""
    return _cut("hsplit", x, indices_or_sections, min(1, len(shaped(x).shape) - 1), 1)


def vsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Any]:
    """Equal pieces along axis 0; or cut before the given indices."""
    return _cut("vsplit", x, indices_or_sections, 0, 2)


def dsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Any]:
    """Equal pieces along axis 2; or cut before the given indices."""
    return _cut("dsplit", x, indices_or_sections, 2, 3)


@torch_spelling
def unbind(x: Any, axis: int = 0) -> list[Any]:
    """The slices along `axis`, without it."""
    x = shaped(x, "unbind")
    axis = axis_of("unbind", x, axis)
    return [x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis])]


def _at_least(op, xs, least, new):
    """Each x with new axes of size 1 before those at `new`, until there are `least`."""
    found = []
    for x in xs:
        x = shaped(x, op)
        for axis in new[len(x.shape) :]:
            x = expand_dims(x, axis)
        found.append(x)
    return found[0] if len(found) == 1 else tuple(found)


def atleast_1d(*xs: Any) -> Any:
    """Each x with one axis at least; of several a tuple."""
    return _at_least("atleast_1d", xs, 1, (0,))


def atleast_2d(*xs: Any) -> Any:
    """Each x with two axes at least; a vector is a row.  Of several a tuple."""
    return _at_least("atleast_2d", xs, 2, (0, 0))


def atleast_3d(*xs: Any) -> Any:
    """Each x with three axes at least; new ones are the first, in a matrix the last.  Of several a tuple."""
    return _at_least("atleast_3d", xs, 3, (0, 0, 2))


def _all(op, xs, least):
    if not isinstance(xs, (tuple, list)) or not xs:
        raise ValueError(f"{op}: a list of at least one Tensor is needed, not {xs!r:.40}")
    return [least(x) for x in xs]


def hstack(xs: Sequence[Any]) -> Any:
    """Side by side: one after the other along axis 1, vectors along axis 0."""
    xs = _all("hstack", xs, atleast_1d)
    return concatenate(xs, 0 if len(xs[0].shape) == 1 else 1)


def vstack(xs: Sequence[Any]) -> Any:
    """One below the other: along axis 0, vectors as rows."""
    return concatenate(_all("vstack", xs, atleast_2d), 0)


def dstack(xs: Sequence[Any]) -> Any:
    """One behind the other: along axis 2."""
    return concatenate(_all("dstack", xs, atleast_3d), 2)


def column_stack(xs: Sequence[Any]) -> Any:
    """Side by side: along axis 1, vectors as columns."""
    xs = _all("column_stack", xs, atleast_1d)
    return concatenate([expand_dims(x, 1) if len(x.shape) == 1 else x for x in xs], 1)
