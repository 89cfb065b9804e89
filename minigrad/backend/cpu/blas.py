"""The matrix product on a CPU, C = A B or C += A B, by the BLAS that NumPy brought, or by MKL (mkl.py).

NumPy's own functions know only the first of the two.  BLAS is called as the C library it is: nothing is compiled.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from . import mkl

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112  # CBLAS's names for how matrices lie
F4 = np.dtype(np.float32)
MAX_UNCOPIED = 10**6  # multiplications up to which OpenBLAS does not copy b first
# Beyond that (bᵀ aᵀ)ᵀ is quicker, for at most this many rows of a and a transposed b with more rows and columns than
# this.
MAX_TURNED_ROWS, MIN_TURNED_WIDTH = 48, 96


def _openblas() -> tuple[Callable | None, type, Callable[[], int], Callable[[int], None]]:
    """OpenBLAS's product in float32, its type of integers, and the functions that get and set its number of threads.

    Where NumPy has another BLAS: no product, and two functions that do nothing.
    """
    extension = importlib.import_module("numpy._core._multiarray_umath")
    library = ctypes.CDLL(extension.__file__)  # its symbols include those of the libraries it is linked to
    for start, end, integer in (("scipy_", "64_", ctypes.c_int64), ("", "64_", ctypes.c_int64), ("", "", ctypes.c_int)):
        if hasattr(library, f"{start}openblas_set_num_threads{end}"):
            product, *threads = (
                getattr(library, f"{start}{name}{end}")
                for name in ("cblas_sgemm", "openblas_get_num_threads", "openblas_set_num_threads")
            )
            return product, integer, *threads
    return None, ctypes.c_int, lambda: 1, lambda threads: None


_numpys_product, _integer, get_blas_threads, set_blas_threads = _openblas()


def _arguments(size: type) -> list[type]:
    """The types of sgemm's arguments."""
    number, array = ctypes.c_float, ctypes.c_void_p
    return [*[ctypes.c_int] * 3, *[size] * 3, number, array, size, array, size, number, array, size]


@functools.cache
def _product(threads: int = 1) -> Callable | None:
    """CBLAS's sgemm, on so many threads if MKL has it; None if there is none to be had."""
    if _numpys_product is None:
        return None
    _numpys_product.argtypes, _numpys_product.restype = _arguments(_integer), None
    return mkl.on_threads(threads, "cblas_sgemm", *_arguments(ctypes.c_int)) or _numpys_product


def address() -> int:
    """Where OpenBLAS's `cblas_sgemm` lies in memory, for compiled loops; 0 where NumPy has another BLAS."""
    product: Any = _numpys_product
    return 0 if product is None else ctypes.cast(product, ctypes.c_void_p).value or 0


def gemm(a: np.ndarray, b: np.ndarray, out: np.ndarray, add: bool = False, threads: int = 1) -> None:
    """The product of two matrices into `out`, or added to what is there.

    On more threads than one only by MKL, if it can.
    """
    product, one, other = _product(threads), _layout(a), _layout(b)
    fits = a.shape[1] == b.shape[0] and out.shape == (a.shape[0], b.shape[1])  # a C library would not notice
    lies = out.strides[1] == 4 and out.strides[0] >= 4 * out.shape[1] and not out.strides[0] & 3
    # One column NumPy multiplies quicker, by gemv; one row quicker than OpenBLAS, which would copy all of b.
    pays = out.shape[1] > 1 and (len(a) > 1 or product is not _numpys_product)
    if not (product and one and other and fits and lies and pays and out.dtype is F4):
        if add:
            out += np.matmul(a, b)
        else:
            np.matmul(a, b, out=out)
    elif (
        product is _numpys_product
        and other[0] == TRANSPOSED
        and len(a) <= MAX_TURNED_ROWS
        and min(b.shape) > MIN_TURNED_WIDTH
        and len(a) * b.size > MAX_UNCOPIED
    ):
        turned = np.empty(out.shape[::-1], F4)
        gemm(b.T, np.ascontiguousarray(a.T), turned)
        if add:
            out += turned.T
        else:
            out[...] = turned.T
    else:
        product(
            ROW_MAJOR,
            one[0],
            other[0],
            *out.shape,
            a.shape[1],
            1.0,
            *one[1:],
            *other[1:],
            float(add),
            out.ctypes.data,
            out.strides[0] >> 2,
        )


def _layout(a: np.ndarray) -> tuple[int, int, int] | None:
    """How a matrix in float32 lies, where, and how far apart its rows are (or its columns).

    None if BLAS cannot read it.
    """
    (m, n), (rows, columns) = a.shape, a.strides
    if a.dtype is not F4 or not a.size or (rows | columns) & 3:  # (a field of records may lie at any byte)
        return None
    # An axis of one may have any stride, as that which NumPy gives a new axis; it is told as if there were no gap.
    rows, columns = 4 * n if m == 1 else rows, 4 * m if n == 1 else columns
    if (columns == 4 or n == 1) and rows >= 4 * n:
        return PLAIN, a.ctypes.data, rows >> 2
    if (rows == 4 or m == 1) and columns >= 4 * m:
        return TRANSPOSED, a.ctypes.data, columns >> 2
    return None
