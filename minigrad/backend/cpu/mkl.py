"""Intel's MKL, if it is installed (the extra `mkl`): matrix products, faster than NumPy's on many processors.

It is called as a C library and computes on the calling thread, except for products too small for our own threads.
MINIGRAD_BLAS=numpy disables it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

SEQUENTIAL, BY_TBB = 1, 4  # MKL's numbers for its threading layers: none, or TBB


def path() -> Path | None:
    """The library, as pip installs it; None if it is disabled, or if NumPy uses it itself (as conda's does)."""
    linux, windows = (
        Path(sys.prefix, "lib").glob("libmkl_rt.so.*"),
        Path(sys.prefix, "Library/bin").glob("mkl_rt.*.dll"),
    )
    file = max([*linux, *windows], default=None)
    if file is None or os.environ.get("MINIGRAD_BLAS") == "numpy":
        return None
    return None if "mkl" in np.show_config(mode="dicts")["Build Dependencies"].get("blas", {}).get("name", "") else file


@functools.cache
def tbb() -> ctypes.CDLL | None:
    """TBB, MKL's threading layer, whose threads stay awake for a while; MKL does not find it where pip installs it.

    (MKL's other layer, OpenMP, occasionally gives wrong products in a process in which torch has loaded an OpenMP of
    its own.)
    """
    file = Path(sys.prefix, "lib/libtbb.so.12")
    try:
        return ctypes.CDLL(str(file)) if sys.platform == "linux" and path() is not None else None
    except OSError:
        return None


@functools.cache
def function(name: str, *argtypes: type, result: type | None = None) -> Callable | None:
    """A function of the library, which returns nothing unless a type is given.

    None if MKL is not installed, or damaged.
    """
    file = path()
    if file is None:
        return None
    try:
        library = ctypes.CDLL(str(file))
        library.MKL_Set_Threading_Layer(BY_TBB if tbb() is not None else SEQUENTIAL)
        found = getattr(library, name)
    except (OSError, AttributeError):
        return None
    found.argtypes, found.restype = argtypes, result
    return found


@functools.cache
def on_threads(threads: int, name: str, *argtypes: type) -> Callable[..., None] | None:
    """A function of the library that computes on `threads` threads, including the calling one, and returns nothing.

    The number is set for each call, since torch also sets MKL's number of threads for the process.
    """
    found, use = function(name, *argtypes), function("MKL_Set_Num_Threads_Local", ctypes.c_int, result=ctypes.c_int)
    if found is None or use is None:
        return None

    def call(*arguments):
        before = use(threads)
        try:
            found(*arguments)
        finally:
            use(before)

    return call
