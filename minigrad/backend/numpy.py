"""NumPy's answers: the CPU backend, always present."""
import ctypes
import os

import numpy

from . import (
    Backend,
    attention_kernels,
    convolution_kernels,
    cores,
    half,
    images,
    kernels,
    numpy_kernels,
    products,
    recurrent_numpy,
    register,
    vision_kernels,
)


def keep_freed_memory() -> None:
    """Ask the C library to keep the memory of freed arrays, however large, for the next ones (as long as 2 GB lie idle at most).

    Else each goes back to the system, and the next one's pages are fetched and cleared anew: a tenth of a training step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


keep_freed_memory()
table = (kernels.table | products.table | numpy_kernels.table | attention_kernels.table | recurrent_numpy.table
         | convolution_kernels.table | vision_kernels.table)
cpu = register(Backend(
    name="cpu", xp=numpy, array=numpy.ndarray, to_numpy=images.as_usual, erf=numpy_kernels.erf, share=cores.share,
    kernels=table, half_kernels=half.made_from(table)))
