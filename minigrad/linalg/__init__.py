"""Linear algebra under torch's and NumPy's names: `mg.linalg.solve(a, b)`.

Every function takes stacks of matrices (…, m, n), and has gradients of every order.  Where a gradient does not exist,
as for the eigenvectors of equal eigenvalues, a ValueError says so.
"""

from typing import TYPE_CHECKING, Any

from ..elsewhere import missing as _missing
from ..ops.diagonals import diagonal as _diagonal
from ..ops.linalg import matmul
from ..ops.products import cross as _cross
from ..ops.products import vecdot
from ..spelling import torch_spelling as _torch_spelling
from .factors import cholesky, eigh, eigvalsh, qr, svd, svdvals
from .functions import (
    cholesky_solve,
    lstsq,
    matrix_exp,
    matrix_power,
    matrix_rank,
    multi_dot,
    pinv,
    solve_triangular,
    tensorinv,
    tensorsolve,
    vander,
)
from .norms import cond, matrix_norm, norm, vector_norm
from .solving import det, inv, logdet, slogdet, solve

__all__ = [
    "cholesky",
    "cholesky_solve",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "logdet",
    "lstsq",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]


@_torch_spelling
def cross(a: Any, b: Any, axis: int = -1) -> Any:
    """`mg.cross` along the last axis by default, as in torch."""
    return _cross(a, b, axis)


@_torch_spelling
def diagonal(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Any:
    """`mg.diagonal` of the last two axes by default, as in torch."""
    return _diagonal(x, offset, axis1, axis2)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise _missing(__name__, name)
