"""Intel's MKL, where it is installed (the extra `mkl`): products of matrices, on many processors quicker than NumPy's, and Φ.

It is called as the C library it is, and computes on the thread that calls, but for products too short to be shared out by ours.
MINIGRAD_BLAS=numpy keeps it from being used.
"""
from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

BY_OPENMP, SEQUENTIAL = 0, 1                    # MKL's names for what shares out a product: Intel's OpenMP, or nothing
ROW_MAJOR, PLAIN, TRANSPOSED, PACKED, SECOND = 101, 111, 112, 151, 162         # CBLAS's names: how matrices lie; which of two
F4 = np.dtype(np.float32)


def path() -> Path | None:
    """The library, where pip puts it; None if it is not to be used, or if NumPy uses it itself (conda's does)."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    if os.environ.get("MINIGRAD_BLAS") == "numpy" or "mkl" in blas:
        return None
    linux, windows = Path(sys.prefix, "lib").glob("libmkl_rt.so.*"), Path(sys.prefix, "Library/bin").glob("mkl_rt.*.dll")
    return max([*linux, *windows], default=None)


@functools.cache
def openmp() -> ctypes.CDLL | None:
    """Intel's OpenMP, whose threads wait for the next product without going to sleep; pip puts it beside MKL.

    On Linux only: elsewhere torch brings one as well, and a process may have but one.
    """
    file = Path(sys.prefix, "lib/libiomp5.so")
    try:
        return ctypes.CDLL(str(file)) if sys.platform == "linux" and path() is not None else None
    except OSError:
        return None


@functools.cache
def function(name: str, *argtypes: type, result: type | None = None) -> Callable | None:
    """A function of the library, which returns nothing unless a type is given; None if MKL is not installed, or damaged."""
    file = path()
    if file is None:
        return None
    try:
        library = ctypes.CDLL(str(file))
        library.MKL_Set_Threading_Layer(BY_OPENMP if openmp() is not None else SEQUENTIAL)
        found = getattr(library, name)
    except (OSError, AttributeError):
        return None
    found.argtypes, found.restype = argtypes, result
    return found


def _use() -> Callable[[int], int]:
    """Sets how many threads MKL has for what this thread calls; gives the number before.  (That of the process torch has too.)"""
    return function("MKL_Set_Num_Threads_Local", ctypes.c_int, result=ctypes.c_int)


@functools.cache
def on_this_thread(name: str, *argtypes: type) -> Callable[..., None] | None:
    """A function of the library that computes on the thread that calls it, and returns nothing."""
    found, use = function(name, *argtypes), _use()
    if found is None:
        return None

    def call(*arguments):
        before = use(1)
        try:
            found(*arguments)
        finally:
            use(before)
    return call


def of_array(name: str) -> Callable[..., None] | None:
    """A function of an array (MKL's vector mathematics): f(how many, where they are, where to put the results)."""
    return on_this_thread(name, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def times(weight: np.ndarray, lies: tuple[int, int, int], rows: int, threads: int) -> Callable | None:
    """f(a, out), which multiplies a matrix of so many rows by a weight in float32, laid down once as MKL's kernel reads it.

    `lies` says how the weight lies and where; more threads than one need `openmp`.
    """
    integer, number, array = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
    size = function("cblas_sgemm_pack_get_size", *[integer] * 4, result=ctypes.c_size_t)
    if size is None:
        return None
    pack = function("cblas_sgemm_pack", *[integer] * 6, number, array, integer, array)
    compute = function("cblas_sgemm_compute", *[integer] * 6, array, integer, array, integer, number, array, integer)
    use = _use()
    (inner, columns), (order, where, apart) = weight.shape, lies
    before = use(threads)                       # it is laid down for so many
    packed = np.empty(size(SECOND, rows, columns, inner), np.uint8)
    pack(ROW_MAJOR, SECOND, order, rows, columns, inner, 1.0, where, apart, packed.ctypes.data)
    use(before)
    if threads > 1:
        openmp().kmp_set_blocktime(1)           # how many ms its threads stay awake, which then keep ours from the cores

    def product(a, out):
        fits = a.shape == (rows, inner) and out.shape == (rows, columns)       # a C library would not notice
        if not (fits and a.dtype is out.dtype is F4 and a.strides[1] == out.strides[1] == 4
                and not (a.strides[0] | out.strides[0]) & 3):
            return np.matmul(a, weight, out=out)
        before = use(threads)
        try:
            compute(ROW_MAJOR, PLAIN, PACKED, rows, columns, inner, a.ctypes.data, a.strides[0] >> 2, packed.ctypes.data, columns,
                    0.0, out.ctypes.data, out.strides[0] >> 2)
        finally:
            use(before)
        return out
    return product
