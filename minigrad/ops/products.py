"""Products besides the matrix product: of vectors, outer and Kronecker's, along any axes, and with a sum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..backend import is_float
from ..builtin import builtin
from ..spelling import torch_spelling
from ..tensor import shaped
from .arithmetic import add, multiply, reshape, sum, where
from .linalg import matmul
from .reduce import norm
from .shape import axes_of, axis_of, check_numbers, expand_dims, stack, swapaxes, transpose, whole_number


def _vectors(op, a, b):
    a, b = shaped(a, op), shaped(b, op)
    if len(a.shape) != 1 or a.shape != b.shape:
        raise ValueError(
            f"{op}: two vectors of one length are needed, not {tuple(a.shape)} and {tuple(b.shape)}: "
            "mg.matmul is for matrices"
        )
    return a, b


def dot(a: Any, b: Any) -> Any:
    """Σ aᵢ bᵢ of two vectors (torch.dot)."""
    return matmul(*_vectors("dot", a, b))


def vdot(a: Any, b: Any) -> Any:
    """`dot`: numbers here are real."""
    return matmul(*_vectors("vdot", a, b))


@builtin(in_float32="halves", in_int64=True, autocast="float32")
@torch_spelling
def vecdot(a: Any, b: Any, axis: int = -1) -> Any:
    """Σ a b along an axis; the others broadcast."""
    product = multiply(shaped(a, "vecdot"), shaped(b, "vecdot"))
    return sum(product, axis_of("vecdot", product, axis))


def inner(a: Any, b: Any) -> Any:
    """The sums of products over the last axes of a and b: (*a.shape[:-1], *b.shape[:-1]); with a number, a b."""
    a, b = shaped(a, "inner"), shaped(b, "inner")
    return tensordot(a, b, ([-1], [-1])) if a.shape and b.shape else multiply(a, b)


@builtin(in_float32="halves")
def outer(a: Any, b: Any) -> Any:
    """aᵢ bⱼ of two vectors: (len(a), len(b)).

    Raises:
        ValueError: one of them is not a vector; `mg.multiply(a[..., None], b)` is for more axes.
    """
    a, b = shaped(a, "outer"), shaped(b, "outer")
    if len(a.shape) != 1 or len(b.shape) != 1:
        raise ValueError(f"outer: two vectors are needed, not {tuple(a.shape)} and {tuple(b.shape)}")
    return multiply(expand_dims(a, 1), b)


@builtin(in_float32="halves")
def kron(a: Any, b: Any) -> Any:
    """Kronecker's product: each entry of a times b, in blocks."""
    a, b = shaped(a, "kron"), shaped(b, "kron")
    many = max(len(a.shape), len(b.shape))
    left, right = ((1,) * (many - len(x.shape)) + tuple(x.shape) for x in (a, b))
    blocks = multiply(
        reshape(a, [n for size in left for n in (size, 1)]), reshape(b, [n for size in right for n in (1, size)])
    )
    return reshape(blocks, tuple(m * n for m, n in zip(left, right)))


@torch_spelling
def tensordot(a: Any, b: Any, axes: int | Sequence[Sequence[int] | int] = 2) -> Any:
    """Σ a b over some axes of each: the last `axes` of a and the first of b, or those of a pair (axes of a, axes of b).

    Raises:
        ValueError: the axes are not as many, or not as long, in a as in b.
    """
    a, b = shaped(a, "tensordot"), shaped(b, "tensordot")
    if isinstance(axes, (tuple, list)):
        if len(axes) != 2:
            raise ValueError(f"tensordot: axes is a number or a pair (axes of a, axes of b), not {axes!r}")
        pair: Any = axes
        ours, theirs = ([part] if not isinstance(part, (tuple, list)) else list(part) for part in pair)
    else:
        n = whole_number("tensordot", "axes", axes, 0)
        ours, theirs = list(range(-n, 0)), list(range(n))
    axes_of("tensordot", a, ours)
    axes_of("tensordot", b, theirs)
    ours, theirs = ([axis_of("tensordot", x, i) for i in part] for x, part in ((a, ours), (b, theirs)))
    if [a.shape[i] for i in ours] != [b.shape[i] for i in theirs]:
        raise ValueError(
            f"tensordot: axes {ours} of {tuple(a.shape)} and {theirs} of {tuple(b.shape)} are not of the same lengths"
        )
    left = [i for i in range(len(a.shape)) if i not in ours]
    right = [i for i in range(len(b.shape)) if i not in theirs]
    rows, middle, columns = (math.prod(x.shape[i] for i in part) for x, part in ((a, left), (a, ours), (b, right)))
    y = matmul(
        reshape(transpose(a, [*left, *ours]), (rows, middle)),
        reshape(transpose(b, [*theirs, *right]), (middle, columns)),
    )
    return reshape(y, tuple([*(a.shape[i] for i in left), *(b.shape[i] for i in right)]))


