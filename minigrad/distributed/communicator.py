"""Collective communication of ranks under torch's names: sums, broadcasts, gathered objects and barriers.

The engine is MPI (the extra `mpi`).  Every rank must make the same calls in the same order, or they would wait for each
other for ever; a call that waits too long ends every rank, with a message that names the missing one.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from typing import Any, NoReturn

import numpy as np

from .. import backend
from ..backend import Array

LAUNCHED = {"PMI_SIZE": "PMI_RANK", "OMPI_COMM_WORLD_SIZE": "OMPI_COMM_WORLD_RANK", "PMIX_RANK": "PMIX_RANK"}
TIMEOUT = 1800.0  # seconds, as in Hugging Face's ddp_timeout
LOOK_EVERY = 0.25  # seconds between two checks whether the other ranks are alive


class RankError(RuntimeError):
    """An error on some rank, or a difference between ranks that must agree."""


class Communicator:
    """The communicator of a single process, and the interface of those of several.

    `rank` is from 0 to `size` - 1.  Arrays are NumPy's, contiguous, and changed in place.
    """

    rank, size = 0, 1

    def all_reduce(self, array: np.ndarray, op: str = "sum") -> np.ndarray:
        """Replace the array by its elementwise sum over all ranks, or their "max"; returns it."""
        return array

    def start_all_reduce(self, array: Array) -> Any:
        """Start a sum over all ranks in the background; the array must not be used until `wait` returns."""
        done: Future = Future()
        done.set_result(None)
        return done

    def start_reduce(self, array: Array, dst: int) -> Any:
        """Start a sum that only rank `dst` receives; the contents of the others' arrays are undefined afterwards."""
        return self.start_all_reduce(array)

    def wait(self, work: Any) -> None:
        """Return when a sum that was started is complete."""

    def zeros(self, size: int, dtype: np.dtype, beside: Array) -> Array:
        """A flat array for sums: on the device of another array, if its backend can sum there, else on the host."""
        home = backend.of(beside)
        return (np if home.collectives is None else home.xp).zeros(size, dtype)

    def broadcast(self, array: np.ndarray, src: int = 0) -> np.ndarray:
        """Replace the array on every rank by that of rank `src`; returns it."""
        return array

    def all_gather_object(self, item: Any) -> list[Any]:
        """The objects of all ranks, in the order of the ranks.  They are sent as pickles, between ranks only."""
        return [item]

    def gather_object(self, item: Any) -> list[Any] | None:
        """The objects of all ranks on rank 0, and None on the others."""
        return [item]

    def barrier(self) -> None:
        """Return when every rank has called this."""

    def end(self, told: str, status: int = 1) -> None:
        """Print what went wrong and end every rank.  A single process does nothing, since its own exit is enough."""

    def agree(self, what: str, item: Any) -> None:
        """Check that every rank has the same dict or value, so that a difference is found before the run starts.

        Raises:
            RankError: on every rank, naming the first that differs from rank 0.
        """
        items = self.all_gather_object(item)
        for rank, other in enumerate(items):
            if other != items[0]:
                here, there = _first_difference(items[0], other)
                raise RankError(
                    f"rank {rank} has a different {what} from rank 0: {there}, not {here}; give all ranks the same "
                    "program, files and arguments"
                )


