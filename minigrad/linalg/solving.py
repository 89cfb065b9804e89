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
    """x, known to be square matrices."""
    x = shaped(x, op)
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"{op}: square matrices (…, n, n) are needed, not {tuple(x.shape)}")
    return x


def check_finite(x: Any, parts: str) -> None:
    """Refuse matrices with a NaN or an infinity: LAPACK gives numbers for some of them, and for others never returns.

    Raises:
        ValueError: it has some, so there are no such `parts`.
    """
    finite = backend.of(x).xp.isfinite(x)
    if not finite.all():
        raise ValueError(
            f"of {x.size} entries {x.size - int(finite.sum())} are not finite, so there are no {parts}: "
            "`with mg.debug():` around the computation of x names the op that made them"
        )


def transposed(x: Any) -> Any:
    """The last two axes swapped."""
    return swapaxes(x, -1, -2)


def solve(a: Any, b: Any, *, left: bool = True) -> Any:
    """The x for which a x = b, of matrices a (…, n, n) and b (…, n, k), or a vector (n,); with left=False, x a = b.

    As in torch, a b of a's shape but for the last axis is a stack of vectors.

    Raises:
        ValueError: a matrix is singular, or the shapes do not fit.
    """
    check_flags("solve", left=left)
    a, b = square("solve", a), shaped(b, "solve")
    vectors = len(b.shape) == 1 or len(b.shape) > 1 and tuple(b.shape) == tuple(a.shape[:-1])
    b = expand_dims(b, -1) if vectors else b
    if not left and not vectors:
        return transposed(solve(transposed(a), transposed(b)))
    if b.shape[-2] != a.shape[-1]:
        raise ValueError(f"solve: b of {tuple(b.shape)} has not one row for each row of a, {tuple(a.shape)}")
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
        ValueError: a matrix is singular; `pinv` has an answer for it.
    """
    return _inv(square("inv", x))


@builtin(name="inv", in_float32="halves and integers", autocast="float32")
@primitive
def _inv(xp, x, /):
    return _unless_singular(xp, xp.linalg.inv, x)


_inv.defvjp(x=lambda g, y: -matmul(matmul(transposed(y), g), transposed(y)))
_inv.in_symbols(x="-yᵀ g yᵀ")


def _unless_singular(xp, compute, a, *b):
    """What is computed of the inverse of a: NaN where a has a NaN or an infinity, refused where a is singular."""
    finite = xp.isfinite(a).all((-2, -1), keepdims=True)
    try:
        with backend.of(a).refusing():
            return xp.where(finite, compute(xp.where(finite, a, xp.eye(a.shape[-1], dtype=a.dtype)), *b), xp.nan)
    except np.linalg.LinAlgError:
        raise ValueError(
            "a matrix is singular, so there is no inverse: mg.linalg.pinv and mg.linalg.lstsq have the next best"
        ) from None


def det(x: Any) -> Any:
    """The determinant.  Of a singular matrix it has a gradient, but none of second order."""
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
    """det(x) x⁻ᵀ, by the singular values, of which each entry has the product of all others: none is divided by."""
    check_finite(x, "singular values, by which the gradient is computed")
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
        raise ValueError("det: of a singular matrix there is no second derivative here: it is divided by 0")
    along = sum(g * y, (-2, -1), True) * y
    return (along - matmul(matmul(y, transposed(g)), y)) / reshape(size, (*size.shape, 1, 1))


_cofactors.defvjp(x=_of_cofactors)
_cofactors.in_symbols(x="((Σ g y) y - y gᵀ y) / det(x)")


class Slogdet(NamedTuple):
    """The sign of a determinant, and the logarithm of its size."""

    sign: Any
    logabsdet: Any


def slogdet(x: Any) -> Slogdet:
    """(the sign of the determinant, the logarithm of its absolute value), where the determinant would overflow.

    Of a singular matrix (0, -∞), which has no gradient: asking for it raises a ValueError.
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
    """The logarithm of the determinant: -∞ if that is 0, NaN if it is negative."""
    sign, size = slogdet(x)
    return where(less(sign, 0), math.nan, size)
