"""Intel's MKL, where it is installed (the extra `mkl`): products of matrices, on many processors quicker than NumPy's, and Φ.

It is called as the C library it is, by the thread that wants something computed.  MINIGRAD_BLAS=numpy keeps it from being used.
"""
from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

SEQUENTIAL = 1                                  # MKL's name for: on the thread that calls
ROW_MAJOR, PLAIN, TRANSPOSED, PACKED, SECOND = 101, 111, 112, 151, 162         # CBLAS's names: how matrices lie; which of two
F4 = np.dtype(np.float32)


def path() -> Path | None:
    """The library, where pip puts it."""
    if os.environ.get("MINIGRAD_BLAS") == "numpy":
        return None
    linux, windows = Path(sys.prefix, "lib").glob("libmkl_rt.so.*"), Path(sys.prefix, "Library/bin").glob("mkl_rt.*.dll")
    return max([*linux, *windows], default=None)


@functools.cache
def function(name: str, *argtypes: type, result: type | None = None) -> Callable | None:
    """A function of the library, which returns nothing unless a type is given; None if MKL is not installed."""
    file = path()
    if file is None:
        return None
    library = ctypes.CDLL(str(file))
    library.MKL_Set_Threading_Layer(SEQUENTIAL)
    found = getattr(library, name)
    found.argtypes, found.restype = argtypes, result
    return found


def of_array(name: str) -> Callable[..., None] | None:
    """A function of an array (MKL's vector mathematics): f(how many, where they are, where to put the results)."""
    return function(name, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def times(weight: np.ndarray, rows: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """f(a, out), which multiplies a matrix of so many rows by a weight in float32, laid down once as MKL's kernel reads it."""
    integer, number, array = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
    size = function("cblas_sgemm_pack_get_size", *[integer] * 4, result=ctypes.c_size_t)
    if size is None:
        return None
    pack = function("cblas_sgemm_pack", *[integer] * 6, number, array, integer, array)
    compute = function("cblas_sgemm_compute", *[integer] * 6, array, integer, array, integer, number, array, integer)
    weight, (inner, columns) = np.ascontiguousarray(weight), weight.shape
    packed = np.empty(size(SECOND, rows, columns, inner), np.uint8)
    pack(ROW_MAJOR, SECOND, PLAIN, rows, columns, inner, 1.0, weight.ctypes.data, columns, packed.ctypes.data)

    def product(a, out):
        if not (a.dtype is out.dtype is F4 and a.shape == (rows, inner) and a.strides[1] == out.strides[1] == 4):
            return np.matmul(a, weight, out=out)             # a C library would not notice
        compute(ROW_MAJOR, PLAIN, PACKED, rows, columns, inner, a.ctypes.data, a.strides[0] >> 2, packed.ctypes.data, columns,
                0.0, out.ctypes.data, out.strides[0] >> 2)
        return out
    return product
