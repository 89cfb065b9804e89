"""The CPU backend, which is always present: its kernels, and the settings that it changes in the process.

On import, the C library is told to keep the memory of freed arrays.  (`import minigrad` also makes the threads of
NumPy's BLAS go to sleep sooner.)  MINIGRAD_KEEP_PROCESS=1 in the environment leaves both unchanged.
"""

import ctypes
import functools
import os

import numpy

from .. import shared
from ..record import Backend
from . import arithmetic, attention, cores, half, index, layers, loops, memory, optimizers, products


def keep_freed_memory() -> None:
    """Make the C library keep the memory of freed arrays, up to 2 GB, for new ones.

    Otherwise every large array is returned to the system when it is freed, and the pages of the next one are mapped and
    cleared again, which takes a tenth of a training step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


if os.environ.get("MINIGRAD_KEEP_PROCESS") != "1":
    keep_freed_memory()
table = (
    shared.table | products.table | layers.table | attention.table | index.table | optimizers.table | arithmetic.table
)
table |= loops.instead_of(table)
host = Backend(
    name="cpu",
    xp=numpy,
    array=numpy.ndarray,
    to_numpy=numpy.asarray,
    erf=layers.erf,
    normal_cdf=functools.partial(shared.layers.normal_cdf, numpy),
    share=cores.share,
    kernels=table,
    synchronous=True,
    max_unfolded=1 << 18,  # about the size of a core's cache
    half_kernels=half.made_from(table),
)
