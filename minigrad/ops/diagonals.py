"""Diagonals: reading them, building matrices from them, and the indices of triangles."""

from __future__ import annotations

import builtins
from typing import Any

from .. import backend
from ..builtin import builtin
from ..spelling import torch_spelling
from ..tensor import Tensor, as_array, shape_of, shaped
from .arithmetic import reshape, sum
from .create import arange
from .index import pick
from .rearrange import moveaxis
from .shape import axis_of, concatenate, expand_dims, flatten, pad, whole_number


@torch_spelling
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of two axes, which becomes the last axis; `offset` counts to the right of the main one.

    Raises:
        ValueError: x has no two such axes.
    """
    x, offset = shaped(x, "diagonal"), whole_number("diagonal", "offset", offset)
    a, b = axis_of("diagonal", x, axis1), axis_of("diagonal", x, axis2)
    if a == b:
        raise ValueError(f"diagonal: axis1={axis1} and axis2={axis2} are one axis; two are needed")
    x = moveaxis(x, (a, b), (-2, -1))
    rows, columns = x.shape[-2:]
    length = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    ids = backend.of(as_array(x)).xp.arange(length)
    return pick(x, (..., ids - min(offset, 0), ids + max(offset, 0)))


def diag(x: Any, diagonal: int = 0) -> Any:
    """Of a matrix the diagonal; of a vector the square matrix with it on the diagonal, and zeros elsewhere.

    Raises:
        ValueError: x is neither.
    """
    x = shaped(x, "diag")
    if len(x.shape) not in (1, 2):
        raise ValueError(f"diag: a vector or a matrix is needed, not {tuple(x.shape)}: see diagonal and diag_embed")
    return diag_embed(x, diagonal) if len(x.shape) == 1 else _diagonal(x, diagonal)


_diagonal = diagonal


@torch_spelling
def diag_embed(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Any:
    """Matrices, in the axes axis1 and axis2 of the result, with the last axis of x on a diagonal (torch.diag_embed)."""
    x, offset = shaped(x, "diag_embed"), whole_number("diag_embed", "offset", offset)
    a, b = (axis_of("diag_embed", x, axis, 1) for axis in (axis1, axis2))
    if a == b:
        raise ValueError(f"diag_embed: axis1={axis1} and axis2={axis2} are one axis; two are needed")
    axis_of("diag_embed", x, -1)
    lead, n = tuple(x.shape[:-1]), x.shape[-1]
    # Each entry, followed by n zeros, and all of it but the last zeros cut into rows of n: the main diagonal.
    rows = pad(expand_dims(x, -1), ((0, 0),) * (len(lead) + 1) + ((0, n),))
    square = reshape(reshape(rows, (*lead, n * (n + 1)))[..., : n * n], (*lead, n, n))
    up, down = max(offset, 0), max(-offset, 0)
    return moveaxis(pad(square, ((0, 0),) * len(lead) + ((down, up), (up, down))), (-2, -1), (a, b))


def diagflat(x: Any, offset: int = 0) -> Any:
    """The matrix with all entries of x, in order, on a diagonal."""
    return diag_embed(flatten(x), offset)


@builtin(in_float32="halves", autocast="float32")
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal: see `diagonal`."""
    return sum(diagonal(x, offset, axis1, axis2), -1)


def block_diag(*xs: Any) -> Any:
    """The matrix with the given ones, of at most two axes, along its diagonal, and zeros elsewhere."""
    shapes = [tuple(shape_of(x)) for x in xs]
    if not xs or any(len(shape) > 2 for shape in shapes):
        raise ValueError(f"block_diag: matrices are needed, at least one, not {shapes}")
    matrices = [reshape(x, (1,) * (2 - len(shape)) + shape) for x, shape in zip(xs, shapes)]
    rows, width, start = [], builtins.sum(x.shape[1] for x in matrices), 0
    for x in matrices:
        rows.append(pad(x, ((0, 0), (start, width - start - x.shape[1]))))
        start += x.shape[1]
    return concatenate(rows)


def tril_indices(n: int, *size: int, m: int | None = None, offset: int = 0) -> tuple[Tensor, Tensor]:
    """The row and column indices of the lower triangle of an n × m matrix, m = n by default: x[mg.tril_indices(3)].

    A second number must be named, `m` as torch means it, or `offset` as NumPy does.
    """
    return _indices("tril_indices", n, size, m, lambda rows, columns: columns - rows <= offset)


def triu_indices(n: int, *size: int, m: int | None = None, offset: int = 0) -> tuple[Tensor, Tensor]:
    """The row and column indices of the upper triangle of an n × m matrix: see `tril_indices`."""
    return _indices("triu_indices", n, size, m, lambda rows, columns: columns - rows >= offset)


def _indices(op, n, size, m, inside):
    if size:
        raise TypeError(
            f"{op}({n}, {size[0]}): is {size[0]} the number of columns, as in torch, or the offset, as in NumPy? "
            f"type m={size[0]} or offset={size[0]}"
        )
    n = whole_number(op, "n", n, 0)
    m = n if m is None else whole_number(op, "m", m, 0)
    rows, columns = arange(n).data[:, None], arange(m).data
    i, j = inside(rows, columns).nonzero()
    return Tensor(i), Tensor(j)
