"""How long ranks take to exchange arrays: a model of the network, to plan runs on machines that are not here.

A call costs a latency for each of its rounds, and the bytes that each rank sends and receives, divided by the
bandwidth (Thakur et al. 2005, "Optimization of Collective Communication Operations in MPICH").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """What connects two ranks: bytes per second in each direction, and the seconds that an empty message takes."""

    bandwidth: float
    latency: float


LINKS = {  # by what users type
    "nvlink": Link(450e9, 3e-6),  # NVLink 4, of H100 and H200: 900 GB/s in both directions together
    "nvlink3": Link(300e9, 3e-6),  # of A100
    "pcie5": Link(50e9, 5e-6),  # 16 lanes, as measured copies reach it
    "pcie4": Link(25e9, 5e-6),
    "infiniband400": Link(50e9, 5e-6),  # NDR: 400 Gbit/s for each rank
    "infiniband200": Link(25e9, 5e-6),  # HDR
    "ethernet100": Link(12.5e9, 20e-6),
    "ethernet25": Link(3.125e9, 30e-6),
    "ethernet10": Link(1.25e9, 30e-6),
    "ethernet1": Link(0.125e9, 50e-6),
    "memory": Link(2e9, 20e-6),  # ranks of one machine without GPUs
}


@dataclass(frozen=True)
class Network:
    """Machines of `ranks_per_machine` ranks: the link between ranks of one machine, and, for each rank, to others."""

    inside: Link
    between: Link
    ranks_per_machine: int = 8

    def all_reduce(self, size: float, ranks: int) -> float:
        """Seconds to sum `size` bytes over the ranks, so that each has the sum.

        First in each machine, of which each rank then has a part of the sum; then of each part among the machines; then
        back.  Both ways take 2 · log₂ n rounds, and each rank sends 2 · (n - 1) / n of the bytes.
        """
        near, machines = self._sizes(ranks)
        inside = _rounds(self.inside, size * (near - 1) / near, near)
        between = _rounds(self.between, size / near * (machines - 1) / machines, machines)
        return 2 * (inside + between)

    def reduce(self, size: float, ranks: int) -> float:
        """Seconds to sum `size` bytes over the ranks, for one of them: each rank passes its sum on, piece by piece."""
        slowest = self.between if ranks > self.ranks_per_machine else self.inside
        return _rounds(slowest, size if ranks > 1 else 0.0, ranks)

    broadcast = reduce  # the same way back

    def _sizes(self, ranks: int) -> tuple[int, int]:
        return min(ranks, self.ranks_per_machine), math.ceil(ranks / self.ranks_per_machine)


def _rounds(link: Link, size: float, ranks: int) -> float:
    return math.ceil(math.log2(ranks)) * link.latency + size / link.bandwidth


def last_end(ready: Sequence[float], seconds: Sequence[float]) -> float:
    """When the last of several calls ends that are made one after the other, each no sooner than it is ready."""
    end = 0.0
    for begin, took in zip(ready, seconds, strict=True):
        end = max(end, begin) + took
    return end
