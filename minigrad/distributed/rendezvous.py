"""Ranks without MPI, started by hand or by a scheduler: they find each other by a file, and their GPUs exchange all.

    RANK=0 WORLD_SIZE=2 MINIGRAD_RENDEZVOUS=/shared/run-17 python train.py      # and with RANK=1 on the other machine

The file must not exist yet, in a directory that all ranks see.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend
from ..backend import Array
from .communicator import LOOK_EVERY, Communicator, RankError, timeout_or


class FileCommunicator(Communicator):
    """The ranks of one file.  What is on the host goes by way of the device.

    Raises:
        RankError: the file exists already, or the others have not come in time.
        BackendUnavailable: there is no GPU, or no NCCL.
    """

    def __init__(self, path: str | os.PathLike, rank: int, size: int):
        self.rank, self.size, self.timeout, self.home = rank, size, timeout_or(), backend.exchanging()
        maker, file = self.home.collectives, Path(path)
        if rank == 0:
            if file.exists():
                raise RankError(
                    f"{file} exists already, maybe from an earlier run: give MINIGRAD_RENDEZVOUS a new name"
                )
            part = file.with_name(f"{file.name}.part")
            part.write_bytes(maker.unique_id())
            os.replace(part, file)
        end = time.monotonic() + self.timeout
        while not file.exists():
            if time.monotonic() > end:
                raise RankError(f"rank 0 of {size} has not made {file} for {self.timeout:g} s")
            time.sleep(LOOK_EVERY)
        self.collectives = maker.Collectives(rank, size, file.read_bytes())
        self.barrier()  # all have read it
        if rank == 0:
            file.unlink()

    def all_reduce(self, array: np.ndarray, op: str = "sum") -> np.ndarray:
        return self._by_device(array, lambda there: self.collectives.all_reduce(there, op))

    def start_all_reduce(self, array: Array) -> Any:
        return self.collectives.all_reduce(array)

    def start_reduce(self, array: Array, dst: int) -> Any:
        return self.collectives.reduce(array, dst)

    def broadcast(self, array: np.ndarray, src: int = 0) -> np.ndarray:
        self._by_device(array.reshape(-1).view(np.uint8), lambda there: self.collectives.broadcast(there, src))
        return array

    def all_gather_object(self, item: Any) -> list[Any]:
        sent = np.frombuffer(pickle.dumps(item), np.uint8)
        sizes = self._gathered(np.array([len(sent)])).reshape(-1)
        found = self._gathered(np.pad(sent, (0, sizes.max() - len(sent))))
        return [pickle.loads(row[:size].tobytes()) for row, size in zip(found, sizes.tolist())]

    def gather_object(self, item: Any) -> list[Any] | None:
        found = self.all_gather_object(item)
        return found if self.rank == 0 else None

    def barrier(self) -> None:
        self.all_reduce(np.zeros(1, np.float32))

    def wait(self, work: Any) -> None:
        try:
            work.result(self.timeout)
        except TimeoutError:
            raise RankError(
                f"a rank of {self.size} has not come for {self.timeout:g} s to where rank {self.rank} waits; set "
                "MINIGRAD_RANK_TIMEOUT to wait for longer"
            ) from None

    def _by_device(self, array: np.ndarray, call: Callable[[Array], Any]) -> np.ndarray:
        there = self.home.xp.asarray(array)
        self.wait(call(there))
        array[...] = self.home.to_numpy(there)
        return array

    def _gathered(self, array: np.ndarray) -> np.ndarray:
        found, work = self.collectives.all_gather(self.home.xp.asarray(array), self.size)
        self.wait(work)
        return self.home.to_numpy(found)
