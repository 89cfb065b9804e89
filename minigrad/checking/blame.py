"""Which op is it?  The function is run once more, every op that it calls is written down, and each rule is checked alone."""
from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from .. import places
from ..mode import Mode, record
from ..tape import Node, new_node
from ..tensor import Tensor, wrap
from .compare import LIMIT, Finding, compare
from .functions import AtNode, OnTape


class Call(NamedTuple):
    """An op as it was called."""
    op: Any
    inputs: tuple
    options: tuple
    node: Node
    line: places.Line                           # of the user's function


def first_wrong(f: OnTape, rng: np.random.Generator) -> tuple[Call, Finding | Exception] | None:
    """The first op on the tape of f whose own rule, at the inputs it was given, disagrees with its own slopes, or fails.

    In random directions, and should all agree in those, entry by entry.
    """
    calls: list[Call] = []

    def note(node: Node | None, op: Any, inputs: tuple, options: tuple, y: Any) -> None:
        if node is None:
            return
        user = next(places.telling(sys._getframe(2), ()))
        calls.append(Call(op, inputs, options, node, places.line(user)))
    with record(Mode(note=note)):               # of what is written on the tape, forwards and, where that is recorded, backwards
        f.run([wrap(a, new_node(a.shape, a.dtype)) for a in f.given(f.x)])
    ops = [(call, AtNode(call.op, call.inputs, call.options, call.node, f.dtype)) for call in calls if _is_of(call, f.dtype)]
    for every_entry in (False, True):
        for call, op in ops:
            if not every_entry or len(op.x) <= LIMIT:
                try:
                    found = compare(op, rng, every_entry)
                except Exception as error:      # of the rule, or ShapeMismatch
                    return call, error
                if isinstance(found, Finding):
                    return call, found
    return None


def _is_of(call: Call, dtype: str) -> bool:
    return call.node.dtype.kind == "f" and all(x.dtype == dtype for x in call.inputs if isinstance(x, Tensor) and x.node)
