"""The tape: the steps that a backward pass walks along.

Nodes point only at the nodes they came from, never at Tensors.  So there are no reference cycles, and a graph is freed
the moment its last Tensor is dropped.
"""

from __future__ import annotations

from contextvars import ContextVar
from itertools import count
from typing import Any

order_numbers = count(0, -1)  # of nodes and of writes; they count down, so that the smallest is the newest
FREED = object()  # what a node holds once a backward pass has let go of what it kept
awaited: ContextVar[Any] = ContextVar("what replaces `tensor.Pending`: see distributed/awaiting.py", default=None)
_new = object.__new__


class Step:
    """How a gradient is carried back through a node; one Step may serve many nodes."""

    name = "step"
    fresh = False  # does `pull` always return new arrays, or `g`, or views of `g`?

    def pull(self, node: Node, saved: Any, g: Any, again: bool) -> Any:
        """One gradient (or None) per parent of the node; `again` if these will be differentiated in their turn."""
        raise NotImplementedError

    def check(self, node: Node, pulled: Any) -> None:
        """Raise ValueError unless what `pull` returned fits the parents; called for users' steps, not `fresh`."""

    def add(self, saved: Any, g: Any, total: Any) -> bool:
        """Add the gradient of the only parent to `total`, in place; False if that is impossible."""
        return False


class Node:
    """A place on the tape: where a value came from, and what is needed to carry its gradient back.

    A leaf has no step, and keeps its gradient.
    """

    __slots__ = ("order", "parents", "shape", "dtype", "step", "saved", "grad", "hooks", "__weakref__")

    order: int
    parents: Any
    shape: tuple[int, ...]
    dtype: Any
    step: Any  # a Step; None at a leaf
    saved: Any
    grad: Any
    hooks: list | None


def new_node(shape: Any, dtype: Any, parents: Any = (), step: Any = None, saved: Any = ()) -> Node:
    """A node, newer than all others; an `__init__` would take longer than everything else here."""
    node = _new(Node)
    node.order = next(order_numbers)
    node.shape, node.dtype, node.parents, node.step, node.saved = shape, dtype, parents, step, saved
    node.grad = node.hooks = None
    return node
