"""The matrix product on a CPU, C = A B or C += A B, by the BLAS of NumPy, or by MKL (mkl.py).

NumPy itself offers only the first.  BLAS is called directly as a C library, so nothing is compiled.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from . import mkl

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112  # CBLAS's constants for the layout of matrices
F4 = np.dtype(np.float32)
MIN_OWN, MIN_OWN_SIDE = 1 << 20, 32  # multiplications, and rows and columns, from which our own product pays
MAX_UNCOPIED = 10**6  # multiplications up to which OpenBLAS does not copy b first
# Beyond that (bᵀ aᵀ)ᵀ is faster, if b is transposed, a has at most MAX_TURNED_ROWS rows, and b has more than
# MIN_TURNED_WIDTH rows and columns.
MAX_TURNED_ROWS, MIN_TURNED_WIDTH = 48, 96


def _openblas() -> tuple[Callable | None, type, Callable[[], int], Callable[[int], None]]:
    """OpenBLAS's product in float32, its type of integers, and the functions that get and set its number of threads.

    If NumPy has another BLAS: no product, and two functions without effect.
    """
    extension = importlib.import_module("numpy._core._multiarray_umath")
    library = ctypes.CDLL(extension.__file__)  # its symbols include those of the libraries linked to it
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
    """CBLAS's sgemm, on this number of threads if it is MKL's; None if there is none."""
    if _numpys_product is None:
        return None
    _numpys_product.argtypes, _numpys_product.restype = _arguments(_integer), None
    return mkl.on_threads(threads, "cblas_sgemm", *_arguments(ctypes.c_int)) or _numpys_product


@functools.cache
def own() -> Callable | None:
    """The product as a compiled loop, on processors where it is faster than BLAS."""
    from . import loops  # which imports this file

    if not loops.available():
        return None
    products = importlib.import_module(".loops.products", __package__)
    return products.product if products.PAYS else None


def is_own(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the product of two matrices is large enough for `own`, and there is one."""
    return min(len(a), b.shape[1]) >= MIN_OWN_SIDE and len(a) * b.size >= MIN_OWN and own() is not None


def address() -> int:
    """The address of OpenBLAS's `cblas_sgemm`, for compiled loops; 0 if NumPy has another BLAS."""
    product: Any = _numpys_product
    return 0 if product is None else ctypes.cast(product, ctypes.c_void_p).value or 0


def gemm(a: np.ndarray, b: np.ndarray, out: np.ndarray, add: bool = False, threads: int = 1) -> None:
    """Write the product of two matrices into `out`, or add it to `out`.

    More than one thread is used only if MKL computes the product.
    """
    product, one, other = _product(threads), _layout(a), _layout(b)
    fits = a.shape[1] == b.shape[0] and out.shape == (a.shape[0], b.shape[1])  # a C library would not notice
    lies = out.strides[1] == 4 and out.strides[0] >= 4 * out.shape[1] and not out.strides[0] & 3
    # NumPy is faster for one column, by gemv, and for one row, for which OpenBLAS would copy all of b.
    pays = out.shape[1] > 1 and (len(a) > 1 or product is not _numpys_product)
    if not (product and one and other and fits and lies and pays and out.dtype is F4):
        if add:
            out += np.matmul(a, b)
        else:
            np.matmul(a, b, out=out)
    elif is_own(a, b):
        (a_row, a_step), (b_row, b_step) = ((row, 1) if way == PLAIN else (1, row) for way, _, row in (one, other))
        into, size = (out.ctypes.data, out.strides[0] >> 2), (*out.shape, a.shape[1])
        cast(Callable, own())(*size, one[1], a_row, a_step, other[1], b_row, b_step, *into, int(add))
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
    """The layout of a float32 matrix, its address, and the distance between its rows (or columns) in entries.

    None if BLAS cannot read it.
    """
    (m, n), (rows, columns) = a.shape, a.strides
    if a.dtype is not F4 or not a.size or (rows | columns) & 3:  # a field of a record array may have any stride
        return None
    # An axis of length one may have any stride; BLAS is given that of a contiguous matrix.
    rows, columns = 4 * n if m == 1 else rows, 4 * m if n == 1 else columns
    if (columns == 4 or n == 1) and rows >= 4 * n:
        return PLAIN, a.ctypes.data, rows >> 2
    if (rows == 4 or m == 1) and columns >= 4 * m:
        return TRANSPOSED, a.ctypes.data, columns >> 2
    return None
