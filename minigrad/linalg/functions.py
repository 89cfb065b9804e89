"""Functions of matrices: powers, the exponential, pseudo-inverses, least squares, products of several matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..backend import is_float
from ..builtin import builtin
from ..ops.arithmetic import abs, astype, broadcast_to, multiply, reshape, sum
from ..ops.linalg import matmul
from ..ops.rearrange import moveaxis
from ..ops.shape import axis_of, check_flags, expand_dims, squeeze, stack, tril, triu, whole_number
from ..primitive import primitive
from ..spelling import torch_spelling
from ..tensor import Tensor, as_array, shaped
from .factors import matrices, svdvals
from .solving import check_finite, inv, solve, square, transposed


def _eye_like(x):
    """Identity matrices of x's shape."""
    eye = backend.of(as_array(x)).xp.eye(x.shape[-1], dtype=x.dtype)
    return broadcast_to(Tensor(eye) if isinstance(x, Tensor) else eye, tuple(x.shape))


@builtin(in_float32="halves", autocast="float32")
def matrix_power(x: Any, n: int) -> Any:
    """xⁿ by repeated squaring; for a negative n the power of the inverse."""
    x, n = square("matrix_power", x), whole_number("matrix_power", "n", n)
    if n < 0:
        x, n = inv(x), -n
    if n == 0:
        return _eye_like(x)
    y = None
    while n:
        if n % 2:
            y = x if y is None else matmul(y, x)
        n //= 2
        x = matmul(x, x) if n else x
    return y


@builtin(in_float32="halves and integers", autocast="float32")
def matrix_exp(x: Any) -> Any:
    """eˣ = Σ xᵏ / k!, by scaling and squaring: the Taylor series of x / 2ˢ, of norm at most 1, squared s times."""
    x = square("matrix_exp", x)
    rows = as_array(sum(abs(x), -1))
    largest = float(rows.max()) if rows.size else 0.0
    halvings = max(0, math.ceil(math.log2(largest))) if 0 < largest < math.inf else 0
    dtype, x = x.dtype, astype(x, "float64") / 2**halvings  # squaring doubles the error each time
    y = eye = _eye_like(x)
    for k in range(18, 0, -1):  # Horner's rule; 1 / 19! is far below the rounding error
        y = eye + matmul(x, y) / k
    for _ in range(halvings):
        y = matmul(y, y)
    return astype(y, dtype)


def _cutoff(op, s, shape, rtol, atol, xp):
    """The threshold below which singular values count as 0, with torch's defaults."""
    if any(tol is not None and not isinstance(tol, Real) for tol in (rtol, atol)):
        raise TypeError(f"{op}: rtol is {rtol!r} and atol {atol!r}; expected numbers")
    if rtol is None:
        rtol = max(shape[-2:]) * float(np.finfo(s.dtype).eps) if not atol else 0.0
    largest = s.max(-1, keepdims=True) if s.shape[-1] else s.sum(-1, keepdims=True)
    return xp.maximum(rtol * largest, atol or 0.0)


def pinv(x: Any, rtol: float | None = None, *, atol: float | None = None, hermitian: bool = False) -> Any:
    """The pseudo-inverse (Moore & Penrose) of matrices (…, m, n): (…, n, m).

    Singular values of at most max(atol, rtol · the largest) count as 0; the default of rtol is max(m, n) times the
    machine epsilon, or 0 if atol is given.  The gradient is that among matrices of the same rank (Golub & Pereyra
    1973).  With `hermitian` x is symmetric, and only its lower triangle is read.
    """
    check_flags("pinv", hermitian=hermitian)
    return _pinv(_symmetric("pinv", x) if hermitian else matrices("pinv", x), rtol, atol)


def _symmetric(op, x):
    """The symmetric matrix with x's lower triangle."""
    x = square(op, x)
    return tril(x) + transposed(tril(x, -1))


