"""Systems of equations, inverses and determinants."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..builtin import builtin
from ..ops.arithmetic import less, reshape, sum, where
from ..ops.linalg import matmul
from ..ops.shape import check_flags, expand_dims, squeeze, swapaxes
from ..primitive import primitive
from ..tensor import as_array, shaped


def square(op: str, x: Any) -> Any:
    """x as a Tensor.  Raises ValueError unless it holds square matrices."""
    x = shaped(x, op)
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"{op}: x has shape {tuple(x.shape)}; expected square matrices (…, n, n)")
    return x


def check_finite(x: Any, parts: str) -> None:
    """Refuse matrices with a NaN or an infinity, for which LAPACK may return numbers, or never return.

    Raises:
        ValueError: x has one, so it has no such `parts`.
    """
    finite = backend.of(x).xp.isfinite(x)
    if not finite.all():
        raise ValueError(
            f"of {x.size} entries {x.size - int(finite.sum())} are not finite, so there are no {parts}: "
            "`with mg.debug():` around the computation of x names the op that made them"
        )


def transposed(x: Any) -> Any:
    """x with its last two axes swapped."""
    return swapaxes(x, -1, -2)


def solve(a: Any, b: Any, *, left: bool = True) -> Any:
    """The solution x of a x = b, for matrices a (…, n, n) and b (…, n, k) or a vector (n,); with left=False of x a = b.

    As in torch, a b that has the shape of a without its last axis is a stack of vectors.

    Raises:
        ValueError: a matrix is singular, or the shapes do not match.
    """
    check_flags("solve", left=left)
    a, b = square("solve", a), shaped(b, "solve")
    vectors = len(b.shape) == 1 or len(b.shape) > 1 and tuple(b.shape) == tuple(a.shape[:-1])
    b = expand_dims(b, -1) if vectors else b
    if not left and not vectors:
        return transposed(solve(transposed(a), transposed(b)))
    if b.shape[-2] != a.shape[-1]:
        raise ValueError(f"solve: a has shape {tuple(a.shape)} and b {tuple(b.shape)}; expected as many rows in both")
    x = _solve(a, b)
    return squeeze(x, -1) if vectors else x


@builtin(name="solve", in_float32="halves and integers", autocast="float32")
@primitive
def _solve(xp, a, b, /):
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (xp.broadcast_to(x, stack + x.shape[-2:]) for x in (a, b))
    return _unless_singular(xp, xp.linalg.solve, a, b)


_solve.defvjp(
    a=lambda g, a, y: -matmul(_solve(transposed(a), g), transposed(y)), b=lambda g, a: _solve(transposed(a), g)
)
_solve.in_symbols(a="-a⁻ᵀ g yᵀ", b="a⁻ᵀ g")


def inv(x: Any) -> Any:
    """The inverse matrix.

    Raises:
        ValueError: a matrix is singular; `pinv` gives its pseudo-inverse.
    """
    return _inv(square("inv", x))


@builtin(name="inv", in_float32="halves and integers", autocast="float32")
@primitive
def _inv(xp, x, /):
    return _unless_singular(xp, xp.linalg.inv, x)


_inv.defvjp(x=lambda g, y: -matmul(matmul(transposed(y), g), transposed(y)))
_inv.in_symbols(x="-yᵀ g yᵀ")


def _unless_singular(xp, compute, a, *b):
    """compute(a, *b), which inverts a; NaN for matrices with a NaN or an infinity, ValueError for singular ones."""
    finite = xp.isfinite(a).all((-2, -1), keepdims=True)
    try:
        with backend.of(a).refusing():
            return xp.where(finite, compute(xp.where(finite, a, xp.eye(a.shape[-1], dtype=a.dtype)), *b), xp.nan)
    except np.linalg.LinAlgError:
        raise ValueError(
            "a matrix is singular, so it has no inverse: mg.linalg.pinv and mg.linalg.lstsq give the closest solution"
        ) from None


def det(x: Any) -> Any:
    """The determinant.  At a singular matrix the gradient is computed, but the second derivative raises ValueError."""
    return _det(square("det", x))


@builtin(name="det", in_float32="halves and integers", autocast="float32")
@primitive
def _det(xp, x, /):
    return xp.linalg.det(x)


_det.defvjp(x=lambda g, x: reshape(g, (*g.shape, 1, 1)) * _cofactors(x))
_det.in_symbols(x="g · y · x⁻ᵀ")


@builtin(name="cofactors", in_float32="halves and integers", autocast="float32")
@primitive
def _cofactors(xp, x, /):
    """det(x) x⁻ᵀ from the singular values: products of all others take the place of det(x) divided by each."""
    check_finite(x, "singular values, from which the gradient is computed")
    with backend.of(x).refusing():
        u, s, v = xp.linalg.svd(x)
    n = s.shape[-1]
    others = [xp.prod(s[..., [j for j in range(n) if j != i]], axis=-1) for i in range(n)]
    others = xp.stack(others, -1) if n else s
    sign = (xp.linalg.det(u) * xp.linalg.det(v))[..., None, None]
    return sign * (u * others[..., None, :]) @ v


def _of_cofactors(g, x, y):
    size = _det(x)
    if (as_array(size) == 0).any():
        raise ValueError("det: the second derivative at a singular matrix is not supported, because it is divided by 0")
    along = sum(g * y, (-2, -1), True) * y
    return (along - matmul(matmul(y, transposed(g)), y)) / reshape(size, (*size.shape, 1, 1))


_cofactors.defvjp(x=_of_cofactors)
_cofactors.in_symbols(x="((Σ g y) y - y gᵀ y) / det(x)")


class Slogdet(NamedTuple):
    """The sign of a determinant, and the logarithm of its absolute value."""

    sign: Any
    logabsdet: Any


def slogdet(x: Any) -> Slogdet:
    """(the sign of the determinant, the logarithm of its absolute value), also where the determinant overflows.

    They are (0, -∞) for a singular matrix, whose gradient does not exist and raises ValueError.
    """
    x = square("slogdet", x)
    return Slogdet(_sign_of_determinant(x), _slogdet(x))


@builtin(name="sign_of_determinant", in_float32="halves and integers", autocast="float32")
@primitive
def _sign_of_determinant(xp, x, /):
    sign, size = xp.linalg.slogdet(x)
    return xp.where(xp.isnan(size), size, sign)


_sign_of_determinant.defvjp()


@builtin(name="slogdet", in_float32="halves and integers", autocast="float32")
@primitive
def _slogdet(xp, x, /):
    _, size = xp.linalg.slogdet(x)
    return size


_slogdet.defvjp(x=lambda g, x: reshape(g, (*g.shape, 1, 1)) * transposed(_inv(x)))
_slogdet.in_symbols(x="g · x⁻ᵀ")


def logdet(x: Any) -> Any:
    """The logarithm of the determinant: -∞ if the determinant is 0, NaN if it is negative."""
    sign, size = slogdet(x)
    return where(less(sign, 0), math.nan, size)