class MPICommunicator(Communicator):
    """The communicator of the processes that `mpiexec` started, through mpi4py.

    Sums that are started run in a thread of their own, which releases the interpreter, so that the gradients of the
    last layers are summed while those of the first are computed.  All other calls have another thread and another
    communicator of MPI, so the two kinds may be interleaved differently on different ranks.
    """

    def __init__(self, timeout: float = TIMEOUT):
        try:
            from mpi4py import MPI
        except ImportError:
            raise ImportError(
                'mpiexec started this program, which needs mpi4py: type pip install "minigrad-learn[mpi]", or from a '
                'clone pip install -e ".[mpi]"'
            ) from None
        self.mpi, self.timeout = MPI, timeout_or(timeout)
        self.comm, self.sums = MPI.COMM_WORLD.Dup(), MPI.COMM_WORLD.Dup()
        self.rank, self.size = self.comm.rank, self.comm.size
        self.thread, self.sums_thread = ThreadPoolExecutor(1, "mpi"), ThreadPoolExecutor(1, "mpi-sums")
        self.near: Any = self.comm.Split_type(MPI.COMM_TYPE_SHARED)  # the ranks of this machine, which share memory:
        self.near_ranks = self.near.allgather(self.rank)
        window: Any = MPI.Win.Allocate_shared(4 * 8, 8, comm=self.near)
        self.told = [np.frombuffer(window.Shared_query(i)[0], np.int64) for i in range(self.near.size)]
        self.mine = self.told[self.near.rank]  # process id, number of calls, whether it has ended, and last wait in ns
        self.mine[:] = os.getpid(), 0, False, 0
        self.collectives: Any = None  # of the devices, from their first sum on
        self.comm.Barrier()
        sys.excepthook = self.uncaught
        atexit.register(self.leave)

    def all_reduce(self, array: np.ndarray, op: str = "sum") -> np.ndarray:
        what = {"sum": self.mpi.SUM, "max": self.mpi.MAX}[op]
        self.wait(self._submit(self.comm.Allreduce, self.mpi.IN_PLACE, array, what))
        return array

    def start_all_reduce(self, array: Array) -> Any:
        if (device := self._device(array)) is not None:
            return device.all_reduce(array)
        return self._begin(self.sums.Allreduce, self.mpi.IN_PLACE, array, self.mpi.SUM)

    def start_reduce(self, array: Array, dst: int) -> Any:
        if (device := self._device(array)) is not None:
            return device.reduce(array, dst)
        if self.rank == dst:
            return self._begin(self.sums.Reduce, self.mpi.IN_PLACE, array, self.mpi.SUM, dst)
        return self._begin(self.sums.Reduce, array, None, self.mpi.SUM, dst)

    def broadcast(self, array: np.ndarray, src: int = 0) -> np.ndarray:
        self.wait(self._submit(self.comm.Bcast, array.view(np.uint8) if array.dtype.kind == "V" else array, src))
        return array

    def all_gather_object(self, item: Any) -> list[Any]:
        return self.wait(self._submit(self.comm.allgather, item))

    def gather_object(self, item: Any) -> list[Any] | None:
        return self.wait(self._submit(self.comm.gather, item))

    def barrier(self) -> None:
        self.wait(self._submit(self.comm.Barrier))

    def wait(self, work: Any) -> Any:
        """The result of a call, once every rank has made it.  Ends all ranks if one has ended, or at the timeout."""
        begun = time.monotonic()
        while True:
            try:
                return work.result(LOOK_EVERY)
            except NotYet:
                self.mine[3] = time.monotonic_ns()
                if gone := self._missing():
                    self._abort(f"{gone}; the others, which wait for it, end too")
                if time.monotonic() - begun > self.timeout:
                    self._abort(
                        f"{self._behind()} of {self.size} has not made the call for which the others have waited "
                        f"{self.timeout:g} s, so all end: it hangs, or it computes something else; set "
                        "MINIGRAD_RANK_TIMEOUT, in seconds, to wait longer"
                    )

    def end(self, told: str, status: int = 1) -> None:
        if self.rank:
            time.sleep(1.0)  # if all ranks have the same error, rank 0 prints it and ends this one during the pause
        self._abort(told if self.rank == 0 else f"rank {self.rank} of {self.size}: {told}", status)

    def uncaught(self, kind: type[BaseException], error: BaseException, where: Any) -> None:
        """End all ranks after an uncaught exception, since the others would wait for ever."""
        if self.rank:
            time.sleep(1.0)
        traceback.print_exception(kind, error, where)
        self._abort(f"rank {self.rank} of {self.size} ended all: {kind.__name__}: {' '.join(str(error).split())}")

    def leave(self) -> None:
        """Record that this rank ends, because under MPI its process stays until all ranks end."""
        for thread in (self.thread, self.sums_thread):
            thread.shutdown(wait=False, cancel_futures=True)
        self.mine[2] = True

    def _missing(self) -> str | None:
        """A rank of this machine that has ended or died, if there is one."""
        for rank, (process, _, ended, _) in zip(self.near_ranks, self.told):
            if ended or not _is_alive(int(process)):
                return f"rank {rank} of {self.size} {'has ended early' if ended else 'has died'}"
        return None

    def _behind(self) -> str:
        """The rank that the others wait for: one that does not wait itself, or else one that has made fewer calls."""
        now, told = time.monotonic_ns(), list(zip(self.near_ranks, self.told))
        busy = [(last, rank) for rank, (_, _, _, last) in told if now - last > 8e9 * LOOK_EVERY]
        behind = [(calls, rank) for rank, (_, calls, _, _) in told if calls < self.mine[1]]
        return f"rank {min(busy or behind)[1]}" if busy or behind else "a rank of another machine"

    def _submit(self, call: Any, *arguments: Any) -> Future:
        self.mine[1] += 1
        return self.thread.submit(call, *arguments)

    def _device(self, array: Array) -> Any:
        """What sums this array on its device; None for an array of the host."""
        maker = backend.of(array).collectives
        if maker is not None and self.collectives is None:
            unique_id = self.wait(self._submit(self.comm.bcast, maker.unique_id() if self.rank == 0 else None))
            self.collectives = maker.Collectives(self.rank, self.size, unique_id)
        return self.collectives if maker is not None else None

    def _begin(self, call: Any, *arguments: Any) -> Future:
        self.mine[1] += 1
        return self.sums_thread.submit(call, *arguments)

    def _abort(self, told: str, status: int = 1) -> NoReturn:
        print(f"minigrad: {told}", file=sys.stderr, flush=True)
        time.sleep(0.5)  # mpiexec must forward the message before it ends all ranks
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # MPI would add a line of its own
        self.mpi.COMM_WORLD.Abort(status)
        raise SystemExit(status)