@builtin(name="pinv", in_float32="halves and integers", autocast="float32")
@primitive
def _pinv(xp, x, /, rtol, atol):
    check_finite(x, "singular values")
    with backend.of(x).refusing():
        u, s, v = xp.linalg.svd(x, full_matrices=False)
    there = s > _cutoff("pinv", s, x.shape, rtol, atol, xp)
    inverse = xp.where(there, 1 / xp.where(there, s, 1), 0)
    return xp.matmul(xp.swapaxes(v, -1, -2) * inverse[..., None, :], xp.swapaxes(u, -1, -2))


def _of_pinv(g, x, y):
    t, gt = transposed(y), transposed(g)
    gx = -matmul(matmul(t, g), t)
    gx = gx + matmul(matmul(t, y), gt - matmul(gt, matmul(y, x)))
    return gx + matmul(gt - matmul(matmul(x, y), gt), matmul(y, t))


_pinv.defvjp(x=_of_pinv)
_pinv.in_symbols(x="-yᵀ g yᵀ + yᵀ y gᵀ (1 - y x) + (1 - x y) gᵀ y yᵀ")


@builtin(in_float32="halves and integers")
def matrix_rank(x: Any, *, rtol: float | None = None, atol: float | None = None, hermitian: bool = False) -> Any:
    """The number of singular values that do not count as 0, by the thresholds of `pinv`; int64."""
    check_flags("matrix_rank", hermitian=hermitian)
    x = _symmetric("matrix_rank", x) if hermitian else matrices("matrix_rank", x)
    s = as_array(svdvals(x.detach() if isinstance(x, Tensor) else x))
    found = (s > _cutoff("matrix_rank", s, x.shape, rtol, atol, backend.of(s).xp)).sum(-1)
    return Tensor(found) if isinstance(x, Tensor) else found


class Lstsq(NamedTuple):
    """The result of `lstsq`."""

    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any


def lstsq(a: Any, b: Any, rtol: float | None = None) -> Lstsq:
    """The x that minimises ‖a x - b‖; among several, that of the smallest norm.

    a is (…, m, n), and b (…, m, k) or a vector (m,).  The result also has the squares of ‖a x - b‖, which are empty
    unless m > n, the rank of a, and its singular values.  Raises ValueError if the shapes do not match.
    """
    a, b = matrices("lstsq", a), shaped(b, "lstsq")
    vector = len(b.shape) == 1
    b = expand_dims(b, -1) if vector else b
    if b.shape[-2] != a.shape[-2]:
        raise ValueError(f"lstsq: a has shape {tuple(a.shape)} and b {tuple(b.shape)}; expected as many rows in both")
    x = _least_squares(a, b, rtol)
    missed = matmul(a, x) - b
    residuals = sum(missed * missed, -2)
    x, residuals = (squeeze(x, -1), squeeze(residuals, -1)) if vector else (x, residuals)
    residuals = residuals if a.shape[-2] > a.shape[-1] else reshape(residuals, (-1,))[:0]
    return Lstsq(x, residuals, matrix_rank(a, rtol=rtol), svdvals(a))


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def _least_squares(a: Any, b: Any, rtol: float | None) -> Any:
    return matmul(pinv(a, rtol), b)


