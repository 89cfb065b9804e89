"""Kernels as compiled loops, where numba is installed: the extra `fast`.  MINIGRAD_LOOPS=0 does without.

A file here has the name of the file in shared/ that says the same in whole arrays, and of the one in cuda/ that says it
for a GPU.  It imports numba, which takes a third of a second, and so is imported when a kernel is first asked for.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from ... import Kernel
from .. import cores


@functools.cache
def available() -> bool:
    """Whether kernels are compiled."""
    return os.environ.get("MINIGRAD_LOOPS") != "0" and find_spec("numba") is not None


def first(file: str, name: str, fits: Callable[..., bool], otherwise: Kernel, generic: Kernel) -> Kernel:
    """The kernel `name` of a file here, for inputs that fit; `generic` for the others.  Without numba, `otherwise`.

    What is saved begins with the kernel that ran.
    """

    @functools.cache
    def kernels() -> tuple[Kernel, Kernel]:
        return (import_module(f".{file}", __name__).table[name], generic) if available() else (otherwise, otherwise)

    def forward(xp: Any, *arguments: Any) -> tuple:
        kernel = kernels()[not fits(*arguments)]
        y, saved = kernel.forward(xp, *arguments)
        return y, (kernel, saved)

    def backward(xp: Any, g: Any, saved: tuple, wanted: Any, *options: Any) -> Any:
        kernel, saved = saved
        return kernel.backward(xp, g, saved, wanted, *options)

    return Kernel(forward, backward)


def is_float32(x: np.ndarray, *rest: Any) -> bool:
    """What loops are written for; all else is left to the forms in shared/."""
    return x.dtype == np.float32 and x.size > 0


def by_core(work: Callable, *arrays: np.ndarray) -> list:
    """[work(some rows of each array)]: an equal part for each core, if there is enough to do."""
    if arrays[0].size < cores.MIN_SHARED:
        return [work(*arrays)]
    parts = cores.evenly(len(arrays[0]), len(arrays[0]), cores.CORES)
    return cores.share(lambda part: work(*(array[part] for array in arrays)), parts)
