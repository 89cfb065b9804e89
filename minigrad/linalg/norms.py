"""Norms of vectors and matrices, and the condition number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..builtin import builtin
from ..ops.arithmetic import abs, divide, sum
from ..ops.rearrange import moveaxis
from ..ops.reduce import Axes, max, min
from ..ops.shape import axis_of, expand_dims
from ..spelling import torch_spelling
from ..tensor import shaped
from .factors import matrices, svdvals
from .solving import inv


@builtin(in_float32="halves and integers", autocast="float32")
@torch_spelling
def vector_norm(x: Any, ord: float = 2, axis: Axes = None, keepdims: bool = False) -> Any:
    """(Σ |x|ᵖ)^(1/p) over `axis`, by default over all, with p = ord; ±∞ and 0 as in `mg.norm`."""
    return ops.norm(x, ord, axis, keepdims)


@builtin(in_float32="halves and integers", autocast="float32")
@torch_spelling
def matrix_norm(x: Any, ord: float | str = "fro", axis: Sequence[int] = (-2, -1), keepdims: bool = False) -> Any:
    """The norm of the matrices in two axes.

    "fro" is the root of the sum of squares, "nuc" the sum of the singular values, 2 the largest and -2 the smallest of
    them; 1 and -1 are the largest and the smallest sum of |x| over a column, ±∞ over a row.

    Raises:
        ValueError: ord is none of these, or there are not two axes.
    """
    x = matrices("matrix_norm", x)
    if not isinstance(axis, (tuple, list)) or len(axis) != 2:
        raise ValueError(f"matrix_norm: axis is {axis!r}; expected two axes")
    rows, columns = (axis_of("matrix_norm", x, a) for a in axis)
    if rows == columns:
        raise ValueError(f"matrix_norm: axis is {axis!r}, twice the same; expected two axes")
    if ord == "fro":
        return ops.norm(x, 2, (rows, columns), keepdims)
    y = moveaxis(x, (rows, columns), (-2, -1))
    if ord in ("nuc", 2, -2):
        s = svdvals(y)
        found = sum(s, -1) if ord == "nuc" else max(s, -1) if ord == 2 else min(s, -1)
    elif ord in (1, -1, math.inf, -math.inf):
        sums = sum(abs(y), -2 if ord in (1, -1) else -1)
        found = max(sums, -1) if ord > 0 else min(sums, -1)
    else:
        raise ValueError(f'matrix_norm: ord={ord!r} is not known: type "fro", "nuc", ±1, ±2 or ±math.inf')
    for a in sorted((rows, columns)) if keepdims else ():
        found = expand_dims(found, a)
    return found


@torch_spelling
def norm(x: Any, ord: float | str | None = None, axis: Axes = None, keepdims: bool = False) -> Any:
    """The norm of vectors (one axis) or matrices (two); without `ord` the root of the sum of squares over `axis`.

    With `ord` and no axis, x must be a vector or a matrix; see `vector_norm` and `matrix_norm`.

    Raises:
        ValueError: `ord` is given without an axis, and x is neither.
    """
    x = shaped(x, "norm")
    if ord is None:
        return vector_norm(x, 2, axis, keepdims)
    if axis is None:
        if len(x.shape) not in (1, 2):
            raise ValueError(
                f"norm: x has shape {tuple(x.shape)}; expected a vector or a matrix with ord={ord!r} and no axis"
            )
        axis = (0, 1) if len(x.shape) == 2 else 0
    if isinstance(axis, (tuple, list)) and len(axis) == 2:
        return matrix_norm(x, ord, axis, keepdims)
    if isinstance(ord, str):
        raise ValueError(f"norm: axis is {axis!r}; expected two axes for ord={ord!r}, a norm of matrices")
    return vector_norm(x, ord, axis, keepdims)


@builtin(in_float32="halves and integers", autocast="float32")
def cond(x: Any, p: float | str | None = None) -> Any:
    """The condition number ‖x‖ ‖x⁻¹‖ in a norm of `matrix_norm`, by default 2."""
    x = matrices("cond", x)
    if p in (None, 2, -2):
        s = svdvals(x)
        return divide(s[..., 0], s[..., -1]) if p != -2 else divide(s[..., -1], s[..., 0])
    return matrix_norm(x, p) * matrix_norm(inv(x), p)
