"""Asynchronous validity checks on the GPU: nothing waits for them, and a failure is raised when the host next waits.

Each check has a flag in host memory, which the device writes to.  Copying a value to the host waits for all work that
was launched before, the checks included, and then reads the flags.  With CUDA_LAUNCH_BLOCKING=1, CUDA's own variable,
every check waits for its answer, so that the error comes from the line that is wrong.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

import numpy as np

from ..record import Array

MAX_PENDING = 1024  # checks after which the host waits for their results


class Watch:
    """The checks made on one stream, whose work is done in order."""

    def __init__(self):
        import cupy

        self.memory = cupy.cuda.alloc_pinned_memory(MAX_PENDING)  # of the host, and the device can write to it
        self.flags = np.frombuffer(self.memory, np.uint8, MAX_PENDING)
        self.flags[:] = 0
        unowned = cupy.cuda.UnownedMemory(self.memory.ptr, MAX_PENDING, self.memory, cupy.cuda.runtime.getDevice())
        self.on_device = cupy.ndarray(MAX_PENDING, cupy.uint8, cupy.cuda.MemoryPointer(unowned, 0))
        self.refusals: list[Callable[[], None]] = []  # those whose flags were not looked at yet

    def settle(self) -> None:
        """Raise the error of the first failed check, if any; called after the host has waited."""
        refusals, self.refusals = self.refusals, []
        if refusals and self.flags.any():
            first = int(self.flags.argmax())
            self.flags[:] = 0
            refusals[first]()


@functools.cache
def _kernel(whole: bool):
    """A kernel that raises one flag if any entry, a whole number or not, is outside."""
    import cupy

    wide, cpp = ("int64", "long long") if whole else ("float64", "double")
    return cupy.ElementwiseKernel(
        f"T x, {wide} low, {wide} high, int64 which",
        "raw uint8 flags",
        f"if (!(({cpp})x >= low && ({cpp})x <= high)) flags[which] = 1",
        f"minigrad_check_{wide}",
    )


@functools.cache
def _watch(stream: int) -> Watch:
    return Watch()


def check(array: Array, low: float, high: float, refuse: Callable[[], None]) -> None:
    """Unless all entries are from `low` to `high`, `refuse` is called when the host next waits."""
    import cupy

    stream = cupy.cuda.get_current_stream()
    if not array.size or stream.is_capturing():  # in a CUDA graph it would be said of another check, when replayed
        return
    watch, kernel = _watch(stream.ptr), _kernel(array.dtype.kind in "iu")
    kernel(array, low, high, len(watch.refusals), watch.on_device)
    watch.refusals.append(refuse)
    if len(watch.refusals) == MAX_PENDING or os.environ.get("CUDA_LAUNCH_BLOCKING") == "1":
        stream.synchronize()
        watch.settle()


def to_numpy(array: Array) -> np.ndarray:
    """A copy on the host, for which it waits; raises the error of an earlier check that failed."""
    import cupy

    host = cupy.asnumpy(array)
    _watch(cupy.cuda.get_current_stream().ptr).settle()
    return host
