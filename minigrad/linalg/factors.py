"""Matrix decompositions: Cholesky, QR, singular values, and eigenvalues of symmetric matrices.

An op has one result, so the factors of a matrix are stacked in one array, from which they are sliced.  The derivative
rules are those of Giles (2008, "An extended collection of matrix derivative results") and Townsend (2016,
"Differentiating the singular value decomposition").  A matrix with a NaN or an infinity raises ValueError.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..builtin import builtin
from ..ops.arithmetic import where
from ..ops.diagonals import diag_embed
from ..ops.linalg import matmul
from ..ops.shape import check_flags, concatenate, expand_dims, tril
from ..primitive import primitive
from ..tensor import Tensor, as_array, shaped
from .solving import _solve, check_finite, square, transposed


def matrices(op: str, x: Any) -> Any:
    """x as a Tensor.  Raises ValueError unless it has at least two axes."""
    x = shaped(x, op)
    if len(x.shape) < 2:
        raise ValueError(f"{op}: x has shape {tuple(x.shape)}; expected matrices (…, m, n)")
    return x


def _row(x):
    return expand_dims(x, -2)


def _column(x):
    return expand_dims(x, -1)


def _times(x, s):
    """x diag(s)."""
    return x * _row(s)


def _inverse(op, gaps, wanted, why):
    """1 / gaps, and 0 where a gap is 0 up to rounding; `wanted`, which it will multiply, must be 0 there.

    Raises:
        ValueError: `wanted` is not 0 there, so the gradient does not exist.
    """
    need, values = as_array(wanted), as_array(gaps)
    xp = backend.of(values).xp
    noise = 8 * float(np.finfo(values.dtype).eps)
    size = xp.abs(values).max() if values.size else 0
    closed = xp.abs(values) <= noise * size * values.shape[-1]
    missed = closed & (xp.abs(need) > 64 * noise * (xp.abs(need).max() if need.size else 0))
    if bool(missed.any()) or isinstance(wanted, Tensor) and wanted.requires_grad and bool(closed.any()):
        raise ValueError(f"{op}: {why}, so there is no such gradient")
    return where(closed, 0, 1 / where(closed, 1, gaps))


def _between(op, values, wanted, why):
    """1 / (values[j] - values[i]), with 0 on the diagonal."""
    gaps = _row(values) - _column(values)
    n = gaps.shape[-1]
    off = backend.of(as_array(gaps)).xp.eye(n, dtype=bool)
    far = as_array(values)
    largest = backend.of(far).xp.abs(far).max() if far.size else 0
    inverse = _inverse(op, where(off, largest + (largest == 0), gaps), where(off, 0, wanted), why)
    return where(off, 0, inverse)


def cholesky(x: Any, *, upper: bool = False) -> Any:
    """The lower triangular L with positive diagonal for which L Lᵀ = x, or Lᵀ, if `upper`.

    x is symmetric and positive definite; only its lower triangle is read.  The gradient is symmetric.

    Raises:
        ValueError: x is not positive definite.
    """
    check_flags("cholesky", upper=upper)
    y = _cholesky(square("cholesky", x))
    return transposed(y) if upper else y


@builtin(name="cholesky", in_float32="halves and integers", autocast="float32")
@primitive
def _cholesky(xp, x, /):
    check_finite(xp.tril(x), "factors")
    try:
        with backend.of(x).refusing():
            return xp.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        raise ValueError("the matrix is not positive definite: try x + eps · mg.eye(n) with a small eps") from None


def _of_cholesky(g, y):
    inner = tril(matmul(transposed(y), g))
    eye = backend.of(as_array(y)).xp.eye(y.shape[-1], dtype=y.dtype)
    inner = inner * (1 - eye / 2)
    half = _solve(transposed(y), transposed(_solve(transposed(y), inner)))
    return (half + transposed(half)) / 2


_cholesky.defvjp(x=_of_cholesky)
_cholesky.in_symbols(x="y⁻ᵀ Φ(yᵀ g) y⁻¹, made symmetric, where Φ halves the diagonal of the lower triangle")


class QR(NamedTuple):
    """Q with orthonormal columns, and an upper triangular R."""

    Q: Any
    R: Any


def qr(x: Any, mode: str = "reduced") -> QR:
    """(Q, R) with Q R = x, Q (…, m, k) with orthonormal columns, R (…, k, n) upper triangular, k = min(m, n).

    With mode="complete" Q is (…, m, m); its gradient exists only if m <= n.

    Raises:
        ValueError: the mode is unknown; or, in the backward pass, the first k columns are linearly dependent.
    """
    x = matrices("qr", x)
    m, n = x.shape[-2:]
    if mode not in ("reduced", "complete"):
        raise ValueError(f'qr: mode={mode!r} is not known: type "reduced" or "complete"')
    if mode == "complete" and m > n:
        if isinstance(x, Tensor) and x.requires_grad:
            raise ValueError(f'qr: with more rows than columns, {tuple(x.shape)}, only mode="reduced" has a gradient')
        check_finite(as_array(x), "factors")
        parts = backend.of(as_array(x)).xp.linalg.qr(as_array(x), "complete")
        return QR(*(Tensor(part) if isinstance(x, Tensor) else part for part in parts))
    if m < n:
        q, r = qr(x[..., :m])
        return QR(q, concatenate([r, matmul(transposed(q), x[..., m:])], -1))
    packed = _qr(x)
    return QR(packed[..., :m, :], transposed(packed[..., m:, :]))


@builtin(name="qr", in_float32="halves and integers", autocast="float32")
@primitive
def _qr(xp, x, /):
    """Q and Rᵀ, stacked along the rows."""
    check_finite(x, "factors")
    q, r = xp.linalg.qr(x)
    return xp.concatenate([q, xp.swapaxes(r, -1, -2)], axis=-2)


def _of_qr(g, y):
    m = y.shape[-2] - y.shape[-1]
    q, r, gq, gr = y[..., :m, :], transposed(y[..., m:, :]), g[..., :m, :], transposed(g[..., m:, :])
    bare = abs(as_array(r)).diagonal(0, -2, -1)
    if bare.size and bool((bare.min(-1) <= 8 * np.finfo(bare.dtype).eps * bare.max(-1)).any()):
        raise ValueError("qr: the columns are linearly dependent, so there is no gradient")
    inner = matmul(r, transposed(gr)) - matmul(transposed(gq), q)
    inner = tril(inner) + transposed(tril(inner, -1))
    return transposed(_solve(r, transposed(gq + matmul(q, inner))))


_qr.defvjp(x=_of_qr)
_qr.in_symbols(x="(gQ + Q M) R⁻ᵀ, with M the symmetric matrix of the lower triangle of R gRᵀ - gQᵀ Q")


class SVD(NamedTuple):
    """Left singular vectors, singular values, and the transposed right singular vectors."""

    U: Any
    S: Any
    Vh: Any


def svd(x: Any, full_matrices: bool = True) -> SVD:
    """(U, S, Vh) with U diag(S) Vh = x: U (…, m, k), S (…, k) in descending order, Vh (…, k, n), k = min(m, n).

    With `full_matrices` U is (…, m, m) and Vh (…, n, n); no gradient flows through the added vectors, as in torch.

    Raises:
        ValueError: the backward pass needs gradients of singular vectors whose singular values are equal or 0.
    """
    check_flags("svd", full_matrices=full_matrices)
    x = matrices("svd", x)
    m, n = x.shape[-2:]
    packed, k = _svd(x), min(m, n)
    u, s, v = packed[..., :m, :], packed[..., m, :], packed[..., m + 1 :, :]
    if full_matrices and m != n:
        full = backend.of(as_array(x)).xp.linalg.svd(as_array(x))
        more = [full[0][..., k:], backend.of(full[2]).xp.swapaxes(full[2], -1, -2)[..., k:]]
        u, v = (concatenate([part, rest], -1) if rest.shape[-1] else part for part, rest in zip((u, v), more))
    return SVD(u, s, transposed(v))


@builtin(name="svd", in_float32="halves and integers", autocast="float32")
@primitive
def _svd(xp, x, /):
    """U, S and V, stacked along the rows."""
    check_finite(x, "singular values")
    with backend.of(x).refusing():
        u, s, v = xp.linalg.svd(x, full_matrices=False)
    return xp.concatenate([u, s[..., None, :], xp.swapaxes(v, -1, -2)], axis=-2)


def _of_svd(g, y, x_shape):
    m, n = x_shape[-2:]
    (u, s, v), (gu, gs, gv) = ((p[..., :m, :], p[..., m, :], p[..., m + 1 :, :]) for p in (y, g))
    turned_u, turned_v = (matmul(transposed(a), ga) for a, ga in ((u, gu), (v, gv)))
    skew_u, skew_v = (t - transposed(t) for t in (turned_u, turned_v))
    why = "two singular values are equal, so their vectors are not unique"
    core = diag_embed(gs)
    core = core + _times(_between("svd", s * s, skew_u, why) * skew_u, s)
    core = core + _column(s) * (_between("svd", s * s, skew_v, why) * skew_v)
    gx = matmul(matmul(u, core), transposed(v))
    zero = "a singular value is 0, so its vectors are not unique"
    if m > s.shape[-1]:  # the part of the gradient that is orthogonal to the columns of u
        rest = gu - matmul(u, turned_u)
        gx = gx + matmul(_over("svd", rest, s, zero), transposed(v))
    if n > s.shape[-1]:
        rest = gv - matmul(v, turned_v)
        gx = gx + matmul(u, transposed(_over("svd", rest, s, zero)))
    return gx


def _over(op, x, s, why):
    """x diag(1 / s)."""
    return x * _inverse(op, _row(s) + 0 * as_array(x), x, why)


_svd.defvjp(x=_of_svd)
_svd.in_symbols(x="U (diag(gS) + (F (Uᵀ gU - gUᵀ U)) S + S (F (Vᵀ gV - gVᵀ V))) Vᵀ + …, with F = 1 / (sⱼ² - sᵢ²)")


def svdvals(x: Any) -> Any:
    """The singular values in descending order, the S of `svd`."""
    return svd(x, full_matrices=False).S


class Eigh(NamedTuple):
    """Eigenvalues in ascending order, and the eigenvectors as columns."""

    eigenvalues: Any
    eigenvectors: Any


def eigh(x: Any, UPLO: str = "L") -> Eigh:
    """The eigenvalues (…, n), in ascending order, and orthonormal eigenvectors, as columns (…, n, n), of symmetric x.

    Only the lower triangle is read, or with UPLO="U" the upper one.  The gradient is symmetric.

    Raises:
        ValueError: UPLO is another letter; or the backward pass needs gradients of eigenvectors of equal eigenvalues.
    """
    if UPLO not in ("L", "U"):
        raise ValueError(f'eigh: UPLO={UPLO!r} is not known: type "L" or "U", the triangle that is read')
    packed = _eigh(square("eigh", x), UPLO)
    return Eigh(packed[..., 0, :], packed[..., 1:, :])


@builtin(name="eigh", in_float32="halves and integers", autocast="float32")
@primitive
def _eigh(xp, x, /, UPLO):
    """The eigenvalues and the eigenvectors, stacked along the rows."""
    check_finite(xp.tril(x) if UPLO == "L" else xp.triu(x), "eigenvalues")
    with backend.of(x).refusing():
        w, v = xp.linalg.eigh(x, UPLO)
    return xp.concatenate([w[..., None, :], v], axis=-2)


def _of_eigh(g, y):
    w, v, gw, gv = y[..., 0, :], y[..., 1:, :], g[..., 0, :], g[..., 1:, :]
    turned = matmul(transposed(v), gv)
    skew = (turned - transposed(turned)) / 2
    f = _between("eigh", w, skew, "two eigenvalues are equal, so their vectors are not unique")
    return matmul(matmul(v, diag_embed(gw) + f * skew), transposed(v))


_eigh.defvjp(x=_of_eigh)
_eigh.in_symbols(x="V (diag(gw) + F (Vᵀ gV - gVᵀ V) / 2) Vᵀ, with F = 1 / (wⱼ - wᵢ)")


def eigvalsh(x: Any, UPLO: str = "L") -> Any:
    """The eigenvalues of symmetric matrices, in ascending order; see `eigh`."""
    return eigh(x, UPLO).eigenvalues
