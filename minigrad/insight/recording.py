"""Looking on while the tape is written: which line, which module and which values each step came from.

An op tells nobody what it does; that would cost time.  Inside `with recording():` somebody looks on, and keeps a note of
every step beside the tape, for as long as the tape itself lives.
"""
from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from .. import places
from ..nn import Module
from ..tensor import Mode, Node, mode, record


@dataclass
class Note:
    """What is known of one step."""
    op: Any                                     # the op that made it, what it was given, and what came out
    inputs: tuple
    options: tuple
    y: Any
    names: list[str | None]                     # what the inputs are called, where that is known
    lines: list[places.Line]                    # the line of the innermost layer or user's function, …, the user's own line
    modules: list[Module]                       # the modules that were running, the outermost first


NOTES: WeakKeyDictionary[Node, Note] = WeakKeyDictionary()                     # a note goes when its step goes


def _note(node: Node, op: Any, inputs: tuple, options: tuple, y: Any) -> None:
    """Called by an op that has just put `node` on the tape."""
    frame = sys._getframe(2)
    running = [f.f_locals["self"] for f in places.frames(frame) if f.f_code is Module.__call__.__code__]
    lines = list(dict.fromkeys(places.line(f) for f in places.telling(frame) if f.f_code is not Module.__call__.__code__))
    if not mode().kernels:
        node.step = _WithoutKernels(node.step)
    NOTES[node] = Note(op, inputs, options, y, places.names(inputs, frame, places.MEANINGS), lines, running[::-1])


class _WithoutKernels:
    """A step whose way back, too, is computed without fused kernels, and noted if it can itself be differentiated."""
    def __init__(self, step: Any):
        self.plan_of, self.name = step, step.name

    def pull(self, node: Node, saved: tuple, g: Any, again: bool) -> list:
        with record(Mode(again, note=_note, kernels=False)):
            return self.plan_of.pull(node, saved, g, again)


def plan(node: Node) -> Any:
    """How a step goes back: the _Plan in primitive.py, or what stands in its place, without what is wrapped around it."""
    step = node.step
    return step.plan_of if isinstance(step, _WithoutKernels) else getattr(step, "plan", step)


@contextmanager
def recording(kernels: bool = True) -> Iterator[None]:
    """Keep a note of every step written on the tape in the body, so that the pictures and stories of it can say more.

    Args:
        kernels: False computes every op as what it means, without fused kernels: slower, but each step on the tape then is
            one line of mathematics, and `to_numpy_source` can tell it bit for bit.

    A note holds what the step was given; all of it is let go with the tape.
    """
    with record(mode()._replace(on=True, note=_note, kernels=kernels)):
        yield

