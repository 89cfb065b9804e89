"""A backward pass that hands gradients over as soon as they are complete, while it is still computing others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from heapq import heapify, heappush
from typing import Any

from ..backend import Array
from ..tape import Node, awaited
from ..tensor import Pending, Tensor, hooked

NEXT = 1 << 62  # less this, the order of a leaf is newer than that of all nodes
Takers = Mapping[Node, Callable[[Array], None]]


def await_gradients(takers: Mapping[Tensor, Callable[[Array], None]]) -> None:
    """Have the gradients of these leaves handed over from now on, instead of left in `.grad`; {}: no more."""
    nodes = {p.node: take for p, take in takers.items() if p.node is not None}
    awaited.set(partial(Awaiting, nodes) if nodes else None)


class Awaiting(Pending):
    """The gradients on their way, of which those of some leaves are taken as soon as all their uses have reported.

    In the order of the tape leaves come last, for they are older than all that was computed.
    """

    __slots__ = ("takers", "uses")

    def __init__(self, takers: Takers, recorded: bool, oldest: int):
        super().__init__(recorded, oldest)
        self.takers, self.uses = takers, None

    def pull(self, node: Node, g: Any) -> None:
        super().pull(node, g)
        if self.uses is None:
            self.uses = uses_of(self.takers, node)  # the first node is the end of the tape
        for leaf in node.parents:
            if leaf in self.uses:
                self.uses[leaf] -= 1
                if not self.uses[leaf] and leaf in self.totals:
                    self._hand_over(leaf)
        if self.heap and all(other.step is None for _, other in self.heap):  # nothing will report any more
            for leaf in self.takers.keys() & self.totals.keys():
                self._hand_over(leaf)

    def _hand_over(self, leaf: Node) -> None:
        self.heap.remove((leaf.order, leaf))
        heapify(self.heap)
        heappush(self.heap, (leaf.order - NEXT, leaf))
        _, g = self.newest()
        self.takers[leaf](hooked(leaf, g) if leaf.hooks else g)


def uses_of(leaves: Mapping[Node, Any], end: Node) -> dict[Node, int]:
    """How often each of the leaves is an input of the steps that lead to `end`."""
    uses: dict[Node, int] = {}
    reached, stack = {end}, [end]
    while stack:
        for parent in stack.pop().parents:
            if parent in leaves:
                uses[parent] = uses.get(parent, 0) + 1
            elif parent not in reached:
                reached.add(parent)
                stack.append(parent)
    return uses
