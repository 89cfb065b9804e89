"""Shards the state of an optimiser over ranks, each of which updates its own parameters (ZeRO stages 1 and 2).

Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", section 5.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import backend
from ..tensor import Tensor
from .communicator import Communicator
from .reducer import batches


class Shards:
    """Assigns each parameter to the rank that updates it.

    Parameters are assigned in order of size, the largest first and frozen ones last, each to the rank with the smallest
    total so far.  An optimiser allocates the state of a parameter in its first step and skips parameters without a
    gradient, so it is enough that each rank drops the gradients of the other ranks' parameters.
    """

    def __init__(self, params: Iterable[Tensor], world: Communicator):
        self.world, held = world, [0] * world.size
        self.owned: list[list[Tensor]] = [[] for _ in held]
        for p in sorted(params, key=lambda p: (not p.requires_grad, -p.data.nbytes)):
            rank = held.index(min(held))
            self.owned[rank].append(p)
            held[rank] += p.data.nbytes
        self.owner_of = {id(p): rank for rank, params in enumerate(self.owned) for p in params}

    def drop_gradients(self) -> None:
        """Before an optimiser step, keep only the gradients of this rank's parameters."""
        for p in self._others():
            p.grad = None

    def drop_state(self, state: dict[Tensor, Any]) -> None:
        """Keep only the optimiser state of this rank's parameters, after the whole state was read from a file."""
        for p in self._others():
            state.pop(p, None)

    def share_parameters(self) -> None:
        """After an optimiser step, broadcast this rank's parameters and receive the others', except frozen ones."""
        for rank, params in enumerate(self.owned):
            for group in batches([p for p in params if p.requires_grad], lambda p: p.dtype):
                self._send(group, rank)

    def _others(self) -> Iterable[Tensor]:
        return (p for rank, params in enumerate(self.owned) for p in params if rank != self.world.rank)

    def _send(self, params: list[Tensor], rank: int) -> None:
        bytes_of = [backend.of(p.data).to_numpy(p.data).reshape(-1).view(np.uint8) for p in params]
        flat = self.world.broadcast(np.concatenate(bytes_of), rank)
        if rank == self.world.rank:
            return
        for p, part in zip(params, np.split(flat, np.cumsum([len(part) for part in bytes_of])[:-1])):
            p.copy_(part.view(p.dtype).reshape(p.shape))
