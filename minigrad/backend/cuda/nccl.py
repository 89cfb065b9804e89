"""Sums among the GPUs of several ranks: NCCL through CuPy, on a stream of its own, beside the computation."""

from __future__ import annotations

import time
from typing import Any

from ..record import Array, BackendUnavailable

TYPES = {
    "float16": "FLOAT16",
    "bfloat16": "BFLOAT16",
    "float32": "FLOAT32",
    "float64": "FLOAT64",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
}
LOOK_EVERY = 5e-5  # seconds between two looks at whether the device has come so far


class Work:
    """A call that is queued on the device."""

    def __init__(self, cupy: Any, done: Any):
        self.cupy, self.done = cupy, done

    def result(self, timeout: float) -> None:
        """Wait until it is complete.  Raises TimeoutError if that takes longer."""
        end = time.monotonic() + timeout
        while not self.done.done:
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(LOOK_EVERY)
        self.cupy.cuda.get_current_stream().wait_event(self.done)


class Collectives:
    """One rank's end of NCCL.  Calls are in place, and return at once, with a `Work`.

    Args:
        rank, size: which rank this is, of how many.
        unique_id: what `unique_id()` gave one of the ranks.
    """

    def __init__(self, rank: int, size: int, unique_id: bytes):
        import cupy

        self.cupy, self.nccl = cupy, library()
        self.ends = self.nccl.NcclCommunicator(size, unique_id, rank)
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.queued: list[tuple[Any, Array]] = []  # arrays, until what is queued has read them

    def all_reduce(self, array: Array, op: str = "sum") -> Work:
        how = {"sum": self.nccl.NCCL_SUM, "max": self.nccl.NCCL_MAX}[op]
        return self._queue(array, lambda at, n, kind, stream: self.ends.allReduce(at, at, n, kind, how, stream))

    def reduce(self, array: Array, dst: int) -> Work:
        how = self.nccl.NCCL_SUM
        return self._queue(array, lambda at, n, kind, stream: self.ends.reduce(at, at, n, kind, how, dst, stream))

    def broadcast(self, array: Array, src: int) -> Work:
        return self._queue(array, lambda at, n, kind, stream: self.ends.broadcast(at, at, n, kind, src, stream))

    def all_gather(self, array: Array, size: int) -> tuple[Array, Work]:
        """The arrays of all ranks, which are alike, below each other."""
        found = self.cupy.empty((size, *array.shape), array.dtype)
        to = found.data.ptr
        return found, self._queue(array, lambda at, n, kind, stream: self.ends.allGather(at, to, n, kind, stream))

    def _queue(self, array: Array, call: Any) -> Work:
        """Queue a call behind what the current stream has queued so far."""
        self.stream.wait_event(self.cupy.cuda.get_current_stream().record())
        kind = getattr(self.nccl, f"NCCL_{TYPES[array.dtype.name]}")
        call(array.data.ptr, array.size, kind, self.stream.ptr)
        done = self.stream.record()
        self.queued = [pair for pair in self.queued if not pair[0].done]
        self.queued.append((done, array))
        return Work(self.cupy, done)


def unique_id() -> bytes:
    """What the ranks find each other by: made by one of them, and brought to the others by other means."""
    return library().get_unique_id()


def library() -> Any:
    """CuPy's NCCL.

    Raises:
        BackendUnavailable: the library is not there.
    """
    from cupy.cuda import nccl

    if not hasattr(nccl, "get_unique_id"):
        raise BackendUnavailable(
            "several ranks on GPUs need NCCL, which CuPy cannot load: pip install nvidia-nccl-cu13, or "
            "nvidia-nccl-cu12 with CUDA 12"
        )
    return nccl
