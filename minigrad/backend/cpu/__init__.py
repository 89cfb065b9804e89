"""NumPy's answers: the CPU backend, always present."""
import ctypes
import functools
import os

import numpy

from .. import Backend, register, shared
from . import (
    arithmetic,
    attention,
    convolution,
    cores,
    half,
    index,
    layers,
    losses,
    memory,
    norm_pool,
    optimizers,
    products,
    recurrent,
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
table = (shared.table | products.table | layers.table | attention.table | losses.table | index.table | recurrent.table
         | convolution.table | norm_pool.table | optimizers.table | arithmetic.table)
host = register(Backend(
    name="cpu", xp=numpy, array=numpy.ndarray, to_numpy=memory.as_usual, erf=layers.erf,
    normal_cdf=functools.partial(shared.layers.normal_cdf, numpy), share=cores.share,
    kernels=table, half_kernels=half.made_from(table)))
