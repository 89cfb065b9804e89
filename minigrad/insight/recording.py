"""Looking on while the tape is written: which line, which module and which values each step came from.

An op tells nobody what it does; that would cost time.  Inside `with recording():` somebody looks on, and keeps a note of
every step beside the tape, for as long as the tape itself lives.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from .. import places
from ..mode import Mode, mode, record
from ..nn import Module
from ..tape import Node, Step


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


def note(node: Node | None, op: Any, inputs: tuple, options: tuple, y: Any) -> None:
    """Called by an op that has just put `node` on the tape, or has computed something off it."""
    if node is None:
        return
    if not mode().kernels:
        node.step = _WithoutKernels(node.step)
    NOTES[node] = note_of(op, inputs, options, y)


def note_of(op: Any, inputs: tuple, options: tuple, y: Any) -> Note:
    """What is known of an op that is being computed: who asked for it, and where."""
    frame = next(f for f in places.frames() if places.room(f) not in ("insight", "primitive"))
    running = [f.f_locals["self"] for f in places.frames(frame) if f.f_code is Module.__call__.__code__]
    lines = list(dict.fromkeys(places.line(f) for f in places.telling(frame) if f.f_code is not Module.__call__.__code__))
    return Note(op, inputs, options, y, places.names(inputs, frame, places.MEANINGS), lines, running[::-1])


class Wrapped(Step):
    """A step that stands around another, to do more on the way back."""
    def __init__(self, step: Any):
        self.inner, self.name, self.fresh, self.check = step, step.name, step.fresh, step.check


class _WithoutKernels(Wrapped):
    """A step whose way back, too, is computed without fused kernels, and noted if it can itself be differentiated."""
    def pull(self, node: Node, saved: tuple, g: Any, again: bool) -> list:
        with record(Mode(again, note=note, kernels=False)):
            return self.inner.pull(node, saved, g, again)


def plan(node: Node) -> Any:
    """How a step goes back: the _Plan in primitive.py, or what stands in its place, without what is wrapped around it."""
    step = unwrapped(node.step)
    return getattr(step, "plan", step)


def unwrapped(step: Any) -> Any:
    """A step without what stands around it."""
    while isinstance(step, Wrapped):
        step = step.inner
    return step


def recording(kernels: bool = True) -> record:
    """Keep a note of every step written on the tape in the body, so that the pictures and stories of it can say more.

    Args:
        kernels: False computes every op as what it means, without fused kernels: slower, but each step on the tape then is
            one line of mathematics, and `to_numpy_source` can tell it bit for bit.

    A note holds what the step was given; all of it is let go with the tape.
    """
    return record(lambda here: here._replace(on=True, note=note, kernels=kernels))
