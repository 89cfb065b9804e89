"""Sums the gradients of all ranks while the backward pass is still computing others (Li et al. 2020, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np

from .. import backend
from ..backend import Array
from ..tensor import Tensor
from .awaiting import await_gradients
from .communicator import Communicator

BUCKET_BYTES = 8 << 20  # bytes in one sum: enough for MPI's full bandwidth, few enough for the cache


class Bucket:
    """A flat array for the gradients of some parameters, followed by the number of ranks that have each of them.

    It is allocated when the first gradient arrives.  `owner` is the rank that needs the sums; None means all ranks.
    """

    def __init__(self, params: list[Tensor], dtype: np.dtype, world: Communicator, owner: int | None = None):
        self.params, self.dtype, self.world, self.owner = params, dtype, world, owner
        ends = list(accumulate(p.size for p in params))
        self.places = [slice(end - p.size, end) for p, end in zip(params, ends)]
        self.size = ends[-1] + len(params)
        self.flat: Array | None = None
        self.arrived: set[int] = set()
        self.work: Any = None

    def open(self) -> Array:
        """The array, allocated if it is not yet."""
        if self.flat is None:
            self.flat = self.world.zeros(self.size, self.dtype, self.params[0].data)
        return self.flat

    def put(self, i: int, g: Array) -> None:
        """Copy the gradient of the i-th parameter to its place."""
        flat, home = self.open(), backend.of(g)
        flat[self.places[i]] = (g if backend.of(flat) is home else home.to_numpy(g)).reshape(-1)
        flat[i - len(self.params)] = 1
        self.arrived.add(i)

    def send(self) -> None:
        """Start the sum; a rank that does not need it drops the array, whose memory is freed once it is sent."""
        flat = self.open()
        if self.owner is None:
            self.work = self.world.start_all_reduce(flat)
        else:
            self.work = self.world.start_reduce(flat, self.owner)
            if self.owner != self.world.rank:
                self.flat = None

    def finish(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Wait for the sum, and give each parameter with its gradient: None if no rank has one, or another needs it.

        The gradients are views of the array if its dtype and device are those of the parameters.
        """
        self.world.wait(self.work)
        flat, self.flat, self.work = self.flat, None, None
        self.arrived.clear()
        has = [0] * len(self.params) if flat is None else backend.of(flat).to_numpy(flat[-len(self.params) :])
        for p, place, some in zip(self.params, self.places, has):
            if flat is None or not some:
                yield p, None
            else:
                part = flat[place].reshape(p.shape)
                yield p, Tensor(backend.of(p.data).xp.asarray(part.astype(p.dtype, copy=False)))


class GradientReducer:
    """Replaces the gradients in `.grad` by their sums over the ranks.

    Parameters are grouped into buckets in reverse order, in which their gradients are computed.  Call `expect` before
    the last backward pass of a step: each gradient is then moved to its bucket when it is complete, and a full bucket
    is summed in the background, in the same order on every rank.  `finish` sums the remaining ones and waits.

    With `owner_of`, the sum of a gradient goes only to the rank that updates the parameter, which adds it to `.grad`
    (ZeRO stage 2).  Call `expect` and `finish` for every backward pass then.

    Args:
        params: the trained parameters.
        world: the ranks.
        owner_of: the rank that needs the gradient, by the id of the parameter; None means all ranks.
        dtype: the dtype in which gradients are summed; by default their own, or float32 for 16-bit gradients.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        world: Communicator,
        owner_of: dict[int, int] | None = None,
        dtype: np.dtype | None = None,
    ):
        self.world, self.params, self.owner_of = world, list(params), owner_of
        self.next = 0
        self.buckets: list[Bucket] = []
        for owner in [None] if owner_of is None else range(world.size):
            owned = [p for p in reversed(self.params) if owner_of is None or owner_of[id(p)] == owner]
            for group in batches(owned, wide):
                self.buckets.append(Bucket(group, wide(group[0]) if dtype is None else dtype, world, owner))
        order = {id(p): i for i, p in enumerate(self.params)}
        self.buckets.sort(key=lambda bucket: -order[id(bucket.params[-1])])  # by when a bucket is full
        self.place = {id(p): (bucket, i) for bucket in self.buckets for i, p in enumerate(bucket.params)}
        self.takers = {p: partial(self._arrived, p) for p in self.params}

    def expect(self) -> None:
        """Announce that the next backward pass is the last before `finish`."""
        await_gradients(self.takers)

    def finish(self) -> None:
        """Sum the remaining gradients, wait for all sums, and store them in `.grad`: None if no rank has a gradient."""
        await_gradients({})
        for bucket in self.buckets[self.next :]:
            for i, p in enumerate(bucket.params):
                if self.owner_of is None and i not in bucket.arrived and p.grad is not None:  # not in the last pass
                    bucket.put(i, p.grad.data)
            bucket.send()
        for bucket in self.buckets:
            for p, total in bucket.finish():
                if self.owner_of is not None and p.grad is not None:
                    total = p.grad if total is None else p.grad + total
                p.grad = total
        self.next = 0

    def _arrived(self, p: Tensor, g: Array) -> None:
        """Move a complete gradient, plus what earlier micro-batches accumulated, to its bucket."""
        bucket, i = self.place[id(p)]
        if self.owner_of is None and p.grad is not None:
            g, p.grad = p.grad.data + g, None
        bucket.put(i, g)
        while self.next < len(self.buckets) and len(self.buckets[self.next].arrived) == len(
            self.buckets[self.next].params
        ):
            self.buckets[self.next].send()
            self.next += 1


def batches(params: Iterable[Tensor], dtype_of: Callable[[Tensor], np.dtype]) -> Iterator[list[Tensor]]:
    """The parameters in groups of one dtype each, closed when they reach BUCKET_BYTES."""
    group: list[Tensor] = []
    size = 0
    for p in params:
        if group and (size >= BUCKET_BYTES or dtype_of(p) != dtype_of(group[0])):
            yield group
            group, size = [], 0
        group.append(p)
        size += p.size * dtype_of(p).itemsize
    if group:
        yield group


def wide(p: Tensor) -> np.dtype:
    """The dtype in which gradients are summed."""
    return np.dtype(np.float64 if p.dtype == np.float64 else np.float32)
