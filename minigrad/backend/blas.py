"""The matrix product on a CPU, C = A B or C += A B, by the BLAS that NumPy brought, or by MKL (mkl.py).

NumPy's own functions know only the first of the two.  BLAS is called as the C library it is: nothing is compiled.
"""
from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import numpy as np

from . import mkl

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112    # CBLAS's names for how matrices lie
F4 = np.dtype(np.float32)


def _openblas() -> tuple[Callable | None, type, Callable[[], int], Callable[[int], None]]:
    """OpenBLAS's product in float32, its type of integers, and the functions that get and set its number of threads.

    Where NumPy has another BLAS: no product, and two functions that do nothing.
    """
    library = ctypes.CDLL(np._core._multiarray_umath.__file__)                 # finds what it was linked to as well
    for start, end, integer in (("scipy_", "64_", ctypes.c_int64), ("", "64_", ctypes.c_int64), ("", "", ctypes.c_int)):
        if hasattr(library, f"{start}openblas_set_num_threads{end}"):
            product, *threads = (getattr(library, f"{start}{name}{end}") for name in (
                "cblas_sgemm", "openblas_get_num_threads", "openblas_set_num_threads"))
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


def gemm(a: np.ndarray, b: np.ndarray, out: np.ndarray, add: bool = False, threads: int = 1) -> None:
    """The product of two matrices into `out`, or added to what is there; on more threads than one only by MKL, if it can."""
    product, one, other = _product(threads), _layout(a), _layout(b)
    fits = a.shape[1] == b.shape[0] and out.shape == (a.shape[0], b.shape[1])  # a C library would not notice
    lies = out.strides[1] == 4 and out.strides[0] >= 4 * out.shape[1] and not out.strides[0] & 3
    pays = len(a) > 1 or product is not _numpys_product      # for one row OpenBLAS would copy all of b
    if product and one and other and fits and lies and pays and out.dtype is F4:
        product(ROW_MAJOR, one[0], other[0], *out.shape, a.shape[1], 1.0, *one[1:], *other[1:], float(add), out.ctypes.data,
                out.strides[0] >> 2)
    elif add:
        out += np.matmul(a, b)
    else:
        np.matmul(a, b, out=out)


def _layout(a: np.ndarray) -> tuple[int, int, int] | None:
    """How a matrix in float32 lies, where, and how far apart its rows are (or its columns); None if BLAS cannot read it."""
    rows, columns = a.strides
    if a.dtype is not F4 or not a.size or (rows | columns) & 3:                # (a field of records may lie at any byte)
        return None
    if columns == 4 and rows >= 4 * a.shape[1]:
        return PLAIN, a.ctypes.data, rows >> 2
    if rows == 4 and columns >= 4 * a.shape[0]:
        return TRANSPOSED, a.ctypes.data, columns >> 2
    return None


UNCOPIED = 10**6                                # multiplications for which OpenBLAS does not copy the matrices first


def times(weight: np.ndarray, rows: int, threads: int = 1) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The function that multiplies a matrix of so many rows by the weight, into `out`: it will be called again and again.

    For OpenBLAS the weight is cut into columns, few enough for it to multiply as they lie; else it copies all of it every time.
    More threads than one are MKL's.
    """
    if threads > 1:
        weight = np.ascontiguousarray(weight)

        def on_threads(a, out):
            gemm(a, weight, out, threads=threads)
            return out
        return on_threads
    inner, columns = weight.shape
    most = min(max(32, (1 << 14) // max(1, inner)), UNCOPIED // max(1, rows * inner))
    few = next((n for n in range(most, 15, -1) if columns % n == 0), columns)
    stack = np.ascontiguousarray(weight.reshape(inner, columns // few, few).swapaxes(0, 1))

    def product(a, out):
        np.matmul(a, stack, out=out.reshape(len(a), columns // few, few).swapaxes(0, 1))
        return out
    return product