@builtin(in_float32="halves", in_int64=True)
@torch_spelling
def cross(a: Any, b: Any, axis: int | None = None) -> Any:
    """The vector product of vectors of 3 entries along `axis`; the other axes broadcast (torch.cross).

    Without an `axis` it is the first of size 3, as in torch; `mg.linalg.cross`, as torch's, takes the last.

    Raises:
        ValueError: the vectors have not 3 entries.
    """
    a, b = shaped(a, "cross"), shaped(b, "cross")
    many = max(len(a.shape), len(b.shape))
    a, b = (reshape(x, (1,) * (many - len(x.shape)) + tuple(x.shape)) for x in (a, b))
    if axis is None:
        threes = [i for i, sizes in enumerate(zip(a.shape, b.shape)) if max(sizes) == 3]
        axis = threes[0] if threes else -1
    axis = axis_of("cross", a, axis)
    if a.shape[axis] != 3 or b.shape[axis] != 3:
        raise ValueError(f"cross: vectors of 3 entries are needed along axis {axis}, not {a.shape} and {b.shape}")
    a, b = swapaxes(a, axis, -1), swapaxes(b, axis, -1)
    parts = [a[..., i - 2] * b[..., i - 1] - a[..., i - 1] * b[..., i - 2] for i in range(3)]
    return swapaxes(stack(parts, -1), axis, -1)


@builtin(in_float32="halves", in_int64=True, autocast="half")
def addmm(x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta x + alpha a b, for matrices a (n, k) and b (k, m) and an x that broadcasts to (n, m) (torch.addmm)."""
    return _plus("addmm", x, a, b, (2, 2), matmul, beta, alpha)


@builtin(in_float32="halves", in_int64=True, autocast="half")
def addmv(x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta x + alpha a b, for a matrix a (n, k) and a vector b (k,) (torch.addmv)."""
    return _plus("addmv", x, a, b, (2, 1), matmul, beta, alpha)


@builtin(in_float32="halves", in_int64=True, autocast="half")
def addr(x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta x + alpha `outer(a, b)`, for vectors a and b (torch.addr)."""
    return _plus("addr", x, a, b, (1, 1), outer, beta, alpha)


@builtin(in_float32="halves", in_int64=True, autocast="half")
def baddbmm(x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta x + alpha a b, for stacks of matrices a (s, n, k) and b (s, k, m) (torch.baddbmm)."""
    return _plus("baddbmm", x, a, b, (3, 3), matmul, beta, alpha)


@builtin(in_float32="halves", in_int64=True, autocast="half")
def addbmm(x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta x + alpha times the sum of a b over the stacks a (s, n, k) and b (s, k, m) (torch.addbmm)."""
    return _plus("addbmm", x, a, b, (3, 3), lambda a, b: sum(matmul(a, b), 0), beta, alpha)


def _plus(op, x, a, b, axes, product, beta, alpha):
    """beta x + alpha product(a, b), of operands with so many axes; with beta = 0 what x holds does not matter."""
    x, a, b = shaped(x, op), shaped(a, op), shaped(b, op)
    if (len(a.shape), len(b.shape)) != axes or axes == (3, 3) and a.shape[0] != b.shape[0]:
        raise ValueError(
            f"{op}: operands of {axes[0]} and {axes[1]} axes are needed, not {tuple(a.shape)} and {tuple(b.shape)}"
        )
    y = product(a, b)
    beta, alpha = (_factor(op, name, value, y) for name, value in (("beta", beta), ("alpha", alpha)))
    y = y if alpha == 1 else multiply(alpha, y)
    total = add(x if beta == 1 else multiply(beta, x), y) if beta else add(y, where(True, False, x))
    if tuple(total.shape) != tuple(y.shape):
        raise ValueError(f"{op}: x of {tuple(x.shape)} does not broadcast to the product's shape {tuple(y.shape)}")
    return total


def _factor(op, name, value, y):
    """A number, known to be whole where y holds whole numbers, which would not hold the result."""
    if is_float(y.dtype) or value == int(value):
        return value if is_float(y.dtype) else int(value)
    raise TypeError(f"{op}: {name}={value!r} of {y.dtype}: give a whole number, or make the operands floating")


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def dist(a: Any, b: Any, p: float = 2) -> Any:
    """The p-norm of a - b, a single number (torch.dist)."""
    return norm(a - b, p)


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def cdist(a: Any, b: Any, p: float = 2.0) -> Any:
    """The p-norm of the difference of every row of a (…, n, d) and every row of b (…, m, d): (…, n, m) (torch.cdist).

    Raises:
        ValueError: a or b has fewer than two axes, the rows have not one length, or p is negative.
    """
    if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[-1] != b.shape[-1]:
        raise ValueError(f"cdist: rows of one length are needed, not {tuple(a.shape)} and {tuple(b.shape)}")
    check_numbers("cdist", p=p)
    if p < 0:
        raise ValueError(f"cdist: p={p} is negative: give p >= 0")
    return norm(expand_dims(a, -2) - expand_dims(b, -3), p, -1)
