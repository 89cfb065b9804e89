"""Finds the op whose rule is wrong: runs the function again, records the ops it calls, and checks each rule alone."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from .. import places
from ..execution import Mode, record
from ..tape import Node, new_node
from ..tensor import Tensor, wrap
from .compare import MAX_ENTRIES, Finding, compare
from .functions import AtNode, OnTape


class Call(NamedTuple):
    """An op as it was called."""

    op: Any
    inputs: tuple
    options: tuple
    node: Node
    line: places.Line  # of the user's function


def first_wrong(f: OnTape, rng: np.random.Generator) -> tuple[Call, Finding | Exception] | None:
    """The first op on the tape of f whose rule, at its recorded inputs, disagrees with the measured slopes, or fails.

    All ops are checked in random directions first; if all agree, entry by entry.
    """
    calls: list[Call] = []

    def note(node: Node | None, op: Any, inputs: tuple, options: tuple, y: Any) -> None:
        if node is None:
            return
        user = next(places.telling(sys._getframe(2), ()))
        calls.append(Call(op, inputs, options, node, places.line(user)))

    with record(Mode(note=note)):  # records the forward pass and, if it is itself on the tape, the backward pass
        f.run([wrap(a, new_node(a.shape, a.dtype)) for a in f.given(f.x)])
    ops = [
        (call, AtNode(call.op, call.inputs, call.options, call.node, f.dtype))
        for call in calls
        if _is_of(call, f.dtype)
    ]
    for every_entry in (False, True):
        for call, op in ops:
            if not every_entry or len(op.x) <= MAX_ENTRIES:
                try:
                    found = compare(op, rng, every_entry)
                except Exception as error:  # raised by the rule, or ShapeMismatch
                    return call, error
                if isinstance(found, Finding):
                    return call, found
    return None


def _is_of(call: Call, dtype: str) -> bool:
    return call.node.dtype.kind == "f" and all(
        x.dtype == dtype for x in call.inputs if isinstance(x, Tensor) and x.node
    )