def solve_triangular(a: Any, b: Any, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    """`solve` with the upper or the lower triangle of a; with `unitriangular` its diagonal is taken to be ones."""
    check_flags("solve_triangular", upper=upper, left=left, unitriangular=unitriangular)
    a = square("solve_triangular", a)
    if len(shaped(b).shape) < 2:
        raise ValueError("solve_triangular: b is a vector; expected (…, n, k): type b[:, None] to make it a matrix")
    if unitriangular:
        return solve((triu(a, 1) if upper else tril(a, -1)) + _eye_like(a), b, left=left)
    return solve(triu(a) if upper else tril(a), b, left=left)


def cholesky_solve(b: Any, L: Any, *, upper: bool = False) -> Any:
    """The solution x of L Lᵀ x = b, with the factor L that `cholesky` returns; with `upper` of Lᵀ L x = b."""
    check_flags("cholesky_solve", upper=upper)
    L = triu(L) if upper else tril(L)
    first, then = (transposed(L), L) if upper else (L, transposed(L))
    return solve(then, solve(first, b))


def multi_dot(xs: Sequence[Any]) -> Any:
    """The product of two or more matrices, in the order that takes the fewest multiplications.

    The first and the last may be vectors.

    Raises:
        ValueError: there are fewer than two, or their shapes do not match.
    """
    xs = [shaped(x, "multi_dot") for x in xs]
    if len(xs) < 2 or any(len(x.shape) != 2 for x in xs[1:-1]) or any(len(x.shape) not in (1, 2) for x in xs):
        raise ValueError(f"multi_dot: the shapes are {[tuple(x.shape) for x in xs]}; expected two or more matrices")
    return _multi_dot(*xs)


@builtin(in_float32="halves", autocast="half")
def _multi_dot(*factors: Any) -> Any:
    xs = list(factors)
    begins, ends = len(xs[0].shape) == 1, len(xs[-1].shape) == 1
    xs[0] = expand_dims(xs[0], 0) if begins else xs[0]
    xs[-1] = expand_dims(xs[-1], 1) if ends else xs[-1]
    sizes = [x.shape[0] for x in xs] + [xs[-1].shape[1]]

    @cache
    def best(i: int, j: int) -> tuple[int, int]:
        """The least number of multiplications for xs[i] … xs[j], and the index after which to split them."""
        if i == j:
            return 0, i
        return min((best(i, k)[0] + best(k + 1, j)[0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j))

    def product(i: int, j: int) -> Any:
        k = best(i, j)[1]
        return xs[i] if i == j else matmul(product(i, k), product(k + 1, j))

    y = product(0, len(xs) - 1)
    y = squeeze(y, -1) if ends else y
    return squeeze(y, 0) if begins else y


def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse of a as a linear map from its axes from `ind` on to those before.

    Raises ValueError unless both groups of axes have the same number of entries.
    """
    a, ind = shaped(a, "tensorinv"), whole_number("tensorinv", "ind", ind, 1)
    rows, columns = tuple(a.shape[:ind]), tuple(a.shape[ind:])
    if math.prod(rows) != math.prod(columns):
        raise ValueError(f"tensorinv: the axes are {rows} and {columns}; expected equal numbers of entries")
    n = math.prod(rows)
    return reshape(inv(reshape(a, (n, n))), (*columns, *rows))


@torch_spelling
def tensorsolve(a: Any, b: Any, axes: Sequence[int] | None = None) -> Any:
    """The x for which the sum of a x over x's axes is b; `axes` of a are moved to the end first."""
    a, b = shaped(a, "tensorsolve"), shaped(b, "tensorsolve")
    if axes is not None:
        axes = [axis_of("tensorsolve", a, axis) for axis in axes]
        a = moveaxis(a, axes, list(range(len(a.shape) - len(axes), len(a.shape))))
    shape, n = tuple(a.shape[len(b.shape) :]), math.prod(b.shape)
    if math.prod(shape) != n:
        raise ValueError(
            f"tensorsolve: a has shape {tuple(a.shape)} and b {tuple(b.shape)}; expected a to have the axes of b, then "
            "axes with as many entries"
        )
    return reshape(solve(reshape(a, (n, n)), reshape(b, (n,))), shape)


@builtin(in_float32="halves", autocast="float32")
def vander(x: Any, N: int | None = None) -> Any:
    """The Vandermonde matrix (…, n, N) of the powers 0 … N - 1 of vectors (…, n); N is n by default."""
    x = shaped(x, "vander")
    if not x.shape:
        raise ValueError("vander: x is a single number; expected a vector")
    x = x if is_float(x.dtype) else astype(x, "int64")
    count = x.shape[-1] if N is None else whole_number("vander", "N", N, 1)
    powers = [x * 0 + 1]
    for _ in range(count - 1):
        powers.append(multiply(powers[-1], x))
    return stack(powers[:count], -1)
