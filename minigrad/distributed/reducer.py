"""Sums the gradients of all ranks while the backward pass is still computing others (Li et al. 2020, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial

import numpy as np

from .. import backend
from ..tensor import Tensor
from .communicator import Communicator

BUCKET_BYTES = 8 << 20  # bytes in one sum: enough for MPI's full bandwidth, few enough for the cache


class Bucket:
    """A flat array for the gradients of some parameters, followed by the number of ranks that have each of them."""

    def __init__(self, params: list[Tensor], dtype: np.dtype):
        sizes = [p.size for p in params]
        self.params, self.missing = params, len(params)
        self.flat = np.zeros(sum(sizes) + len(params), dtype)
        self.parts = np.split(self.flat[: -len(params)], np.cumsum(sizes)[:-1])
        self.has = self.flat[-len(params) :]
        self.work: Future | None = None


class GradientReducer:
    """Replaces the gradients in `.grad` by their sums over the ranks.

    Parameters are grouped into buckets in reverse order, in which their gradients are computed.  Call `expect` before
    the last backward pass of a step: from then on each gradient is copied to its bucket when it is complete, and a full
    bucket is summed in the background, in the same order on every rank.  `finish` sums the remaining ones and waits.

    16-bit gradients are summed in float32.
    """

    def __init__(self, params: Iterable[Tensor], world: Communicator):
        self.world, self.params = world, list(params)
        self.buckets: list[Bucket] = []
        self.place: dict[int, tuple[Bucket, int]] = {}
        self.remove: list[Callable[[], None]] = []
        self.expected, self.next = False, 0
        for group in batches(reversed(self.params), wide):
            bucket = Bucket(group, wide(group[0]))
            self.buckets.append(bucket)
            self.place.update({id(p): (bucket, i) for i, p in enumerate(group)})
        for p in self.params:
            self.remove.append(p.register_hook(partial(self._arrived, p)))

    def close(self) -> None:
        """Remove the hooks from the parameters."""
        for remove in self.remove:
            remove()

    def expect(self) -> None:
        """Announce that the next backward pass is the last before `finish`."""
        self.expected = True

    def finish(self) -> None:
        """Sum the remaining gradients, wait for all sums, and store them in `.grad`: None if no rank has a gradient."""
        for bucket in self.buckets[self.next :]:
            for i, p in enumerate(bucket.params):
                if not bucket.has[i] and p.grad is not None:  # not computed in the last backward pass
                    put(p.grad.data, bucket, i)
            bucket.work = self.world.start_all_reduce(bucket.flat)
        for bucket in self.buckets:
            if bucket.work is not None:
                self.world.wait(bucket.work)
            for p, part, has in zip(bucket.params, bucket.parts, bucket.has):
                p.grad = Tensor(backend.of(p.data).xp.asarray(part.reshape(p.shape).astype(p.dtype))) if has else None
            bucket.flat[:] = 0
            bucket.missing, bucket.work = len(bucket.params), None
        self.expected, self.next = False, 0

    def _arrived(self, p: Tensor, g: Tensor) -> None:
        """Copy a complete gradient, plus what earlier micro-batches accumulated, to its bucket."""
        if not self.expected:
            return
        bucket, i = self.place[id(p)]
        put(g.data if p.grad is None else p.grad.data + g.data, bucket, i)
        bucket.missing -= 1
        while self.next < len(self.buckets) and not self.buckets[self.next].missing:
            bucket = self.buckets[self.next]
            bucket.work, self.next = self.world.start_all_reduce(bucket.flat), self.next + 1


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


def put(g, bucket: Bucket, i: int) -> None:
    """Copy a gradient to its place in the bucket."""
    bucket.parts[i][:] = backend.of(g).to_numpy(g).reshape(-1)
    bucket.has[i] = 1
