"""Divides work among the cores of a CPU, in pieces that fit in a core's cache."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import numpy as np

from .blas import get_blas_threads, set_blas_threads

MAX_PIECE = 3 << 16  # entries of a piece: two float32 arrays of it fit in a core's cache
MIN_SHARED = 1 << 18  # entries from which another core saves more than waking it costs


def _cores() -> int:
    """The number of threads to use: one for each core this process may run on, or the limit set for BLAS."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    return min(cores, int(limit)) if limit.isdigit() and int(limit) else cores


CORES = _cores()
_sharing: list = []  # the calls of `share` in progress; the first one uses the cores
_blas_threads = 1  # the number of BLAS's threads before that


@functools.cache
def _helpers() -> list:
    from .helpers import Helper

    return [Helper() for _ in range(CORES - 1)]


def _after_fork() -> None:  # threads do not survive a fork
    if _sharing:
        set_blas_threads(_blas_threads)
    _sharing.clear()
    _helpers.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def share(work: Callable[[Any], Any], pieces: Any) -> list:
    """[work(piece) for piece in pieces] on all cores, since NumPy releases the interpreter lock while it computes.

    During the call BLAS uses only the calling thread.  Its own threads wait for each other by spinning, which occupies
    the cores, and takes many times as long as the work itself as soon as another program needs a core.
    """
    results: list = [None] * len(pieces)
    queue = iter(enumerate(pieces))

    def drain():
        with np.errstate(all="ignore"):
            for i, piece in queue:
                results[i] = work(piece)

    global _blas_threads
    me, mine = object(), False
    try:  # Ctrl-C may come at any line, and must leave the state restored
        _sharing.append(me)
        if _sharing[0] is not me:  # the cores are busy with the pieces of another thread
            copy_context().run(drain)  # in a copy, so that drain's errstate ends with it even if it is interrupted
            return results
        _blas_threads, mine = get_blas_threads(), True
        set_blas_threads(1)
        jobs = [helper.job(drain) for helper in _helpers()[: len(pieces) - 1]] if len(pieces) > 1 else ()
        try:
            copy_context().run(drain)
        finally:
            errors = [job.wait() for job in jobs]  # wait for all jobs before raising an error
        for error in filter(None, errors):
            raise error
    finally:
        try:
            if mine:
                set_blas_threads(_blas_threads)
        finally:
            _sharing.remove(me)
    return results


def evenly(count: int, most: int, among: int) -> list[slice]:
    """Divide `count` things into slices of at most `most`.

    The slices are of nearly equal size, and their number is a multiple of `among` where possible.
    """
    parts = -(-count // max(1, most))
    parts = min(count, parts + -parts % among)
    return [slice(count * i // parts, count * (i + 1) // parts) for i in range(parts)]


def cuts(count: int, size: int) -> list[slice]:
    """Divide `count` things of `size` entries in all into slices of about MAX_PIECE, the same number for each core."""
    pieces = -(-size // MAX_PIECE) if size >= MIN_SHARED else 1
    step = max(1, -(-count // (pieces + -pieces % CORES if size >= MIN_SHARED else 1)))
    return [slice(i, i + step) for i in range(0, count, step)]
