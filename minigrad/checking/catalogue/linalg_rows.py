"""Rows of linear algebra.  Ops that need a symmetric matrix are given the symmetric part of x."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ... import linalg
from ...linalg import factors, solving
from .rows import Row, drawn_from

R, _ = drawn_from(3)


def even(x):
    """The symmetric part of an array or Tensor x, so that an op that reads one triangle depends on both."""
    return (x + x.swapaxes(-1, -2)) / 2


def packed(*parts):
    """Matrices, and vectors as rows, below one another."""
    return np.concatenate([part if part.ndim == 3 else part[:, None] for part in parts], 1)


def qr(x):
    q, r = np.linalg.qr(x)
    return packed(q, r.swapaxes(1, 2))


def svd(x):
    u, s, v = np.linalg.svd(x, full_matrices=False)
    return packed(u, s, v.swapaxes(1, 2))


def matrix_exp(x):
    """The Taylor series."""
    y = term = np.zeros_like(x) + np.eye(x.shape[-1])
    for k in range(1, 60):
        term = term @ x / k
        y = y + term
    return y


A = R(2, 3, 3) + 3 * np.eye(3)
S = A @ A.swapaxes(1, 2)
S = (S + S.swapaxes(1, 2)) / 2

norm: Any = np.linalg.norm  # whose type stubs do not accept a union of the orders


def of_matrices(p):
    return Row("matrix_norm", lambda x: linalg.matrix_norm(x, p), (R(2, 4, 3),), partial(norm, ord=p, axis=(1, 2)))


SOLVED = [  # ops that need LAPACK, or cuSOLVER on a GPU
    Row("solve", linalg.solve, (A, R(2, 3, 2)), np.linalg.solve, (0, 1)),
    Row("inv", linalg.inv, (A,), np.linalg.inv),
    Row("det", linalg.det, (A,), np.linalg.det),
    Row(
        "cofactors",
        solving._cofactors,
        (A,),
        lambda x: np.linalg.det(x)[..., None, None] * np.linalg.inv(x).swapaxes(-1, -2),
    ),
    Row("slogdet", lambda x: linalg.slogdet(x).logabsdet, (A,), lambda x: np.linalg.slogdet(x)[1]),
    Row("sign_of_determinant", lambda x: linalg.slogdet(x).sign, (A,), lambda x: np.linalg.slogdet(x)[0]),
    Row("logdet", lambda x: linalg.logdet(even(x)), (S,), lambda x: np.log(np.linalg.det(even(x)))),
    Row("cholesky", lambda x: linalg.cholesky(even(x)), (S,), lambda x: np.linalg.cholesky(even(x))),
    Row("qr", factors._qr, (R(2, 4, 3),), qr),
    Row("svd", factors._svd, (R(2, 4, 3),), svd),
    Row("svd", factors._svd, (R(2, 3, 4),), svd),
    Row("svdvals", linalg.svdvals, (R(2, 3, 3),), lambda x: np.linalg.svd(x)[1]),
    Row("eigh", lambda x: factors._eigh(even(x), "L"), (S,), lambda x: packed(*np.linalg.eigh(even(x)))),
    Row("eigvalsh", lambda x: linalg.eigvalsh(even(x)), (S,), lambda x: np.linalg.eigvalsh(even(x))),
    Row("pinv", linalg.pinv, (R(2, 4, 3),), np.linalg.pinv),
    Row("lstsq", lambda a, b: linalg.lstsq(a, b).solution, (R(4, 3), R(4)), lambda a, b: np.linalg.lstsq(a, b)[0], ()),
    Row(
        "solve_triangular",
        lambda a, b: linalg.solve_triangular(a, b, upper=True),
        (A, R(2, 3, 2)),
        lambda a, b: np.linalg.solve(np.triu(a), b),
        (0, 1),
    ),
    Row("matrix_power", lambda x: linalg.matrix_power(x, -2), (A,), lambda x: np.linalg.matrix_power(x, -2)),
    Row("cond", linalg.cond, (A,), np.linalg.cond),
    *[of_matrices(p) for p in ("nuc", 2, -2)],
]
ROWS = [
    *SOLVED,
    Row("matrix_power", lambda x: linalg.matrix_power(x, 3), (R(2, 3, 3),), lambda x: np.linalg.matrix_power(x, 3)),
    Row("matrix_exp", linalg.matrix_exp, (R(2, 3, 3) / 2,), matrix_exp),
    Row("multi_dot", lambda *xs: linalg.multi_dot(xs), (R(2, 3), R(3, 4), R(4)), lambda *xs: np.linalg.multi_dot(xs)),
    Row("vector_norm", lambda x: linalg.vector_norm(x, 3, 1), (R(2, 3),), lambda x: np.linalg.norm(x, 3, 1)),
    *[of_matrices(p) for p in ("fro", 1, -np.inf)],
    Row("vander", lambda x: linalg.vander(x, 4), (R(2, 3),), lambda x: x[..., None] ** np.arange(4)),
]