@functools.cache
def world() -> Communicator:
    """The communicator of all ranks: those that mpiexec started, those of a file, or this process alone.

    Raises:
        ImportError: mpiexec started several processes, and mpi4py is not installed.
    """
    if (file := os.environ.get("MINIGRAD_RENDEZVOUS")) is not None:
        from .rendezvous import FileCommunicator

        return FileCommunicator(file, int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    started = any(name in os.environ for name in LAUNCHED)
    alone = os.environ.get("PMI_SIZE", os.environ.get("OMPI_COMM_WORLD_SIZE")) == "1"
    return MPICommunicator() if started and not alone else Communicator()


def timeout_or(usual: float = TIMEOUT) -> float:
    """The timeout of a call in seconds: MINIGRAD_RANK_TIMEOUT, if it is set."""
    return float(os.environ.get("MINIGRAD_RANK_TIMEOUT", usual))


def printing_once(function: Callable) -> Callable:
    """The function, with standard output suppressed on all ranks but 0."""

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        with contextlib.redirect_stdout(None) if world().rank else contextlib.nullcontext():
            return function(*arguments, **options)

    return run


def _is_alive(process: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        os.kill(process, 0)
    except OSError:
        return False
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:  # not Linux
        return True


def _first_difference(one: Any, other: Any) -> tuple[str, str]:
    """Both values, shortened; for dicts the first entry in which they differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        name = next(name for name in {**one, **other} if one.get(name) != other.get(name))
        return f"{name} {one.get(name, 'missing')}", f"{name} {other.get(name, 'missing')}"
    return f"{one!r:.80}", f"{other!r:.80}"
