"""Notes on the steps of a tape: the line, the modules and the values that each step came from.

Ops keep no such notes by themselves, since that would cost time.  Inside `with recording():` a note is made of every
step, and it lives as long as the step does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from .. import places
from ..execution import Mode, mode, record
from ..nn import Module
from ..tape import Node, Step


@dataclass
class Note:
    """What is known about one step."""

    op: Any  # the op, its inputs and options, and its output
    inputs: tuple
    options: tuple
    y: Any
    names: list[str | None]  # the user's names of the inputs, where known
    lines: list[places.Line]  # from the line of the innermost layer or function to the user's own line
    modules: list[Module]  # the modules that were running, outermost first


NOTES: WeakKeyDictionary[Node, Note] = WeakKeyDictionary()  # a note is freed with its node


def note(node: Node | None, op: Any, inputs: tuple, options: tuple, y: Any) -> None:
    """Called by each op after it ran; `node` is None if the op was not recorded on the tape."""
    if node is None:
        return
    if not mode().kernels:
        node.step = _WithoutKernels(node.step)
    NOTES[node] = note_of(op, inputs, options, y)


def note_of(op: Any, inputs: tuple, options: tuple, y: Any) -> Note:
    """The note of the op that is running: the calling lines and modules are read off the stack."""
    frame = next(f for f in places.frames() if places.room(f) not in ("insight", "primitive"))
    running = [f.f_locals["self"] for f in places.frames(frame) if f.f_code is Module.__call__.__code__]
    lines = list(
        dict.fromkeys(places.line(f) for f in places.telling(frame) if f.f_code is not Module.__call__.__code__)
    )
    return Note(op, inputs, options, y, places.names(inputs, frame, places.MEANINGS), lines, running[::-1])


class Wrapped(Step):
    """A step that wraps another and adds to its backward pass."""

    def __init__(self, step: Any):
        self.inner, self.name, self.fresh, self.check = step, step.name, step.fresh, step.check


class _WithoutKernels(Wrapped):
    """A step whose backward pass, too, runs without fused kernels, and is noted if it is recorded in its turn."""

    def pull(self, node: Node, saved: tuple, g: Any, again: bool) -> list:
        with record(Mode(again, note=note, kernels=False)):
            return self.inner.pull(node, saved, g, again)


def plan(node: Node) -> Any:
    """The backward plan of a step, without wrappers: the _Plan of primitive.py, or for other steps the step itself."""
    step = unwrapped(node.step)
    return getattr(step, "plan", step)


def unwrapped(step: Any) -> Any:
    """A step without the steps that wrap it."""
    while isinstance(step, Wrapped):
        step = step.inner
    return step


def recording(kernels: bool = True) -> record:
    """Keep a note of every step recorded in the body, so that `explain`, `graph` and `to_numpy_source` can say more.

    Args:
        kernels: False computes every op by its definition, without fused kernels.  This is slower, but each step is
            then one line of mathematics, which `to_numpy_source` can reproduce bit for bit.

    A note keeps the inputs of its step alive; all notes are freed with the tape.
    """
    return record(lambda here: here._replace(on=True, note=note, kernels=kernels))
