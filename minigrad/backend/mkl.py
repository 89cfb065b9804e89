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

SEQUENTIAL = 1                                  # MKL's name for: on the thread that calls


def path() -> Path | None:
    """The library, where pip puts it."""
    if os.environ.get("MINIGRAD_BLAS") == "numpy":
        return None
    linux, windows = Path(sys.prefix, "lib").glob("libmkl_rt.so.*"), Path(sys.prefix, "Library/bin").glob("mkl_rt.*.dll")
    return max([*linux, *windows], default=None)


@functools.cache
def function(name: str, *argtypes: type) -> Callable[..., None] | None:
    """A function of the library that returns nothing; None if MKL is not installed."""
    file = path()
    if file is None:
        return None
    library = ctypes.CDLL(str(file))
    library.MKL_Set_Threading_Layer(SEQUENTIAL)
    found = getattr(library, name)
    found.argtypes, found.restype = argtypes, None
    return found


def of_array(name: str) -> Callable[..., None] | None:
    """A function of an array (MKL's vector mathematics): f(how many, where they are, where to put the results)."""
    return function(name, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
